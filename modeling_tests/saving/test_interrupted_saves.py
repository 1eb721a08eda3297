"""A save that is killed, or runs out of disk, leaves a folder with the old answers, the new ones, or none."""

import copy
import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch
from places import IMPORTABLE
from tiny_models import tiny_config, tiny_model, tiny_tokenizer
from transformers import modeling_utils, pipeline
from transformers.integrations.peft import MIN_PEFT_VERSION

from unimc_hf import UniMCForMultipleChoice, UniMCZeroShotPipeline

TEXTS, LABELS = ["stocks fell sharply", "sky"], ["sports", "business", "red car"]


def other_model() -> UniMCForMultipleChoice:
    """Of the same shape as `tiny_model("bert")`, so that every mix of the two would load; other weights and scores."""
    torch.manual_seed(1)
    model = UniMCForMultipleChoice(tiny_config("bert", softmax_temperature=3.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3)
    return model


def answers(folder: Path) -> list[dict]:
    return pipeline("unimc-zero-shot", model=str(folder))(TEXTS, candidate_labels=LABELS)


def outcome(folder: Path, old: list[dict], new: list[dict]) -> str:
    try:
        got = answers(folder)
    except (OSError, ValueError):
        return "refused"
    assert got in (old, new), "a mix of the old model and the new one"
    return "old" if got == old else "new"


@pytest.fixture(scope="module")
def pipelines() -> dict[str, UniMCZeroShotPipeline]:
    models = {"old": tiny_model("bert"), "new": other_model()}
    return {name: UniMCZeroShotPipeline(model, tiny_tokenizer(), device="cpu") for name, model in models.items()}


class Interruptions:
    """Breaks off at one file operation in a folder, before it or when a file is open and still empty.

    Python tells an audit hook of every operation before it happens. A hook stays for good, so there is only one. Code
    files do not count: they are many, and all written between the same two others.
    """

    WRITING = os.O_WRONLY | os.O_RDWR

    def __init__(self) -> None:
        self.folder, self.left, self.empty = "", -1, False
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple) -> None:
        if not self.folder or event not in ("open", "os.rename", "os.remove", "os.truncate"):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if (
            not path.startswith(self.folder)
            or path.endswith(".py")
            or (event == "open" and not (arguments[2] or 0) & self.WRITING)
        ):
            return
        self.left -= 1
        if self.left < 0:
            self.folder = ""
            if self.empty and event == "open":
                Path(path).write_bytes(b"")
            raise OSError(errno.ENOSPC, "No space left on device", path)

    @contextmanager
    def after(self, operations: int, folder: Path, empty: bool) -> Iterator[None]:
        self.folder, self.left, self.empty = str(folder), operations, empty
        try:
            yield
        finally:
            self.folder = ""


@pytest.fixture(scope="module")
def interruptions() -> Interruptions:
    return Interruptions()


@pytest.mark.parametrize("layout", ["one file", "shards", "shards over one file", "one file over shards"])
def test_a_save_that_breaks_off_anywhere(
    layout: str, tmp_path: Path, pipelines: dict, interruptions: Interruptions
) -> None:
    sizes = {"one file": "50GB", "shards": "30KB"}
    after, _, before = layout.partition(" over ")
    before = before or after
    old, new = (pipelines[name](TEXTS, candidate_labels=LABELS) for name in ("old", "new"))
    folder, outcomes = tmp_path / "model", Counter()
    for operations in range(10_000):
        pipelines["old"].save_pretrained(folder, max_shard_size=sizes[before])
        try:
            with interruptions.after(operations, folder, empty=bool(operations % 2)):
                pipelines["new"].save_pretrained(folder, max_shard_size=sizes[after])
        except OSError:
            outcomes[outcome(folder, old, new)] += 1
        else:
            break
    assert answers(folder) == new
    print(layout, operations, dict(outcomes))
    assert set(outcomes) == {"old", "refused"} and outcomes["refused"] >= 4


def test_a_weight_file_that_cannot_be_written(tmp_path: Path, pipelines: dict) -> None:
    """Safetensors writes from Rust, where no hook sees it."""
    old, new = (pipelines[name](TEXTS, candidate_labels=LABELS) for name in ("old", "new"))
    write = modeling_utils.safe_save_file
    for failing in range(4):
        pipelines["old"].save_pretrained(tmp_path, max_shard_size="30KB")
        calls = iter(range(100))

        def save(*arguments: object, failing: int = failing, calls: Iterator[int] = calls, **named: object) -> None:
            if next(calls) == failing:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(*arguments, **named)

        with mock.patch.object(modeling_utils, "safe_save_file", save), pytest.raises(OSError, match="No space left"):
            pipelines["new"].save_pretrained(tmp_path, max_shard_size="30KB")
        assert outcome(tmp_path, old, new) == "refused"
    pipelines["new"].save_pretrained(tmp_path)
    assert answers(tmp_path) == new


# Children that save one model and the other in turn are killed, or may write no more than so many bytes of a file.
KILL = """
import json, os, random, resource, signal, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from collections import Counter
from test_interrupted_saves import TEXTS, LABELS, other_model, outcome
from tiny_models import tiny_model, tiny_tokenizer
from unimc_hf import UniMCZeroShotPipeline

pair = [UniMCZeroShotPipeline(model, tiny_tokenizer(), device="cpu") for model in (tiny_model("bert"), other_model())]
expected = [classify(TEXTS, candidate_labels=LABELS) for classify in pair]
folder, outcomes, rng = Path(sys.argv[2]), Counter(), random.Random(0)
for round in range(int(sys.argv[3])):
    pair[0].save_pretrained(folder)
    start = time.perf_counter()
    pair[1].save_pretrained(folder)
    seconds = time.perf_counter() - start
    child = os.fork()
    if child == 0:
        while True:
            for classify in pair:
                classify.save_pretrained(folder, max_shard_size=rng.choice(["50GB", "30KB"]))
    time.sleep(rng.uniform(0, 3 * seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    outcomes["killed, " + outcome(folder, *expected)] += 1
for limit in (100, 1_000, 5_000, 20_000, 60_000):
    pair[0].save_pretrained(folder)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            pair[1].save_pretrained(folder)
        except BaseException as error:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1, limit
    outcomes["disk full, " + outcome(folder, *expected)] += 1
print(json.dumps(outcomes))
"""


def test_a_save_that_is_killed_or_runs_out_of_disk(tmp_path: Path) -> None:
    rounds = 8
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(Path(__file__).parent), str(tmp_path / "model"), str(rounds)],
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": IMPORTABLE},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    print(outcomes)
    assert sum(outcomes.values()) == rounds + 5
    assert sum(count for name, count in outcomes.items() if name.startswith("disk full, refused")) == 5


def test_what_is_saved_replaces_what_was_there(tmp_path: Path, pipelines: dict) -> None:
    """transformers prefers a stale `model.safetensors` to new shards, and keeps old pickles."""
    new = pipelines["new"](TEXTS, candidate_labels=LABELS)
    pipelines["old"].save_pretrained(tmp_path)
    torch.save(tiny_model("bert").state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.fp16.safetensors").write_bytes(b"a variant")
    (tmp_path / "notes.bin").write_bytes(b"the user's")
    pipelines["new"].model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert answers(tmp_path) == new
    weights = {path.name for path in tmp_path.iterdir() if path.suffix in (".bin", ".safetensors")}
    assert {"model.fp16.safetensors", "notes.bin"} < weights
    assert not {"model.safetensors", "pytorch_model.bin"} & weights and len(weights) > 3
    pipelines["new"].model.save_pretrained(tmp_path, variant="fp16")
    assert weights == {path.name for path in tmp_path.iterdir() if path.suffix in (".bin", ".safetensors")}


@pytest.mark.parametrize("part", ["pipeline", "model"])
def test_a_push_that_cannot_begin_removes_nothing(part: str, tmp_path: Path, pipelines: dict) -> None:
    old = pipelines["old"](TEXTS, candidate_labels=LABELS)
    pipelines["old"].save_pretrained(tmp_path)
    new = pipelines["new"] if part == "pipeline" else pipelines["new"].model
    with pytest.raises(OSError, match="offline"):  # as all tests are
        new.save_pretrained(tmp_path, push_to_hub=True, repo_id="me/model")
    assert answers(tmp_path) == old


@pytest.mark.parametrize("part", ["pipeline", "model"])
@pytest.mark.parametrize("size", ["2 gigs", "GB", None, [1]])
def test_a_save_with_a_wrong_shard_size_removes_nothing(
    part: str, size: object, tmp_path: Path, pipelines: dict
) -> None:
    old = pipelines["old"](TEXTS, candidate_labels=LABELS)
    pipelines["old"].save_pretrained(tmp_path)
    new = pipelines["new"] if part == "pipeline" else pipelines["new"].model
    with pytest.raises((TypeError, ValueError), match="`max_shard_size`"):
        new.save_pretrained(tmp_path, max_shard_size=size)
    assert answers(tmp_path) == old


def test_an_adapter_is_saved_beside_the_weights(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", minversion=MIN_PEFT_VERSION)  # what transformers' `add_adapter` takes
    tiny_model("bert").save_pretrained(tmp_path)
    model = UniMCForMultipleChoice.from_pretrained(tmp_path)
    model.add_adapter(peft.LoraConfig(target_modules=["query"]))
    model.save_pretrained(tmp_path)
    assert {"model.safetensors", "adapter_model.safetensors"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("way", ["not the main process", "add_adapter", "PeftModel"])
def test_a_pipeline_removes_no_weights_that_it_does_not_write(way: str, tmp_path: Path) -> None:
    classify = UniMCZeroShotPipeline(copy.deepcopy(tiny_model("bert")), tiny_tokenizer(), device="cpu")
    classify.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    if way != "not the main process":
        peft = pytest.importorskip("peft", minversion=MIN_PEFT_VERSION if way == "add_adapter" else None)
        lora = peft.LoraConfig(target_modules=["query"])
        if way == "add_adapter":
            classify.model.add_adapter(lora)
        else:
            classify.model = peft.get_peft_model(classify.model, lora)
    classify.save_pretrained(tmp_path, is_main_process=way != "not the main process")
    assert (tmp_path / "model.safetensors").read_bytes() == before
