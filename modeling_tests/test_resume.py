"""A run that was killed goes on from its last complete checkpoint and ends with the weights of an unbroken one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_tiny import train

from unimc_hf.trainer_unimc import last_complete_checkpoint

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


@pytest.mark.parametrize("tokens_per_batch", [None, 100])
def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path, tokens_per_batch: int | None) -> None:
    settings = {**SETTINGS, "tokens_per_batch": tokens_per_batch}
    # at step 5, and while step 6's checkpoint is being written: both times step 3's is the last complete one
    runs = {"dead": {"kill_at": 5}} if tokens_per_batch else {"dead": {"kill_while_saving": True}}
    (tmp_path / "runs.json").write_text(json.dumps({"dead": {**settings, **runs["dead"]}}))
    command = [sys.executable, str(Path(__file__).with_name("train_tiny.py")), str(tmp_path / "runs.json")]
    done = subprocess.run([*command, str(tmp_path)], env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    assert not (tmp_path / "dead.safetensors").exists()
    assert (tmp_path / "dead" / "checkpoint-6").exists() == (tokens_per_batch is None)

    resumed = train(tmp_path / "dead", resume=True, **settings)
    whole = train(tmp_path / "whole", **settings)
    assert len(resumed["loss"]) == 8 and resumed["loss"] == whole["loss"]
    assert len(resumed["taken"]) < len(whole["taken"])
    different = [name for name, tensor in whole["weights"].items() if not torch.equal(tensor, resumed["weights"][name])]
    assert different == []


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
