# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
How good a model is on many small tasks that it was not trained on: mean macro-F1, by kind, by way of asking.

    python examples/evaluate/evaluate_tasks.py

evaluates the model inside the package on the written tasks that are set apart (`examples/written_tasks`), in about
three minutes on two cores. `--cosine all-MiniLM-L6-v2-FOLDER` adds the cosine of an untrained encoder, which training
must not fall below; `--against OTHER.json` compares with the output of another model, task by task.

Every task is asked by its own question, by none, and by one of another domain: a question says how to read the options
and should not move the answer. (Inference, pairs, stance and reading keep their own: without it they mean nothing.)
"own, batch-calibrated" is the first, each label's probability divided by its mean over the texts of the task (where
the rows of a task share a menu).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModel, AutoTokenizer, pipeline

import unimc_hf
from unimc_hf.evaluation.batch_calibration import batch_calibrated_probs
from unimc_hf.evaluation.classifiers import cosine_classifier, unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.metrics import Classifier, none_fits_auroc, option_metrics
from unimc_hf.evaluation.written_tasks import KINDS_THAT_ASK, WrittenTask, plain_examples, read_written_tasks

WRITTEN = Path(__file__).parents[1] / "written_tasks" / "english" / "evaluation"
WAYS = ("own", "none", "other")  # to ask
BOOTSTRAP_SAMPLES = 10_000


def asked(examples: Sequence[Example], tasks: Sequence[WrittenTask], way: str) -> list[Example]:
    """The examples with their own question, none, or one of a task of another domain."""
    rng = random.Random(0)
    domain = {task.name: task.domain for task in tasks}
    questions = [(task.domain, question) for task in tasks for question in task.questions]
    changed = []
    for example in examples:
        question = example["question"]
        if way != "own" and example["task"] not in KINDS_THAT_ASK:
            others = [other for of, other in questions if of != domain[example["source"]]]
            question = rng.choice(others) if way == "other" else ""
        changed.append({**example, "question": question})
    return changed


def rows_by_task(examples: Sequence[Example]) -> dict[str, list[int]]:
    """Indices of the examples of every task."""
    groups: dict[str, list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(example["source"], []).append(row)
    return groups


def by_task(examples: Sequence[Example], probabilities: Sequence[Sequence[float]]) -> dict[str, float]:
    """Macro-F1 of every task."""
    return {
        name: option_metrics([examples[row] for row in rows], [probabilities[row] for row in rows])["macro_f1"]
        for name, rows in rows_by_task(examples).items()
    }


def batch_calibrated(examples: Sequence[Example], probabilities: Sequence[Sequence[float]]) -> list[list[float]]:
    """The probabilities, calibrated over each task whose rows share a menu."""
    calibrated = [list(row) for row in probabilities]
    for rows in rows_by_task(examples).values():
        if all(examples[row]["options"] == examples[rows[0]]["options"] for row in rows):
            for row, scores in zip(rows, batch_calibrated_probs([probabilities[row] for row in rows]).tolist()):
                calibrated[row] = scores
    return calibrated


def predicted_shares(examples: Sequence[Example], probabilities: Sequence[Sequence[float]]) -> dict[str, float]:
    """Of inference tasks with three labels: by how much the commonest and the rarest prediction are off their share.

    Returns:
        `most` and `least`: the largest and the smallest predicted share of a class over its true share, means over the
        tasks; both are 1 where no answer is preferred.
    """
    ratios: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for example, row in zip(examples, probabilities):
        if example["task"] == "nli" and len(example["options"]) == 3:
            predicted, true = ratios.setdefault(example["source"], (np.zeros(3), np.zeros(3)))
            predicted[int(np.argmax(row))] += 1
            true[example["label"]] += 1
    quotients = [predicted / np.maximum(true, 1) for predicted, true in ratios.values()]
    if not quotients:
        return {}
    return {"most": float(np.mean([q.max() for q in quotients])), "least": float(np.mean([q.min() for q in quotients]))}


def mean_none_fits_auroc(classify: Any, tasks: Sequence[WrittenTask]) -> float | None:
    """Mean over tasks: how well the best label's own score tells texts that a label fits from those that none does."""
    areas = []
    for task in tasks:
        fits, none = plain_examples([task]), plain_examples([task], none_fits=True)
        if none and fits and task.kind not in KINDS_THAT_ASK:
            scores = unimc_classifier(classify, multi_label=True, progress_bar=False)([*fits, *none])
            areas.append(none_fits_auroc([*fits, *none], scores))
    return round(float(np.mean(areas)), 4) if areas else None


def interval(differences: np.ndarray) -> list[float]:
    """95 % interval of a mean over tasks, by bootstrap over the tasks."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(0, len(differences), (BOOTSTRAP_SAMPLES, len(differences)))].mean(1)
    return [round(float(bound), 4) for bound in np.percentile(means, [2.5, 97.5])]


def evaluate(classify: Any, tasks: Sequence[WrittenTask], cosine: str | None = None) -> dict[str, Any]:
    """All figures of a model; `cosine` is the folder or Hub name of an encoder to compare with."""
    examples = plain_examples(tasks)
    classifier: Classifier = unimc_classifier(classify, progress_bar=False)
    figures: dict[str, dict[str, float]] = {}
    shares: dict[str, float] = {}
    for way in WAYS:
        probabilities = classifier(asked(examples, tasks, way))
        figures[way] = by_task(examples, probabilities)
        if way == "own":
            shares = predicted_shares(examples, probabilities)
            figures["own, batch-calibrated"] = by_task(examples, batch_calibrated(examples, probabilities))
    if cosine:
        model, tokenizer = AutoModel.from_pretrained(cosine).eval(), AutoTokenizer.from_pretrained(cosine)
        for name, with_question in (("cosine of text", False), ("cosine of question and text", True)):
            figures[name] = by_task(examples, cosine_classifier(model, tokenizer, with_question)(examples))
    means = {name: round(float(np.mean(list(scores.values()))), 4) for name, scores in figures.items()}
    kinds = {task.name: task.kind for task in tasks}
    own = figures["own"]
    summary: dict[str, Any] = {
        "tasks": len(own),
        "rows": len(examples),
        "macro_f1": means,
        "macro_f1_interval": interval(np.array(list(own.values()))),
        "by_kind": {
            kind: round(float(np.mean([score for name, score in own.items() if kinds[name] == kind])), 4)
            for kind in sorted({kinds[name] for name in own})
        },
        "none_fits_auroc": mean_none_fits_auroc(classify, tasks),
        "inference_predicted_over_true": shares,
    }
    if cosine:
        floors = {name: max(figures[n][name] for n in figures if n.startswith("cosine")) for name in own}
        summary["tasks_below_cosine"] = sum(own[name] < floors[name] for name in own)
    return {
        **summary,
        "by_task": {name: {way: round(scores[name], 4) for way, scores in figures.items()} for name in own},
    }


def compare(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """The mean difference of macro-F1 over the tasks that both have, with its paired interval."""
    names = [name for name in new["by_task"] if name in old["by_task"]]
    differences = np.array([new["by_task"][name]["own"] - old["by_task"][name]["own"] for name in names])
    return {"tasks": len(names), "difference": round(float(differences.mean()), 4), "interval": interval(differences)}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[WRITTEN], help="of written tasks")
    parser.add_argument("--model", default=unimc_hf.DEFAULT_MODEL, help="folder or Hub name")
    parser.add_argument("--cosine", help="folder or Hub name of an embedding model to compare with")
    parser.add_argument("--against", type=Path, help="output of another model, to compare task by task")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)

    before = json.loads(options.against.read_text(encoding="utf-8")) if options.against else None
    build: Any = pipeline  # its overloads know the tasks of transformers only
    figures = evaluate(
        build("unimc-zero-shot", model=options.model), read_written_tasks(options.folders), options.cosine
    )
    if before:
        figures["against"] = {"file": options.against.name, **compare(figures, before)}
    print(json.dumps({name: value for name, value in figures.items() if name != "by_task"}, indent=1))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    main()
