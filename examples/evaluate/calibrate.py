# /// script
# dependencies = ["unimc_hf[train]", "matplotlib"]
# ///
"""
Fit a model's calibration on development tasks, write it into its config, and show what it does.

    python examples/evaluate/calibrate.py /tmp/unimc/model --output calibration.json --plot reliability.png

The tasks are the written ones for development, or those of `--tasks`: folders of written tasks that the model was not
trained on. The figures are honest ones: every task is scored with a calibration that was fitted on the other half of
the tasks. What is written into the config is fitted on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
from transformers import pipeline

import unimc_hf  # noqa: F401  # registers the pipeline
from unimc_hf.evaluation.calibration import Calibration, ScoredDataSets, fit_calibration, score_data_sets
from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.metrics import calibration_bins, calibration_error
from unimc_hf.evaluation.written_tasks import plain_examples, read_written_tasks

TASKS = Path(__file__).parents[1] / "written_tasks" / "english" / "development"
Points = dict[str, list[tuple[float, bool]]]


def measure(scored: ScoredDataSets, calibration: Calibration) -> dict[str, Points]:
    """(score, whether it was right) of the best option by the softmax, and of every option by the sigmoid."""
    points: dict[str, Points] = {"softmax": {}, "sigmoid": {}}
    for name, examples in scored.items():
        shares = [calibration.softmax(example.log_shares) for example in examples]
        points["softmax"][name] = [
            (float(row.max()), int(row.argmax()) == example.label) for row, example in zip(shares, examples)
        ]
        points["sigmoid"][name] = [
            (float(score), option == example.label)
            for example in examples
            for option, score in enumerate(calibration.sigmoid(example.margins))
        ]
    return points


def errors(points: Points) -> dict[str, float]:
    """Expected calibration error of each task, and their mean."""
    each = {
        name: calibration_error(np.array([score for score, _ in rows]), np.array([right for _, right in rows]))
        for name, rows in points.items()
    }
    return {"mean": round(float(np.mean(list(each.values()))), 4), **{k: round(v, 4) for k, v in each.items()}}


def draw(before: dict[str, Points], after: dict[str, Points], path: Path) -> None:
    """Reliability diagrams: how often an answer is right against what its score promises, before and after."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = {"softmax": "best option, softmax over the options", "sigmoid": "each option alone (multi_label=True)"}
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained", sharey=True)
    for axes, (kind, title) in zip(panels, titles.items()):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for label, points in (("as trained", before), ("calibrated", after)):
            rows = np.array([row for task in points[kind].values() for row in task], dtype=float)
            bins = calibration_bins(rows[:, 0])
            filled = [b for b in np.unique(bins) if (bins == b).sum() >= 20]
            x = [rows[bins == b, 0].mean() for b in filled]
            y = [rows[bins == b, 1].mean() for b in filled]
            axes.plot(x, y, marker="o", markersize=4, label=f"{label}, error {errors(points[kind])['mean']:.3f}")
        axes.set_xlabel("score")
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("share that is right")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model; its config.json is changed")
    parser.add_argument("--tasks", type=Path, nargs="+", default=[TASKS], help="folders of written tasks")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--plot", type=Path, help="PNG file for the reliability diagrams")
    arguments = parser.parse_args()

    data_sets: dict[str, list[Example]] = {}
    for example in plain_examples(read_written_tasks(arguments.tasks)):
        data_sets.setdefault(example["source"], []).append(example)
    classify = pipeline("unimc-zero-shot", model=str(arguments.model))
    scored = score_data_sets(classify, data_sets)
    before = measure(scored, Calibration())
    after: dict[str, Points] = {"softmax": {}, "sigmoid": {}}
    names = list(scored)
    for half in (0, 1):
        here, there = names[half::2], names[1 - half :: 2]
        fitted = fit_calibration({name: scored[name] for name in there})
        for kind, points in measure({name: scored[name] for name in here}, fitted).items():
            after[kind].update(points)
    calibration = fit_calibration(scored)
    write(calibration, arguments.model / "config.json")

    figures = {
        "tasks": len(data_sets),
        "calibration": asdict(calibration),
        "calibration_error": {
            kind: {"as trained": errors(before[kind]), "fitted on the other tasks": errors(after[kind])}
            for kind in after
        },
    }
    arguments.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(
        asdict(calibration), {kind: [e["mean"] for e in v.values()] for kind, v in figures["calibration_error"].items()}
    )
    if arguments.plot:
        draw(before, after, arguments.plot)


def write(calibration: Calibration, config_file: Path) -> None:
    """Put the calibration into a saved model's `config.json`, and leave the rest of the file as it is."""
    settings = {**json.loads(config_file.read_text(encoding="utf-8")), **asdict(calibration)}
    config_file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
