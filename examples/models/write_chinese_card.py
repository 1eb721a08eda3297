# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Write the card of the Chinese model from the committed figures, the recipe and the table of sources.

    python examples/models/write_chinese_card.py --sources SOURCES_chinese.md SOURCES_english.md

Every number in the card comes from `evaluation_fewclue.json`, `evaluation_chinese_english.json`,
`tasks_evaluation.json`, `training_chinese.json` and the recipes that it names, all in `examples/models/chinese/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "evaluate"))  # the tasks and the published figures are there

from evaluate_fewclue import OTHER_FORM, PUBLISHED, TASKS
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from package_model import TARGETS
from write_english_card import read_sources, score, table

from unimc_hf.training.recipes import read_recipe

CHINESE = Path(__file__).parent / "chinese"
NAME = "unimc-chinese-36m"

TEXT = """
# {name}

UniMC (arXiv 2210.08590) on `intfloat/multilingual-e5-small`, its vocabulary cut to Chinese and English: {parameters}
parameters, half precision on disk. It picks one of any options for a Chinese or English text in one forward pass.

Apache-2.0, and every source below permits commercial use (`pawsx_zh` by the licence of PAWS-X itself; the collection
that its rows were taken from asks for academic use). `pip install ./examples/chinese_model` puts it beside `unimc_hf`.

```python
import unimc_hf
from transformers import pipeline

classify = pipeline("unimc-zero-shot", language="chinese")
classify("球队在加时赛中赢得了冠军。", candidate_labels=["体育", "财经", "科技"])
```

## Figures

Accuracy on the nine FewCLUE tasks, {split}, with 95 % bootstrap intervals. Zero-shot means that no row of the task, and
no source that comes from the same collection as a FewCLUE task, was trained on. Written by
`examples/evaluate/evaluate_fewclue.py` into `examples/models/chinese/evaluation_fewclue.json`; the published rows, on
all of test_public, are in `examples/models/chinese/evaluation_fewclue.md`.

{figures}

On the {tasks_apart} Chinese written tasks that are set apart (`examples/written_tasks/chinese/evaluation`;
`examples/models/chinese/tasks_evaluation.json`) the mean macro-F1 is {own:.3f} with their own questions, {none:.3f}
with none and {calibrated:.3f} batch-calibrated.

English, whole public test files (`examples/models/chinese/evaluation_chinese_english.json`):

{english}

## Training

{weights} The curves of loss and held-out tasks are in `examples/models/chinese/training_chinese.json`.

{runs}

Sources that `SOURCES.md` marks as kin of a FewCLUE task are left out: {kin}; and so is every source that states no
licence, or one that forbids commercial use.

## Sources

{tasks:,} tasks that were written for this project, {texts:,} texts in Chinese and English
(`examples/written_tasks`, Apache-2.0), and rows of:

{sources}

Idioms that are blanked in their texts are those of THUOCL (MIT).

The backbone is MIT.

## Limits and bias

- Small. Pronouns (`cluewsc`) are at chance; long menus of fine topics (`csldcp`, `iflytek`) are far below what larger
  models reach.
- Texts over 512 tokens are cut, and the answer says so.
- Traditional characters are read as tokens of their own; training data is nearly all in simplified ones.
- Offensive-language labels are learned from annotators of a few public sets, including slurs; do not let the model
  decide about people.
"""

KIN = ["ocnli_train10k", "oppo_xiaobu", "tnews_dataclue", "toutiao_small", "csl_discipline", "csl_keyword"]


def chinese_sources(path: Path) -> dict[str, tuple[str, str]]:
    """(rows, licence as stated) of every source in the Chinese table."""
    cells = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in path.read_text().splitlines()]
    return {row[0]: (row[1], row[10]) for row in cells if len(row) >= 11 and row[1].isdigit()}


def _figures(figures: dict[str, Any], name: str) -> str:
    zero, majority = figures["zero-shot"][name]["tasks"], figures["zero-shot"]["majority class"]["tasks"]
    few = figures.get("few-shot", {}).get(f"{name}, train", {"tasks": {}})["tasks"]
    published = {kind: dict(zip(TASKS, PUBLISHED[kind]["UniMC 110M"])) for kind in ("zero-shot", "few-shot")}
    rows = []
    for task in [*TASKS, OTHER_FORM]:
        rows.append(
            [task, str(zero[task]["rows"]), score(zero[task], "accuracy"), f"{majority[task]['accuracy']:.3f}"]
            + [score(few[task], "accuracy") if task in few else "-"]
            + [f"{row[task] / 100:.3f}" if task in row else "-" for row in published.values()]
        )
    means = [sum(part[task]["accuracy"] for task in TASKS) / len(TASKS) for part in (zero, majority)]
    few_mean = sum(few[task]["accuracy"] for task in TASKS) / len(TASKS) if set(TASKS) <= set(few) else None
    rows.append(
        ["mean of nine", "", *(f"{mean:.3f}" for mean in means), "-" if few_mean is None else f"{few_mean:.3f}"]
        + [f"{sum(row.values()) / len(row) / 100:.3f}" for row in published.values()]
    )
    return table(
        ["task", "rows", "zero-shot", "majority class", "few-shot", "UniMC 110M, zero-shot", "UniMC 110M, few-shot"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, nargs=2, required=True, help="the Chinese and the English SOURCES.md")
    arguments = parser.parse_args()

    training = json.loads((CHINESE / "training_chinese.json").read_text(encoding="utf-8"))
    recipes = [read_recipe(CHINESE / run["recipe"])["sources"] for run in training["runs"].values()]
    used = {name: max(recipe.get(name, 0) for recipe in recipes) for name in sorted(set().union(*recipes))}
    figures = json.loads((CHINESE / "evaluation_fewclue.json").read_text(encoding="utf-8"))
    english = json.loads((CHINESE / "evaluation_chinese_english.json").read_text(encoding="utf-8"))["classifiers"]
    apart = json.loads((CHINESE / "tasks_evaluation.json").read_text(encoding="utf-8"))
    target, _ = TARGETS["chinese"]
    ours = f"UniMC {target.name}"
    licences = read_sources(arguments.sources[1]) | chinese_sources(arguments.sources[0])
    result, majority = english[ours], english["majority class"]
    text = TEXT.format(
        name=NAME,
        parameters=f"{result['parameters'] / 1e6:.1f}M",
        split=figures["split"],
        figures=_figures(figures, ours),
        english=table(
            ["data set", "rows", "accuracy", "majority class"],
            [
                [name, str(row["rows"]), score(row, "accuracy"), f"{majority['data_sets'][name]['accuracy']:.3f}"]
                for name, row in result["data_sets"].items()
            ],
        ),
        weights=training["weights"],
        runs=table(
            ["run", "recipe", "starts from", "steps", "examples", "hours", "hardware"],
            [
                [name, run["recipe"], run["start"], f"{run['steps']:,}"]
                + [f"{run[key]:,}" if run[key] else "not recorded" for key in ("examples_seen", "hours")]
                + [run["hardware"]]
                for name, run in training["runs"].items()
            ],
        ),
        kin=", ".join(KIN),
        **training["written"],
        tasks_apart=apart["tasks"],
        own=apart["macro_f1"]["own"],
        none=apart["macro_f1"]["none"],
        calibrated=apart["macro_f1"]["own, batch-calibrated"],
        sources=table(
            ["source", "rows used, at most", "licence as stated"],
            [[name, f"{cap:,} of {licences[name][0]}", licences[name][1]] for name, cap in used.items()],
        ),
    )
    card_data = ModelCardData(
        language=["zh", "en"],
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="unimc-zero-shot",  # what `pipeline(model=...)` takes for the task
        base_model="intfloat/multilingual-e5-small",
        tags=["unimc", "multiple-choice", "zero-shot-classification"],
        model_name=NAME,
        eval_results=[
            EvalResult(
                task_type="zero-shot-classification",
                dataset_type=f"fewclue/{task}",
                dataset_name=f"FewCLUE {task}",
                metric_type="accuracy",
                metric_value=figures["zero-shot"][ours]["tasks"][task]["accuracy"],
            )
            for task in TASKS
        ],
    )
    ModelCard(f"---\n{card_data.to_yaml()}\n---\n{text}").save(target / "README.md")


if __name__ == "__main__":
    main()
