"""A saved folder in a Python where this package cannot be imported: `trust_remote_code=True` must do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

import unimc_hf
from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.saved_files import CODE_FILES

TEXTS, LABELS = ["stocks fell sharply", "the team won"], ["sports", "business", "red car"]

# An installed copy of the package is out of reach of the child: importing it raises.
BLOCK = "import sys; sys.modules['unimc_hf'] = None\n"
PROGRAM = """
import json, sys
try:
    import unimc_hf
except ImportError:
    pass
else:
    raise SystemExit("the package must not be importable here")
import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer, PreTrainedTokenizerFast, pipeline

source, target = sys.argv[1:]
model = AutoModelForMultipleChoice.from_pretrained(source, trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=True)
classify = pipeline(model=source, trust_remote_code=True)
named = pipeline("unimc-zero-shot", model=source, trust_remote_code=True)
by_hand = type(classify)(model, tokenizer)
texts, labels = json.loads(sys.stdin.readline())
answers = [c(texts, candidate_labels=labels) for c in (classify, named, by_hand)]
batch = tokenizer(texts, options=labels, padding=True, return_tensors="pt")
model(**batch, labels=torch.tensor([0, 1]), mlm_target_ids=batch["input_ids"]).loss.backward()
trained = all(parameter.grad is not None for parameter in model.parameters())
try:
    type(classify)(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer))
except ValueError as raised:
    refused = str(raised)
classify.save_pretrained(target)
print(json.dumps({"answers": answers, "trained": trained, "refused": refused, "class": type(model).__module__}))
"""


def run_without_the_package(source: Path, target: Path, modules: Path) -> dict:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_MODULES_CACHE": str(modules), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + PROGRAM, str(source), str(target)],
        input=json.dumps([TEXTS, LABELS]) + "\n",
        capture_output=True,
        text=True,
        env=environment,
        cwd=target.parent,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_identical_scores_and_saved_again_from_there(family: str, tmp_path: Path) -> None:
    classify = UniMCZeroShotPipeline(tiny_model(family), tiny_tokenizer(), device="cpu")
    classify.save_pretrained(tmp_path / "first")
    expected = classify(TEXTS, candidate_labels=LABELS)
    for source, target in (("first", "second"), ("second", "third")):
        got = run_without_the_package(tmp_path / source, tmp_path / target, tmp_path / "modules")
        assert got["class"].startswith("transformers_modules")
        assert got["trained"]
        assert "pass the UniMCTokenizer of the model" in got["refused"]  # to convert one, the package is needed
        for answers in got["answers"]:
            for answer, wanted in zip(answers, expected, strict=True):
                assert answer["labels"] == wanted["labels"]
                assert answer["scores"] == pytest.approx(wanted["scores"], abs=1e-6)
        files = {path.name for path in (tmp_path / target).iterdir()}
        assert files == {path.name for path in (tmp_path / "first").iterdir()}


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_each_part_brings_its_own_code(part: str, tmp_path: Path) -> None:
    saved = tiny_model("bert") if part == "model" else tiny_tokenizer()
    saved.save_pretrained(tmp_path)
    assert (tmp_path / ("modeling_unimc.py" if part == "model" else "tokenization_unimc.py")).exists()
    if part == "model":  # the pipeline and the tokenizer come along
        assert (tmp_path / "pipeline_unimc.py").exists() and (tmp_path / "tokenization_unimc.py").exists()


def test_the_code_is_not_run_unasked(tmp_path: Path) -> None:
    UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(tmp_path)
    program = (
        f"{BLOCK}from transformers import pipeline\n"
        "pipeline('unimc-zero-shot', model=sys.argv[1], trust_remote_code=False)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "trust_remote_code" in done.stderr


def test_what_travels_is_short_enough_to_be_read() -> None:
    here = Path(unimc_hf.__file__).parent
    assert set(CODE_FILES) == {path.name for path in here.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(CODE_FILES) <= 15
    assert sum(len((here / name).read_text(encoding="utf-8").splitlines()) for name in CODE_FILES) <= 2300
