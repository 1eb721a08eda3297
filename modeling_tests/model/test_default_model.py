"""The model inside the package: offline, small, quick, and better than its floor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import EXAMPLES, SHARED
from tiny_models import needs_shared
from transformers import pipeline

import unimc_hf
from unimc_hf.command_line.table import EXAMPLES as DEMO
from unimc_hf.command_line.table import format_table, main
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import read_jsonl
from unimc_hf.evaluation.metrics import evaluate

FOLDER = Path(unimc_hf.DEFAULT_MODEL)


@pytest.fixture(scope="module")
def classify() -> unimc_hf.UniMCZeroShotPipeline:
    return pipeline("unimc-zero-shot")


def test_the_files_that_ship() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".py", ".pt"))]
    assert files["model.safetensors"] <= 50e6


def test_three_lines(classify: unimc_hf.UniMCZeroShotPipeline) -> None:
    result = classify("Stocks fell sharply.", candidate_labels=["sports", "business"])
    assert result["labels"][0] == "business"
    assert classify.model.num_parameters() < 23e6


def test_every_example_of_the_command_is_answered(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(DEMO)
    assert lines[2].startswith("topic") and "business" in lines[2]


def test_the_command_with_texts_and_with_errors(capsys: pytest.CaptureFixture) -> None:
    assert main(["Stocks fell sharply.", "The home team won.", "--labels", "business", "sports"]) == 0
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert "business 0." in first and "sports 0." in second
    assert main(["text", "--labels", "one", "one"]) == 2
    assert "`candidate_labels` repeats 'one'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["text without labels"])


def test_the_table_is_aligned_also_in_chinese() -> None:
    assert format_table([("文本", "b"), ("a", "c")]).splitlines() == ["文本  b", "----  -", "a     c"]
    assert format_table([("x" * 99, "b")], widest=10).splitlines()[0] == "x" * 9 + "…  b"


def test_it_works_in_a_fresh_interpreter_without_a_network() -> None:
    program = "import unimc_hf.__main__ as m; raise SystemExit(m.main(['Stocks fell.', '--labels', 'sports', 'money']))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "money" in done.stdout


@needs_shared
@pytest.mark.parametrize("data_set", ["ag_news", "sst2", "trec6", "rte"])
def test_it_reaches_its_committed_figures(classify: unimc_hf.UniMCZeroShotPipeline, data_set: str) -> None:
    committed = json.loads((EXAMPLES / "models" / "english" / "evaluation_english.json").read_text())
    names = list(committed["classifiers"])
    ours, floor = (committed["classifiers"][name]["data_sets"][data_set] for name in names[:2])
    assert "UniMC" in names[0] and "cosine" in names[1]
    assert ours["accuracy"] >= floor["accuracy"]
    rows = read_jsonl(SHARED / "data" / "english" / "eval" / f"{data_set}.jsonl.gz", limit=250)
    assert evaluate(unimc_classifier(classify), rows).accuracy == pytest.approx(ours["accuracy"], abs=0.09)
