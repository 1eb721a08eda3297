"""`evaluate_tasks.py`: ways of asking, shares of predicted classes, and a paired comparison; `evaluate.py`: what is a
data set and what it is called."""

import json
import runpy
import sys
from pathlib import Path

import evaluate_tasks
import pytest
from places import EXAMPLES
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.evaluation.written_tasks import plain_examples, read_written_tasks

TASKS = [
    {"task": "a", "kind": "topic", "domain": "press", "questions": ["What is it about?"]}
    | {"labels": {"sports": ["games", "x"], "business": ["money", "y"]}}
    | {"texts": {"sports": ["the team won"], "business": ["stocks fell"]}, "none_fits": ["sky"]},
    {"task": "b", "kind": "nli", "domain": "walks", "questions": ["Does it follow?"]}
    | {"labels": {"yes": ["true", "x"], "maybe": ["open", "y"], "no": ["false", "z"]}}
    | {"pairs": {"yes": [["sky", "blue"]], "maybe": [["red", "car"]], "no": [["won", "fell"]]}},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, TASKS)) + "\n", encoding="utf-8")
    return tmp_path


def test_another_question_is_of_another_domain_and_inference_keeps_its_own(folder: Path) -> None:
    tasks = read_written_tasks([folder])
    examples = plain_examples(tasks)
    asked = {way: [e["question"] for e in evaluate_tasks.asked(examples, tasks, way)] for way in evaluate_tasks.WAYS}
    kept = ["Does it follow?"] * 3
    assert asked == {
        "own": ["What is it about?"] * 2 + kept,
        "none": ["", "", *kept],
        "other": ["Does it follow?"] * 2 + kept,
    }


def test_a_preferred_answer_shows(folder: Path) -> None:
    examples = plain_examples(read_written_tasks([folder]))
    always_first = [[1.0] + [0.0] * (len(example["options"]) - 1) for example in examples]
    assert evaluate_tasks.predicted_shares(examples, always_first) == {"most": 3.0, "least": 0.0}
    right = [[float(i == e["label"]) for i in range(len(e["options"]))] for e in examples]
    assert evaluate_tasks.predicted_shares(examples, right) == {"most": 1.0, "least": 1.0}


def test_each_task_with_one_menu_is_calibrated_by_itself(folder: Path) -> None:
    tasks = read_written_tasks([folder])
    own_options = {"source": "c", "options": ["p", "q"]}, {"source": "c", "options": ["r", "s"]}
    examples = [*plain_examples(tasks), *own_options]
    tilted = [[0.6, 0.4], [0.8, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.6, 0.4], [0.6, 0.4]]
    calibrated = evaluate_tasks.batch_calibrated(examples, tilted)
    assert [row.index(max(row)) for row in calibrated[:2]] == [1, 0]
    assert calibrated[2:5] == [pytest.approx([1 / 3] * 3)] * 3
    assert calibrated[5:] == tilted[5:]


def test_figures_of_a_model(folder: Path) -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    figures = evaluate_tasks.evaluate(classify, read_written_tasks([folder]))
    assert figures["tasks"] == 2 and figures["rows"] == 5
    assert set(figures["by_task"]) == {"a", "b"} and set(figures["by_kind"]) == {"topic", "nli"}
    assert 0.0 <= figures["none_fits_auroc"] <= 1.0
    same = evaluate_tasks.compare(figures, figures)
    assert same == {"tasks": 2, "difference": 0.0, "interval": [0.0, 0.0]}
    better = {"by_task": {name: {"own": row["own"] + 0.1} for name, row in figures["by_task"].items()}}
    assert evaluate_tasks.compare(better, figures)["difference"] == pytest.approx(0.1, abs=1e-3)


def test_every_source_is_a_data_set_and_no_two_things_share_a_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and models that are called alike in other folders have rows of their own in the table."""
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    models, others = [tmp_path / name / "model" for name in "pq"], [tmp_path / name / "news.jsonl" for name in "pq"]
    for model, other in zip(models, others):
        classify.save_pretrained(model)
        other.write_text(json.dumps({"passage": "sky", "options": ["red", "blue"], "label": 1}), encoding="utf-8")
    words = [folder / "tasks.jsonl", *others, "--output", tmp_path / "figures.json"]
    words += [word for model in models for word in ("--model", model)]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
    runpy.run_path(str(EXAMPLES / "evaluate" / "evaluate.py"), run_name="__main__")
    figures = json.loads((tmp_path / "figures.json").read_text())["classifiers"]
    assert list(figures) == ["UniMC p/model", "UniMC q/model", "majority class"]
    rows = {name: row["rows"] for name, row in figures["UniMC p/model"]["data_sets"].items()}
    root = tmp_path.name
    assert rows == {f"{root}/a": 2, f"{root}/b": 3, "p/news": 1, "q/news": 1}
