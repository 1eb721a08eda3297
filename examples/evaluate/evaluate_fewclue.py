# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Evaluate on the nine tasks of FewCLUE, zero-shot (as ZeroCLUE does) and few-shot, beside the published figures.

    python examples/evaluate/evaluate_fewclue.py fewclue \
        --model examples/chinese_model/unimc_hf_chinese \
        --cosine intfloat/multilingual-e5-small --few-shot \
        --output examples/models/chinese/evaluation_fewclue.json

Without `--model` it is the installed Chinese one. The metric of every task is accuracy, on `TASK.test.jsonl.gz`. All
options of a task are in one forward pass, 119 of them too, and none is cut. For `--few-shot` each model is fine-tuned
on every `TASK.train*.jsonl.gz` there is (all few-shot rows together, `TASK.train_0` and so on for FewCLUE's five
splits), and the epoch is chosen on the `TASK.dev*` that goes with it. Every figure is written as soon as it is there,
and a run with other `--tasks` adds to the file; the markdown table is written beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from transformers import AutoModel, AutoTokenizer, TrainingArguments, pipeline
from transformers.utils import logging

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice, UniMCTokenizer, find_model
from unimc_hf.evaluation.classifiers import cosine_classifier, majority_classifier, unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.metrics import Classifier, evaluate
from unimc_hf.evaluation.short_names import short_names, unimc_names
from unimc_hf.evaluation.source_scores import scores_by_source
from unimc_hf.training.backbone import training_dtype
from unimc_hf.training.token_lengths import token_lengths
from unimc_hf.training.trainer import UniMCTrainer

PUBLISHED = json.loads((Path(__file__).parent / "published_fewclue.json").read_text(encoding="utf-8"))
TASKS: list[str] = PUBLISHED["tasks"]
# chid as the reference asks it: the idioms inside their clause are the options. The other form is reported beside it.
FILES = {"chid": "chid_inline"}
OTHER_FORM = "chid as a question"
SPLITS = {"test": "half of test_public (at most 1,000 rows a task)", "dev": "dev_few_all"}
ROWS_SEEN = 3000  # by a few-shot training, in whole epochs, at least three and at most twenty
DEVELOPMENT_ROWS = 320


def read(folder: Path, task: str, part: str, limit: int | None = None) -> list[Example]:
    """The rows of a task's train, dev or test file; their source is the task."""
    name = "chid" if task == OTHER_FORM else FILES.get(task, task)
    return [{**row, "source": task} for row in read_jsonl(folder / f"{name}.{part}.jsonl.gz", limit=limit)]


def zero_shot_classifiers(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Classifier]]:
    """(name, number of parameters, classifier) of the models and of what they have to beat."""
    encoders = arguments.cosine or []
    for source, name in zip(arguments.model, unimc_names(arguments.model)):
        classify = pipeline("unimc-zero-shot", model=source, dtype=arguments.dtype, device="cpu", **_loading(arguments))
        yield name, classify.model.num_parameters(), unimc_classifier(classify)
    for folder, short in zip(encoders, short_names(encoders)):
        encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
        classifier = cosine_classifier(encoder, AutoTokenizer.from_pretrained(folder))
        yield f"cosine of {short}, untrained", encoder.num_parameters(), classifier
    yield "majority class", 0, majority_classifier


def few_shot_parts(folder: Path, task: str) -> list[tuple[str, str]]:
    """(train part, dev part) of all rows together, and of FewCLUE's splits where they are there."""
    names = sorted(path.name.split(".")[1] for path in folder.glob(f"{FILES.get(task, task)}.train*.jsonl.gz"))
    if not names:
        raise SystemExit(f"{folder} has no {FILES.get(task, task)}.train.jsonl.gz")
    return [(name, name.replace("train", "dev")) for name in names]


def fine_tune(
    source: str, train: Sequence[Example], develop: Sequence[Example], arguments: argparse.Namespace
) -> tuple[UniMCForMultipleChoice, UniMCTokenizer]:
    """A copy of the model trained on a task's few rows, after the epoch that was best on its development rows."""
    start = pipeline("unimc-zero-shot", model=source, device="cpu", **_loading(arguments))
    model, tokenizer = start.model.to(getattr(torch, training_dtype())), start.tokenizer
    with tempfile.TemporaryDirectory() as folder:
        trainer = UniMCTrainer(
            model=model,
            args=TrainingArguments(
                folder,
                num_train_epochs=arguments.epochs or max(3, min(20, ROWS_SEEN // len(train))),
                learning_rate=arguments.learning_rate,
                warmup_steps=10,
                weight_decay=0.01,
                per_device_eval_batch_size=16,
                eval_strategy="epoch",
                save_strategy="epoch",
                save_total_limit=1,
                load_best_model_at_end=True,
                metric_for_best_model="mean_accuracy",
                remove_unused_columns=False,
                disable_tqdm=True,
                report_to="none",
                seed=arguments.seed,
            ),
            train_dataset=list(train),
            eval_dataset=list(develop),
            data_collator=DataCollatorForUniMC(tokenizer, mlm=False, seed=arguments.seed),
            compute_metrics=scores_by_source([row["source"] for row in develop]),
            lengths=token_lengths(train, tokenizer),
            tokens_per_batch=2048,
        )
        trainer.train()
    return model.float().eval(), tokenizer


def _loading(arguments: argparse.Namespace) -> dict[str, str]:
    return {"language": arguments.language} if arguments.language else {}


def markdown(figures: dict[str, Any]) -> str:
    """One table for zero-shot, and one for few-shot where there is any: ours, then what was published."""
    limited = f", of which {figures['limit']} rows" if figures.get("limit") else ""
    lines = [
        "# FewCLUE",
        "",
        f"Accuracy. Our rows, with 95 % intervals in the JSON file: {figures['split']}{limited}. Published rows: "
        f"{PUBLISHED['split']}, {PUBLISHED['source']}. The two splits are not the same.",
    ]
    for setting in ("zero-shot", "few-shot"):
        if setting not in figures:
            continue
        lines += ["", f"| {setting} | split | parameters | {' | '.join(TASKS)} | mean of nine | {OTHER_FORM} |"]
        lines.append("|" + "---|" * (len(TASKS) + 5))
        for name, row in figures[setting].items():
            parameters = f"{row['parameters'] / 1e6:.1f}M" if row["parameters"] else "-"
            scores = {task: result["accuracy"] for task, result in row["tasks"].items()}
            lines.append(_line(name, figures["split"].partition(" (")[0], parameters, scores))
        for name, row in PUBLISHED[setting].items():
            scores = {task: score / 100 for task, score in zip(TASKS, row)}
            lines.append(_line(f"{name} (published)", "test_public", "-", scores))
    return "\n".join(lines) + "\n"


def _line(name: str, split: str, parameters: str, scores: dict[str, float]) -> str:
    cells = [f"{scores[task]:.3f}" if task in scores else "-" for task in TASKS]
    is_whole = all(task in scores for task in TASKS)
    mean = f"{sum(scores[task] for task in TASKS) / len(TASKS):.3f}" if is_whole else "-"
    other = f"{scores[OTHER_FORM]:.3f}" if OTHER_FORM in scores else "-"
    return f"| {' | '.join([name, split, parameters, *cells, mean, other])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the FewCLUE files in the common JSONL format")
    parser.add_argument("--model", action="append", help="folder or Hub name of a UniMC model; may be repeated")
    parser.add_argument("--language", choices=("english", "chinese"), help="for checkpoints that do not record it")
    parser.add_argument("--dtype", default="auto", help="precision of zero-shot runs, e.g. bfloat16")
    parser.add_argument("--cosine", action="append", help="folder of an embedding model, as a baseline")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help="of the nine")
    parser.add_argument("--part", choices=SPLITS, default="test", help="dev, to choose between models")
    parser.add_argument("--few-shot", action="store_true", help="also fine-tune the models on the few-shot rows")
    parser.add_argument("--epochs", type=int, help="of a few-shot training; fewer for more rows if not given")
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="of a few-shot training")
    parser.add_argument("--seed", type=int, default=0, help="of a few-shot training")
    parser.add_argument("--limit", type=int, help="at most so many test rows of each task, for a trial run")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    arguments = parser.parse_args()
    arguments.model = arguments.model or [find_model("chinese")]
    logging.disable_progress_bar()

    figures: dict[str, Any] = {"split": SPLITS[arguments.part], "limit": arguments.limit}
    if arguments.output.exists():
        figures = {**json.loads(arguments.output.read_text(encoding="utf-8")), **figures}

    def record(setting: str, name: str, parameters: int, task: str, result: dict[str, Any]) -> None:
        row = figures.setdefault(setting, {}).setdefault(name, {"parameters": parameters, "tasks": {}})
        row["tasks"][task] = result
        arguments.output.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        arguments.output.with_suffix(".md").write_text(markdown(figures), encoding="utf-8")
        print(f"{setting}, {name}, {task}: {result['accuracy']:.3f}", flush=True)

    tests = {task: read(arguments.folder, task, arguments.part, arguments.limit) for task in arguments.tasks}
    if "chid" in arguments.tasks:
        tests[OTHER_FORM] = read(arguments.folder, OTHER_FORM, arguments.part, arguments.limit)
    for name, parameters, classifier in zero_shot_classifiers(arguments):
        for task, rows in tests.items():
            record("zero-shot", name, parameters, task, evaluate(classifier, rows).to_dict())
    if not arguments.few_shot:
        return
    for source, name in zip(arguments.model, unimc_names(arguments.model)):
        for task in arguments.tasks:
            for train_part, dev_part in few_shot_parts(arguments.folder, task):
                train = read(arguments.folder, task, train_part)
                develop = read(arguments.folder, task, dev_part, DEVELOPMENT_ROWS)
                model, tokenizer = fine_tune(source, train, develop, arguments)
                classify = pipeline("unimc-zero-shot", model=model, tokenizer=tokenizer, device="cpu")
                result = evaluate(unimc_classifier(classify, calibrated=False), tests[task]).to_dict()
                row = f"{name}, {train_part}"
                record("few-shot", row, model.num_parameters(), task, {"train_rows": len(train), **result})


if __name__ == "__main__":
    main()
