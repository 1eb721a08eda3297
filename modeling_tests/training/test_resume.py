"""A run that was killed goes on from its last complete checkpoint and ends with the weights of an unbroken one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import HELPERS
from safetensors.torch import load_file

from unimc_hf.training.checkpoints import last_complete_checkpoint

# Dropout, masking and distractors draw numbers; steps 1 to 4 are the first epoch.
SETTINGS = {
    "dropout": 0.1,
    "per_device_train_batch_size": 5,
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "linear",
    "max_steps": 8,
    "save_strategy": "steps",
    "save_steps": 3,
}


def run_alone(folder: Path, runs: dict[str, dict]) -> subprocess.CompletedProcess:
    """Runs in a process of their own: rounding may depend on what a process has done before."""
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, str(HELPERS / "train_tiny.py"), str(folder / "runs.json"), str(folder)]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("tokens_per_batch", [None, 100])
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, tokens_per_batch: int | None) -> None:
    settings = {**SETTINGS, "tokens_per_batch": tokens_per_batch}
    # at step 5, and while step 6's checkpoint is being written: both times step 3's is the last complete one
    runs = {"dead": {"kill_at": 5}} if tokens_per_batch else {"dead": {"kill_while_saving": True}}
    done = run_alone(tmp_path, {"dead": {**settings, **runs["dead"]}})
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (tmp_path / "dead.safetensors").exists()
    assert (tmp_path / "dead" / "checkpoint-6").exists() == (tokens_per_batch is None)

    done = run_alone(tmp_path, {"resumed": {**settings, "folder": "dead", "resume": True}, "whole": settings})
    assert done.returncode == 0, done.stderr[-3000:]
    resumed, whole = (json.loads((tmp_path / f"{name}-0.json").read_text()) for name in ("resumed", "whole"))
    weights = [load_file(tmp_path / f"{name}.safetensors") for name in ("resumed", "whole")]
    assert len(resumed["loss"]) == 8 and resumed["loss"] == whole["loss"]
    assert len(resumed["taken"]) < len(whole["taken"])
    assert [name for name, tensor in weights[1].items() if not torch.equal(tensor, weights[0][name])] == []


def test_unfinished_checkpoints_are_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no complete checkpoint"):
        last_complete_checkpoint(tmp_path)
    for step in (9, 10, 11):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        torch.save({"step": step}, folder / "optimizer.pt")
        (folder / "trainer_state.json").write_text("{}")
    assert last_complete_checkpoint(tmp_path).endswith("-11")
    optimizer = tmp_path / "checkpoint-11" / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-30])
    assert last_complete_checkpoint(tmp_path).endswith("-10")
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text('{"global_')
    assert last_complete_checkpoint(tmp_path).endswith("-9")
