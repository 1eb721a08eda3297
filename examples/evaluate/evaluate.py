# /// script
# dependencies = ["unimc_hf[train]", "matplotlib"]
# ///
"""
Evaluate zero-shot classifiers on labelled JSONL files, all in the same run, and print a table.

    W=examples/written_tasks/english/evaluation
    python examples/evaluate/evaluate.py "$W/sentiment.jsonl#opinion_hotel_five_steps" \
        --cosine sentence-transformers/all-MiniLM-L6-v2 --output figures.json --plot figures.png

Without `--model` it is the model inside the package. `--zero-shot FOLDER` adds the transformers zero-shot pipeline
with an NLI model of yours. `--limit 200` takes a sample of every file. Every source of a file is a data set of its own,
and `FILE#SOURCE` takes one (all the written tasks: `evaluate_tasks.py`). A training source counts as a file too; the
development tasks of a recipe, with the menus that they have there, are evaluated by

    python examples/evaluate/evaluate.py --development examples/models/english/train_english_second.json \
        --data train --limit 300
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.append(str(Path(__file__).parents[1] / "pretrain"))  # the development tasks of a recipe are made there

from multiple_choice_data import held_out
from transformers import AutoModel, AutoTokenizer, pipeline
from transformers.utils import logging

import unimc_hf
from unimc_hf.command_line.table import format_table
from unimc_hf.evaluation.classifiers import (
    cosine_classifier,
    majority_classifier,
    unimc_classifier,
    zero_shot_classifier,
)
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.metrics import Classifier, evaluate
from unimc_hf.evaluation.short_names import short_names, unimc_names
from unimc_hf.training.recipes import read_recipe


def classifiers(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Classifier]]:
    """(name, number of parameters, classifier) of everything that was asked for, loaded one after the other."""
    models = arguments.model or [unimc_hf.DEFAULT_MODEL]
    encoders, nli_models = arguments.cosine or [], arguments.zero_shot or []
    for model, name in zip(models, unimc_names(models)):
        loading = {"language": arguments.language} if arguments.language else {}
        classify = pipeline("unimc-zero-shot", model=model, dtype=arguments.dtype, device="cpu", **loading)
        yield name, classify.model.num_parameters(), unimc_classifier(classify)
    for folder, short in zip(encoders, short_names(encoders)):
        encoder = AutoModel.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for read, with_question in (("text", False), ("question and text", True)):
            classifier = cosine_classifier(encoder, tokenizer, with_question)
            yield f"cosine of {short}, {read}", encoder.num_parameters(), classifier
    for folder, short in zip(nli_models, short_names(nli_models)):
        nli = pipeline("zero-shot-classification", model=folder, device="cpu")
        yield f"zero-shot pipeline {short}", nli.model.num_parameters(), zero_shot_classifier(nli)
    yield "majority class", 0, majority_classifier


def read_data_sets(paths: Sequence[Path], limit: int | None = None) -> dict[str, list[Example]]:
    """The rows of every source of the files, by its name, since each source has classes of its own.

    Raises:
        ValueError: if two files of a folder have the same source.
    """
    by_source: list[tuple[Path, list[Example]]] = []
    for path in paths:
        sources: dict[str, list[Example]] = {}
        for example in read_jsonl(path, limit=limit):
            sources.setdefault(example["source"], []).append(example)
        by_source += [(path.parent / source, examples) for source, examples in sources.items()]
    names = short_names([path for path, _ in by_source])
    return {name: examples for name, (_, examples) in zip(names, by_source)}


def markdown(figures: dict[str, Any]) -> str:
    """Accuracy of every classifier on every data set, as a table for the README."""
    rows = figures["classifiers"]
    data_sets = list(next(iter(rows.values()))["data_sets"])
    lines = [
        f"| accuracy | parameters | {' | '.join(data_sets)} | mean |",
        "|" + "---|" * (len(data_sets) + 3),
    ]
    for name, row in rows.items():
        scores = [f"{row['data_sets'][data_set]['accuracy']:.3f}" for data_set in data_sets]
        parameters = f"{row['parameters'] / 1e6:.1f}M" if row["parameters"] else "-"
        lines.append(f"| {name} | {parameters} | {' | '.join(scores)} | {row['mean']['accuracy']:.3f} |")
    return "\n".join(lines)


def put_between_marks(text: str, table: str) -> str:
    """`text` with what stands between its two evaluation marks replaced by `table`."""
    before, _, rest = text.partition("<!-- evaluation table -->\n")
    _, _, after = rest.partition("<!-- end of evaluation table -->")
    if not after:
        raise SystemExit("the file has no marks <!-- evaluation table --> and <!-- end of evaluation table -->")
    return f"{before}<!-- evaluation table -->\n{table}\n<!-- end of evaluation table -->{after}"


def draw(figures: dict[str, Any], path: Path) -> None:
    """A bar per classifier and data set, with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(figures["classifiers"])
    data_sets = list(figures["classifiers"][names[0]]["data_sets"])
    width = 0.8 / len(names)
    figure, axes = plt.subplots(figsize=(1.5 + 1.6 * len(data_sets), 3.6), layout="constrained")
    for i, name in enumerate(names):
        rows = [figures["classifiers"][name]["data_sets"][data_set] for data_set in data_sets]
        heights = [row["accuracy"] for row in rows]
        low = [row["accuracy"] - row["accuracy_interval"][0] for row in rows]
        high = [row["accuracy_interval"][1] - row["accuracy"] for row in rows]
        places = [place + (i - (len(names) - 1) / 2) * width for place in range(len(data_sets))]
        axes.bar(places, heights, width * 0.92, yerr=[low, high], capsize=2, label=name)
    axes.set_xticks(range(len(data_sets)), data_sets)
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy, zero-shot")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(path, dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help=".jsonl or .jsonl.gz files of the common format")
    parser.add_argument("--development", type=Path, help="a recipe, whose development tasks are evaluated as well")
    parser.add_argument("--data", type=Path, nargs="+", help="folders of the JSONL training sources, for --development")
    parser.add_argument("--model", action="append", help="folder or Hub name of a UniMC model; may be repeated")
    parser.add_argument("--language", choices=("english", "chinese"), help="for checkpoints that do not record it")
    parser.add_argument("--cosine", action="append", help="folder of an embedding model, as a baseline")
    parser.add_argument("--zero-shot", action="append", help="folder of an NLI model for the transformers pipeline")
    parser.add_argument("--dtype", default="auto", help="precision of the UniMC models, e.g. bfloat16")
    parser.add_argument("--limit", type=int, help="at most so many rows of each file")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--readme", type=Path, help="file with two marks, between which the accuracy table is put")
    parser.add_argument("--plot", type=Path, help="PNG file for the plot")
    arguments = parser.parse_args()
    logging.disable_progress_bar()

    data_sets = read_data_sets(arguments.files, arguments.limit)
    if arguments.development:
        recipe = read_recipe(arguments.development)
        for example in held_out(arguments.data, {**recipe, "development_rows": arguments.limit or sys.maxsize}):
            data_sets.setdefault(example["source"], []).append(example)
    if not data_sets:
        parser.error("nothing to evaluate: name files, or --development and --data")
    figures: dict[str, Any] = {"classifiers": {}}
    for name, parameters, classifier in classifiers(arguments):
        results = {data_set: evaluate(classifier, rows).to_dict() for data_set, rows in data_sets.items()}
        mean = {k: sum(r[k] for r in results.values()) / len(results) for k in ("accuracy", "macro_f1")}
        figures["classifiers"][name] = {"parameters": parameters, "mean": mean, "data_sets": results}

    head = ("classifier", "parameters", *data_sets, "mean", "texts/s")
    table: list[tuple[str, ...]] = [head]
    for name, row in figures["classifiers"].items():
        speed = sum(r["rows"] for r in row["data_sets"].values()) / sum(
            r["rows"] / r["texts_per_second"] for r in row["data_sets"].values()
        )
        scores = [f"{r['accuracy']:.3f} / {r['macro_f1']:.3f}" for r in row["data_sets"].values()]
        parameters = f"{row['parameters'] / 1e6:.1f}M" if row["parameters"] else "-"
        table.append((name, parameters, *scores, f"{row['mean']['accuracy']:.3f}", f"{speed:.0f}"))
    print("accuracy / macro-F1, zero-shot")
    print(format_table(table))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.readme:
        filled = put_between_marks(arguments.readme.read_text(encoding="utf-8"), markdown(figures))
        arguments.readme.write_text(filled, encoding="utf-8")
    if arguments.plot:
        draw(figures, arguments.plot)


if __name__ == "__main__":
    main()
