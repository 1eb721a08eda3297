# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Write the card of the packaged model from the committed figures, the recipe and the table of sources.

    cd examples/models/english
    python ../write_english_card.py evaluation_english.json train_english_tenth.json \
        --tasks tasks_evaluation.json --training training_english.json \
        --calibration calibration_english.json --sources SOURCES.md

Every number in the card comes from one of these files.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

import unimc_hf
from unimc_hf.training.recipes import read_recipe

WAYS = {
    "own": "its own question",
    "none": "no question",
    "other": "a question of another domain",
    "own, batch-calibrated": "its own question, batch-calibrated over the texts of each task",
    "cosine of text": "cosine, text",
    "cosine of question and text": "cosine, question and text",
}

TEXT = """
# unimc-english-22m

The model inside the Python package `unimc_hf`: UniMC (arXiv 2210.08590) on
`sentence-transformers/all-MiniLM-L6-v2`, {parameters} parameters, English, half precision on disk. It picks one of any
options for a text in one forward pass; permuting the options permutes the scores and changes nothing else.

```python
import unimc_hf
from transformers import pipeline

pipeline("unimc-zero-shot")("Stocks fell sharply.", candidate_labels=["sports", "business"])
```

## Figures

Zero-shot, whole public test files, with 95 % bootstrap intervals; none of these data sets is in the training data.
Written by `examples/evaluate/evaluate.py` into `examples/models/english/evaluation_english.json`.

{figures}

On the {task_count} written tasks that are set apart (`examples/written_tasks/english/evaluation`, {task_rows} texts;
`python examples/evaluate/evaluate_tasks.py` measures them), mean macro-F1 by way of asking, beside the cosine of option
and text by the backbone before training:

{asked}

95 % interval of the first figure over the tasks: {interval}. {below} of the {task_count} tasks are below the better of
the two cosines. Texts that no label fits are told from the others with a mean AUROC of {auroc:.3f}
(`multi_label=True`). In three-way inference the commonest answer is given {most:.2f} times as often as it is right, the
rarest {least:.2f} times. By kind:

{kinds}

## Calibration

The config holds a temperature of {softmax_temperature} for the softmax over the options, and for single options
(`multi_label=True`) the score `sigmoid({sigmoid_scale} (yes - no) {sigmoid_bias:+})`, fitted on the written tasks for
development by `examples/evaluate/calibrate.py`. The pipeline applies them; `calibrated=False` gives the scores as
trained. Expected calibration error, mean over the tasks, each scored by a calibration that was fitted on the other half
of the tasks:

{calibration}

![Share of right answers against the score, before and after calibration](reliability.png)

## Training

The weights are {weights};
the curves of loss and held-out tasks are in `examples/models/english/training_english.json`. Each run is
`examples/pretrain/train_multiple_choice.py` with its recipe: OP and O-MLM losses, menus of 2 to 80 options with
distractors from other tasks, several wordings of every question, label and inference pair. The last runs add the
written tasks for training ({texts:,} texts of {tasks:,} tasks), asked by their own question, none, a general
one and ones that are about something else.
{taught}
{runs}

Sources, all of which state a licence that permits commercial use or none at all. "Unstated" means that the publisher
says nothing about the data; whether a model may be trained on it then depends on your law, and texts from Twitter came
under its terms. Sources for non-commercial or research use and under the GPL were left out.

{sources}

The backbone is Apache-2.0, the weights here are Apache-2.0.

## Limits and bias

- Small and English. Knowledge questions, arithmetic and multi-step reasoning are at or near chance.
- Scores of different menus are hardly comparable: even with `multi_label=True` the other options have some influence on
  a score, through the text that all of them see. The calibration is an average over tasks: on a single one scores can
  be far off, so check thresholds on your own data.
- Texts over 512 tokens are cut, and the answer says so.
- Hate-speech and toxicity labels are learned from annotators of a few public sets, including slurs and their biases
  against dialects and groups; do not let the model decide about people.
"""

TAUGHT = """Some also learn from soft targets, the last of them from {rows:,}: what `{embedder}`
(Apache-2.0) and {model} together think of training texts and menus of the written tasks, batch-calibrated
(`examples/pretrain/taught_rows.py`).
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def score(result: dict[str, Any], name: str) -> str:
    low, high = result[f"{name}_interval"]
    return f"{result[name]:.3f} ({low:.3f} to {high:.3f})"


def read_sources(path: Path) -> dict[str, tuple[str, str]]:
    """(rows, licence as stated) of every source in the table of SOURCES.md."""
    cells = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in path.read_text().splitlines()]
    return {row[0]: (row[3].split(" ")[0], row[8]) for row in cells if len(row) >= 9 and re.match(r"[\d,]+", row[3])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--tasks", type=Path, required=True, help="what evaluate_tasks.py wrote, with --cosine")
    parser.add_argument("--training", type=Path, required=True, help="what the training runs say of themselves")
    parser.add_argument("--calibration", type=Path, required=True, help="what calibrate.py wrote")
    parser.add_argument("--sources", type=Path, required=True)
    arguments = parser.parse_args()

    recipe = read_recipe(arguments.recipe)
    training = json.loads(arguments.training.read_text())
    calibration = json.loads(arguments.calibration.read_text())
    figures = json.loads(arguments.evaluation.read_text())["classifiers"]
    tasks = json.loads(arguments.tasks.read_text())
    ours, *others = figures.items()
    data_sets = ours[1]["data_sets"]
    files = [arguments.recipe.parent / run["recipe"] for run in training["runs"].values()]
    taught = [part for file in files if file.is_file() and (part := read_recipe(file).get("taught"))]

    licences = read_sources(arguments.sources)
    source_rows = [
        [name, f"{cap:,} of {licences[name][0]}", licences[name][1]] for name, cap in recipe["sources"].items()
    ]
    text = TEXT.format(
        parameters=f"{ours[1]['parameters'] / 1e6:.1f}M",
        figures=table(
            ["data set", "rows", "accuracy", "macro-F1", "calibration error", *[f"accuracy, {n}" for n, _ in others]],
            [
                [
                    name,
                    str(result["rows"]),
                    score(result, "accuracy"),
                    score(result, "macro_f1"),
                    score(result, "calibration_error"),
                    *[f"{other['data_sets'][name]['accuracy']:.3f}" for _, other in others],
                ]
                for name, result in data_sets.items()
            ],
        ),
        task_count=tasks["tasks"],
        task_rows=tasks["rows"],
        asked=table(["asked by", "macro-F1"], [[name, f"{tasks['macro_f1'][way]:.3f}"] for way, name in WAYS.items()]),
        interval=" to ".join(f"{bound:.3f}" for bound in tasks["macro_f1_interval"]),
        below=tasks["tasks_below_cosine"],
        auroc=tasks["none_fits_auroc"],
        **tasks["inference_predicted_over_true"],
        kinds=table(["kind", "macro-F1"], [[kind, f"{score:.3f}"] for kind, score in tasks["by_kind"].items()]),
        **training["written"],
        **calibration["calibration"],
        calibration=table(
            ["score", "as trained", "calibrated"],
            [
                [kind, *[f"{errors['mean']:.3f}" for errors in rows.values()]]
                for kind, rows in calibration["calibration_error"].items()
            ],
        ),
        taught=TAUGHT.format(**taught[-1]) if taught else "",
        weights=training["weights"],
        runs=table(
            ["run", "recipe", "starts from", "steps", "examples", "hours", "hardware", "note"],
            [
                [name, run["recipe"], run["start"], f"{run['steps']:,}", f"{run['examples_seen']:,}"]
                + [str(run["hours"]), run["hardware"], run["note"]]
                for name, run in training["runs"].items()
            ],
        ),
        sources=table(["source", "rows used", "licence as stated"], source_rows),
    )
    card_data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="unimc-zero-shot",  # what `pipeline(model=...)` takes for the task
        base_model="sentence-transformers/all-MiniLM-L6-v2",
        tags=["unimc", "multiple-choice", "zero-shot-classification"],
        model_name="unimc-english-22m",
        eval_results=[
            EvalResult(
                task_type="zero-shot-classification",
                dataset_type=name,
                dataset_name=name,
                metric_type=metric,
                metric_value=result[metric],
            )
            for name, result in data_sets.items()
            for metric in ("accuracy", "macro_f1")
        ],
    )
    card = ModelCard(f"---\n{card_data.to_yaml()}\n---\n{text}")
    card.save(Path(unimc_hf.DEFAULT_MODEL) / "README.md")


if __name__ == "__main__":
    main()
