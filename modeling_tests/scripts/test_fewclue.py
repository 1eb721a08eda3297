"""The FewCLUE evaluation: what is read, what the table says, and that figures of a later run are added."""

import gzip
import json
import sys
from pathlib import Path

import evaluate_fewclue
import pytest
from places import SHARED
from tiny_models import needs_shared, tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline

FOLDER = SHARED / "data" / "chinese" / "fewclue"


def test_published_rows_have_the_means_that_their_source_states() -> None:
    published = evaluate_fewclue.PUBLISHED
    means = {s: {n: round(sum(r) / 9, 2) for n, r in published[s].items()} for s in ("zero-shot", "few-shot")}
    # The source's own averages; that of UniMC 1.3B is .07 below the mean of its row.
    for name, mean in {"NSP-BERT": 55.96, "ERNIE 3.0 240B": 61.41, "UniMC 110M": 55.7, "UniMC 1.3B": 64.53}.items():
        assert means["zero-shot"][name] == pytest.approx(mean, abs=0.08)
    for name, mean in {"EFL": 55.91, "P-tuning": 59.91, "UniMC 110M": 62.86, "UniMC 330M": 66.46}.items():
        assert means["few-shot"][name] == pytest.approx(mean, abs=0.08)


def test_the_table_names_the_splits_and_means_only_whole_rows() -> None:
    def row(tasks: list[str], accuracy: float) -> dict:
        return {"parameters": 36_200_000, "tasks": {task: {"accuracy": accuracy} for task in tasks}}

    whole, part = row([*evaluate_fewclue.TASKS, evaluate_fewclue.OTHER_FORM], 0.5), row(["tnews"], 0.25)
    lines = evaluate_fewclue.markdown(
        {"split": "half of test_public (few rows)", "zero-shot": {"ours": whole, "begun": part}}
    ).splitlines()
    assert "| ours | half of test_public | 36.2M |" + " 0.500 |" * 11 in lines
    assert next(line for line in lines if "begun" in line).split(" | ")[-2:] == ["-", "- |"]
    assert next(line for line in lines if "ERNIE" in line).endswith("| 0.614 | - |")
    assert not any("few-shot" in line for line in lines)


@needs_shared
def test_tasks_are_read_whole() -> None:
    sizes = {task: len(evaluate_fewclue.read(FOLDER, task, "test")[0]["options"]) for task in evaluate_fewclue.TASKS}
    assert (sizes["csldcp"], sizes["iflytek"], sizes["chid"], sizes["ocnli"]) == (67, 119, 7, 3)
    assert evaluate_fewclue.few_shot_parts(FOLDER, "chid") == [("train", "dev")]
    assert evaluate_fewclue.read(FOLDER, evaluate_fewclue.OTHER_FORM, "test", 1)[0]["question"]


def test_the_splits_of_32_are_found_where_they_are(tmp_path: Path) -> None:
    for name in ("tnews.train", "tnews.train_0", "tnews.train_1", "tnews.dev_0"):
        (tmp_path / f"{name}.jsonl.gz").touch()
    parts = evaluate_fewclue.few_shot_parts(tmp_path, "tnews")
    assert parts == [("train", "dev"), ("train_0", "dev_0"), ("train_1", "dev_1")]
    with pytest.raises(SystemExit, match=r"no ocnli\.train"):
        evaluate_fewclue.few_shot_parts(tmp_path, "ocnli")


def test_a_whole_run_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "tiny"
    UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(model)
    for part, size in (("train", 12), ("dev", 6), ("test", 8)):
        rows = [
            {"passage": word, "question": "", "options": ["red", "blue"], "label": i % 2, "task": "topic"}
            for i, word in zip(range(size), ["sky", "sun"] * size)
        ]
        lines = "\n".join(json.dumps(row) for row in rows)

        with gzip.open(tmp_path / f"eprstmt.{part}.jsonl.gz", "wt") as file:
            file.write(lines)
    output = tmp_path / "figures.json"
    output.write_text(json.dumps({"zero-shot": {"other": {"parameters": 1, "tasks": {"tnews": {"accuracy": 0.4}}}}}))
    command = ["evaluate_fewclue.py", str(tmp_path), "--model", str(model), "--tasks", "eprstmt"]
    command += ["--few-shot", "--epochs", "40", "--learning-rate", "0.003", "--seed", "2", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    evaluate_fewclue.main()
    figures = json.loads(output.read_text())
    assert set(figures["zero-shot"]) == {"other", "UniMC tiny", "majority class"}
    few = figures["few-shot"]["UniMC tiny, train"]["tasks"]["eprstmt"]
    assert few["train_rows"] == 12 and few["rows"] == 8
    assert few["accuracy"] == 1.0  # sky and sun are learned, so the weights that were trained are those that answer
    assert "| UniMC tiny, train | half of test_public |" in output.with_suffix(".md").read_text()
