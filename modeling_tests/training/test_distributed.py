"""One run in many forms: accumulated, checkpointed, in bfloat16 and on two processes, the losses are the same."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from places import HELPERS
from safetensors.torch import load_file
from tiny_models import tiny_model, tiny_tokenizer
from torch.utils.data import DataLoader
from train_tiny import make_examples, train
from transformers import TrainingArguments

from unimc_hf import DataCollatorForUniMC
from unimc_hf.training.token_batch_sampler import TokenBudgetBatchSampler
from unimc_hf.training.trainer import UniMCTrainer

# Batches of 150 tokens are five: on two processes the last one is halved. Three steps are an epoch.
FILLED = {"tokens_per_batch": 150, "num_train_epochs": 2}


def differences(one: dict, other: dict) -> list[float]:
    assert len(one["loss"]) == len(other["loss"]) > 2
    return [abs(a - b) for a, b in zip(one["loss"], other["loss"])]


@pytest.mark.parametrize("several_right", [False, True, "mixed"])
def test_accumulated_batches_are_one_batch(tmp_path: Path, several_right: bool | str) -> None:
    """37 examples in fours: the last batch is short, and every batch has other labels, options and masked tokens."""
    whole = train(tmp_path, several_right=several_right, per_device_train_batch_size=8, num_train_epochs=1)
    parts = train(
        tmp_path,
        several_right=several_right,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=1,
    )
    assert max(differences(whole, parts)) < 1e-5


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_gradient_checkpointing_changes_nothing(tmp_path: Path, family: str) -> None:
    settings = {"family": family, "dropout": 0.1, "max_steps": 4}
    whole = train(tmp_path, **settings)
    checkpointed = train(tmp_path, gradient_checkpointing=True, **settings)
    assert max(differences(whole, checkpointed)) < 1e-5


@pytest.mark.parametrize("how", [{"bf16": True}, {"dtype": "bfloat16"}])
def test_bfloat16_is_float32_within_rounding(tmp_path: Path, how: dict) -> None:
    whole, rounded = train(tmp_path, max_steps=6), train(tmp_path, max_steps=6, **how)
    # a bfloat16 number has 8 bits of precision; most losses here are between 2 and 6
    assert max(differences(whole, rounded)) < 0.05
    assert max(differences(whole, rounded)) > 0


@pytest.fixture(scope="module")
def on_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs on two processes in one start of torchrun; the folder that they wrote to."""
    folder = tmp_path_factory.mktemp("torchrun")
    saving = {"save_strategy": "steps", "save_steps": 4, "dropout": 0.1}
    runs = {
        "equal": {"per_device_train_batch_size": 4, "num_train_epochs": 1, "examples": 32},
        "filled": FILLED,
        "mixed": {**FILLED, "several_right": "mixed"},
        "saved": {**FILLED, **saving, "folder": "run"},
        # in the second epoch
        "resumed": {**FILLED, **saving, "folder": "run", "resume": str(folder / "run" / "checkpoint-4")},
    }
    (folder / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(HELPERS / "train_tiny.py"), str(folder / "runs.json"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def result(folder: Path, name: str, rank: int = 0) -> dict:
    return json.loads((folder / f"{name}-{rank}.json").read_text())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("equal", {"per_device_train_batch_size": 8, "num_train_epochs": 1, "examples": 32}),
        ("filled", {**FILLED, "gradient_accumulation_steps": 2}),
        ("mixed", {**FILLED, "gradient_accumulation_steps": 2, "several_right": "mixed"}),
    ],
)
def test_two_processes_are_one_with_the_same_global_batch(
    on_two_processes: Path, tmp_path: Path, name: str, settings: dict
) -> None:
    assert max(differences(train(tmp_path, **settings), result(on_two_processes, name))) < 1e-5


def test_two_processes_take_every_example_once(on_two_processes: Path) -> None:
    taken = [result(on_two_processes, "filled", rank)["taken"] for rank in (0, 1)]
    assert sorted(taken[0] + taken[1]) == sorted([*range(37)] * 2)
    assert set(taken[0]) & set(taken[1])  # another order in the second epoch


def test_two_processes_resume(on_two_processes: Path) -> None:
    whole, resumed = (load_file(on_two_processes / f"{name}.safetensors") for name in ("saved", "resumed"))
    assert result(on_two_processes, "resumed")["taken"] != result(on_two_processes, "saved")["taken"]
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8])
def test_batches_are_dealt_out_evenly(num_processes: int) -> None:
    lengths = [len(example["text"]) for example in make_examples(101)]
    alone = TokenBudgetBatchSampler(lengths, tokens_per_batch=300, seed=0)
    sampler = TokenBudgetBatchSampler(lengths, tokens_per_batch=300, seed=0, num_processes=num_processes)
    sizes = set()
    for epoch in range(5):
        for each in (alone, sampler):
            each.set_epoch(epoch)
        batches = list(sampler)
        sizes.add(len(batches))
        assert len(batches) % num_processes == 0
        assert sorted(index for batch in batches for index in batch) == list(range(101))
        assert all(len(batch) * max(lengths[i] for i in batch) <= 300 for batch in batches)
        whole_steps = len(list(alone)) // num_processes * num_processes
        assert batches[:whole_steps] == list(alone)[:whole_steps]
    assert len(sizes) == 1


def test_single_examples_are_dealt_out_too() -> None:
    """The last step may have fewer examples than there are processes."""
    for seed in range(5):
        batches = list(TokenBudgetBatchSampler([50, 50, 50, 10, 10, 10], 50, seed=seed, num_processes=3))
        assert len(batches) == 6 and sorted(index for batch in batches for index in batch) == list(range(6))
    with pytest.raises(ValueError, match="2 examples for 3 processes"):
        TokenBudgetBatchSampler([1, 1], 50, seed=0, num_processes=3)


def test_lengths_are_those_of_the_examples(tmp_path: Path) -> None:
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    for size in (5, 30):
        with pytest.raises(ValueError, match=f"`lengths` has {size} entries, but `train_dataset` has 20 examples"):
            UniMCTrainer(tiny_model("bert"), arguments, train_dataset=make_examples(20), lengths=[10] * size)
    with pytest.raises(ValueError, match="`lengths` must be positive, got 0"):  # any number of them is within a budget
        TokenBudgetBatchSampler([10, 0, 10], 50, seed=0)
    overflowing = np.full(300, 200, dtype=np.uint8)
    assert {len(batch) for batch in TokenBudgetBatchSampler(overflowing, 600, seed=0)} == {3}


def test_workers_that_persist_see_the_epoch() -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), seed=0)
    collator.set_epoch(7)
    collator = pickle.loads(pickle.dumps(copy.deepcopy(collator)))
    examples = [{**example, "text": example["text"] * 3, "label": 0} for example in make_examples(4)]
    loader = DataLoader(examples, 4, collate_fn=collator, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        collator.set_epoch(epoch)
        assert torch.equal(next(iter(loader))["input_ids"], collator(examples)["input_ids"])


def test_noise_depends_on_seed_epoch_and_example_alone() -> None:
    collator = DataCollatorForUniMC(
        tiny_tokenizer(), distractor_options=["film", "food"], distractor_probability=0.5, seed=3
    )
    examples = [{**example, "text": example["text"] * 2} for example in make_examples(20)]

    def rows(epoch: int, size: int) -> list[tuple]:
        collator.set_epoch(epoch)
        found = []
        for start in range(0, len(examples), size):
            batch = collator(examples[start : start + size])
            for ids, targets, mask in zip(batch["input_ids"], batch["mlm_target_ids"], batch["attention_mask"]):
                found.append((ids[mask.bool()].tolist(), targets[mask.bool()].tolist()))
        return found

    assert rows(0, 20) == rows(0, 3) != rows(1, 20)
