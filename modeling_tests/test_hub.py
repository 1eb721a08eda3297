"""Push over HTTP, load over HTTP in an interpreter without this package; nothing leaves the loopback interface."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline

REPO = "me/tiny-unimc"
TEXTS, LABELS = ["stocks fell sharply", "the team won"], ["sports", "business", "red car"]
TESTS = str(Path(__file__).parent)

PUSH = """
import sys; sys.path.insert(0, sys.argv[2])
from tiny_models import tiny_model, tiny_tokenizer
from unimc_hf import UniMCZeroShotPipeline
classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
if sys.argv[1] == "pipeline":
    classify.push_to_hub("me/tiny-unimc")
else:
    classify.tokenizer.push_to_hub("me/tiny-unimc")
    classify.model.push_to_hub("me/tiny-unimc")
"""
LOAD = """
import json, sys; sys.modules["unimc_hf"] = None
from transformers import pipeline
arguments, texts, labels = json.loads(sys.stdin.readline())
classify = pipeline(**arguments)
print(json.dumps(classify(texts, candidate_labels=labels)))
"""


def run(
    program: str, hub: LoopbackHub, home: Path, *arguments: str, stdin: object = None
) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        input=json.dumps(stdin),
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


@pytest.mark.parametrize("what", ["pipeline", "parts"])
def test_push_and_load_without_the_package(what: str, tmp_path: Path) -> None:
    expected = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")(TEXTS, candidate_labels=LABELS)
    with LoopbackHub() as hub:
        pushed = run(PUSH, hub, tmp_path / "a", what, TESTS)
        assert pushed.returncode == 0, pushed.stderr
        revision, files = hub.files(REPO, "main")
        assert {"model.safetensors", "config.json", "tokenizer.json", "pipeline_unimc.py"} <= set(files)
        assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]

        call = {"task": "unimc-zero-shot", "model": REPO, "trust_remote_code": True}
        for arguments in (call, {**call, "revision": revision}):
            loaded = run(LOAD, hub, tmp_path / "b", stdin=[arguments, TEXTS, LABELS])
            assert loaded.returncode == 0, loaded.stderr
            for got, want in zip(json.loads(loaded.stdout.strip().splitlines()[-1]), expected, strict=True):
                assert got["labels"] == want["labels"]
                assert got["scores"] == pytest.approx(want["scores"], abs=1e-6)

        refused = run(LOAD, hub, tmp_path / "b", stdin=[{**call, "trust_remote_code": False}, TEXTS, LABELS])
        assert refused.returncode != 0 and "trust_remote_code" in refused.stderr
        missing = run(LOAD, hub, tmp_path / "c", stdin=[{**call, "revision": "f" * 40}, TEXTS, LABELS])
        assert missing.returncode != 0
