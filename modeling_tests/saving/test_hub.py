"""Push over HTTP, load over HTTP in an interpreter without this package; nothing leaves the loopback interface."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import LoopbackHub, run
from safetensors.torch import load, save
from tiny_models import tiny_config, tiny_model, tiny_tokenizer

from unimc_hf import DEFAULT_MODEL, UniMCForMultipleChoice, UniMCZeroShotPipeline

TEXTS, LABELS = ["stocks fell sharply", "the team won"], ["sports", "business", "red car"]
REPOS = ["me/pipeline", "me/parts", "me/saved"]  # one for each way to push

PUSH = """
import sys
import unimc_hf
from transformers import pipeline
classify = pipeline("unimc-zero-shot", model=sys.argv[1])
classify.push_to_hub("me/pipeline")
classify.model.push_to_hub("me/parts")
classify.tokenizer.push_to_hub("me/parts")
classify.save_pretrained(sys.argv[2], push_to_hub=True, repo_id="me/saved")
"""
# One line for each call: the answer, or the reason why there is none.
LOAD = """
import json, sys
{first_line}
import torch
from transformers import AutoModelForMultipleChoice, AutoTokenizer, pipeline
texts, labels, batch, calls = json.loads(sys.stdin.readline())
batch = {{name: torch.tensor(rows) for name, rows in batch.items()}}
for way, repo, arguments in calls:
    try:
        if way == "pipeline":
            answer = pipeline(model=repo, **arguments)(texts, candidate_labels=labels)
        elif way == "tokenizer":
            answer = AutoTokenizer.from_pretrained(repo, **arguments)(texts, options=labels)["input_ids"]
        else:
            model = AutoModelForMultipleChoice.from_pretrained(repo, **arguments)
            with torch.no_grad():
                logits = model(**batch).logits.tolist()
            answer = logits, getattr(model, "code_of", "first commit")
    except (OSError, ValueError) as error:
        answer = type(error).__name__ + ": " + str(error)
    print("\\nANSWER " + json.dumps(answer))
"""
WITHOUT_PACKAGE, WITH_PACKAGE = "sys.modules['unimc_hf'] = None", "import unimc_hf"


def load_all(first_line: str, hub: LoopbackHub, home: Path, calls: list[tuple[str, str, dict]]) -> list[Any]:
    """The answers to `calls` of (way, repository, arguments), all in one new interpreter."""
    batch = {name: tensor.tolist() for name, tensor in encoded().items()}
    done = run(LOAD.format(first_line=first_line), hub, home, stdin=[TEXTS, LABELS, batch, calls])
    answers = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert len(answers) == len(calls), done.stderr
    return answers


def encoded() -> Any:
    return tiny_tokenizer()(TEXTS, options=LABELS, padding=True, return_tensors="pt")


def check(answer: Any, way: str, model: UniMCForMultipleChoice) -> None:
    """That it is what `model` says here."""
    if way == "tokenizer":
        assert answer == tiny_tokenizer()(TEXTS, options=LABELS)["input_ids"]
    elif way == "model":
        with torch.no_grad():  # with gradients the installed package has an attention of its own
            logits = model(**encoded()).logits.tolist()
        for row, expected in zip(answer[0], logits, strict=True):
            assert row == pytest.approx(expected, abs=1e-6)
    else:
        classify = UniMCZeroShotPipeline(model, tiny_tokenizer(), device="cpu")
        for got, expected in zip(answer, classify(TEXTS, candidate_labels=LABELS), strict=True):
            assert got["labels"] == expected["labels"]
            assert got["scores"] == pytest.approx(expected["scores"], abs=1e-6)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """With what was pushed in each way."""
    with LoopbackHub() as hub:
        folder = tmp_path_factory.mktemp("push")
        UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(folder / "local")
        pushed = run(PUSH, hub, folder / "home", str(folder / "local"), str(folder / "saved"))
        assert pushed.returncode == 0, pushed.stderr
        yield hub


def second_commit(hub: LoopbackHub, repo: str) -> UniMCForMultipleChoice:
    """Make `repo` a copy of the first one, with another commit: other weights and other code. Returns its model."""
    hub.repositories[repo] = dict(hub.repositories[REPOS[0]])
    files = hub.files(repo, "main")[1]
    weights = {name: tensor * 0.5 for name, tensor in load(files["model.safetensors"]).items()}
    hub.add(repo, "model.safetensors", save(weights, metadata={"format": "pt"}))
    hub.add(repo, "modeling_unimc.py", files["modeling_unimc.py"] + b"\nUniMCForMultipleChoice.code_of = 'second'\n")
    code = files["pipeline_unimc.py"]
    assert code.count(b'"sequence": request.text,') == 1
    hub.add(repo, "pipeline_unimc.py", code.replace(b"request.text,", b"request.text.upper(),"))
    model = UniMCForMultipleChoice(tiny_config("bert")).eval()
    model.load_state_dict({**model.state_dict(), **weights}, strict=False)
    model.tie_weights()
    return model


@pytest.mark.parametrize("repo", REPOS)
def test_what_is_pushed(repo: str, hub: LoopbackHub) -> None:
    files = hub.files(repo, "main")[1]
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert {"modeling_unimc.py", "tokenization_unimc.py", "pipeline_unimc.py", "configuration_unimc.py"} <= set(files)
    for commit in hub.repositories[repo].values():  # no pickle ever, also not in a commit between
        assert {Path(name).suffix for name in commit} <= {".json", ".md", ".py", ".safetensors"}
    code = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name.endswith(".py")}
    assert json.loads(files["code_manifest.json"])["sha256"] == code


def test_load_without_the_package(hub: LoopbackHub, tmp_path: Path) -> None:
    model, changed = tiny_model("bert"), second_commit(hub, "me/changed")
    pinned, trust = {"revision": hub.head(REPOS[0])}, {"trust_remote_code": True}
    named = {"task": "unimc-zero-shot", **trust}
    unpinned = [(way, repo, trust) for repo in REPOS for way in ("pipeline", "model", "tokenizer")]
    # The first commit before and after the second, in the same interpreter.
    old = [(way, "me/changed", {**trust, **pinned}) for way in ("pipeline", "model", "tokenizer")]
    new = [(way, "me/changed", trust) for way in ("pipeline", "model")]
    refused = [
        (way, REPOS[0], {**arguments, **pinned})
        for way, arguments in (
            ("pipeline", {"task": "unimc-zero-shot"}),
            ("pipeline", {"task": "unimc-zero-shot", "trust_remote_code": False}),
            ("model", {}),
            ("model", {"trust_remote_code": False}),
            ("tokenizer", {"trust_remote_code": False}),
        )
    ]
    missing = [("pipeline", REPOS[0], {**named, "revision": "f" * 40})]

    # Those first, before any code of the repository is in the interpreter.
    calls = [*refused, *missing, *unpinned, ("pipeline", REPOS[0], named), *old, *new, *old]
    answers = iter(load_all(WITHOUT_PACKAGE, hub, tmp_path, calls))
    for _ in refused:
        answer = next(answers)
        assert isinstance(answer, str) and "trust_remote_code=True" in answer
    assert "Error: " in next(answers)  # an OSError that names the revision
    for way, *_ in [*unpinned, ("pipeline",)]:
        check(next(answers), way, model)
    for group, expected, code_of in (
        (old, model, "first commit"),
        (new, changed, "second"),
        (old, model, "first commit"),
    ):
        for way, *_ in group:
            answer = next(answers)
            check(answer, way, expected)
            if way == "pipeline":
                texts = TEXTS if group is old else [text.upper() for text in TEXTS]
                assert [result["sequence"] for result in answer] == texts
            elif way == "model":
                assert answer[1] == code_of


def test_a_pipeline_without_a_task(hub: LoopbackHub, tmp_path: Path) -> None:
    """The card of the model inside the package names the task; without the package the configuration does."""
    card = Path(DEFAULT_MODEL, "README.md").read_bytes()
    hub.repositories["me/tagged"] = dict(hub.repositories[REPOS[0]])
    hub.add("me/tagged", "README.md", card)
    trust = {"trust_remote_code": True}
    calls = [("pipeline", "me/tagged", {}), ("pipeline", "me/tagged", trust)]
    for answer in load_all(WITH_PACKAGE, hub, tmp_path, calls):
        check(answer, "pipeline", tiny_model("bert"))
    for answer in load_all(WITHOUT_PACKAGE, hub, tmp_path, calls[1:]):
        check(answer, "pipeline", tiny_model("bert"))


def test_with_the_package_no_code_of_the_repository_runs(hub: LoopbackHub, tmp_path: Path) -> None:
    """Unless `trust_remote_code=True` asks for it: transformers then prefers the tokenizer of the repository."""
    hub.repositories["me/hostile"] = dict(hub.repositories[REPOS[0]])
    for name in hub.files("me/hostile", "main")[1]:
        if name.endswith(".py"):
            hub.add("me/hostile", name, b"raise SystemExit('code of the repository ran')\n")
    calls = [
        (way, "me/hostile", {**task, **given})
        for way, task in (("pipeline", {"task": "unimc-zero-shot"}), ("model", {}), ("tokenizer", {}))
        for given in ({}, {"trust_remote_code": False})
    ]
    for (way, *_), answer in zip(calls, load_all(WITH_PACKAGE, hub, tmp_path, calls), strict=True):
        check(answer, way, tiny_model("bert"))
