"""Training runs of a tiny model for the tests, in this process or in others: `python train_tiny.py runs.json folder`.

The file maps a run's name to the arguments of `train`; each process writes what it saw to `folder/name-rank.json`, and
the first one the final weights to `folder/name.safetensors`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny_models import tiny_config, tiny_tokenizer
from transformers import TrainerCallback, TrainingArguments, set_seed

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice
from unimc_hf.training.trainer import UniMCTrainer

WORDS = "sky sun rain car train road city house tree dog cat game team stocks music".split()
OPTIONS = ["sports", "business", "music", "science", "politics", "health"]


def make_examples(size: int, several_right: bool | str = False) -> list[dict[str, Any]]:
    """Examples that differ in all that a loss is a mean over: labels, options, tokens and soft targets.

    Several options may be right, or none, of all examples, or of every third one with `several_right="mixed"`.
    """
    rng = random.Random(0)
    examples = []
    for i in range(size):
        options = rng.sample(OPTIONS, rng.randint(2, 5))
        example: dict[str, Any] = {"text": " ".join(rng.choices(WORDS, k=rng.randint(1, 12))), "options": options}
        example["label"] = rng.randrange(len(options)) if i % 5 else -100
        if i % 10 == 0:
            example["option_probs"] = [1 / len(options)] * len(options)
        if several_right is True or (several_right == "mixed" and i % 3 == 0):
            example["label"] = [float(rng.random() < 0.4) for _ in options]
        examples.append(example)
    return examples


class Recorded(list):
    """A dataset that remembers which of its examples were taken."""

    def __init__(self, examples: list[dict[str, Any]]) -> None:
        super().__init__(examples)
        self.taken: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        self.taken.append(index)
        return super().__getitem__(index)


class KillItself(TrainerCallback):
    """kill -9 at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class KilledWhileSaving(UniMCTrainer):
    """kill -9 when the weights of its second checkpoint are written and the rest is not."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not output_dir.endswith("-3"):
            os.kill(os.getpid(), signal.SIGKILL)
        super()._save_optimizer_and_scheduler(output_dir)


def train(
    folder: Path,
    examples: int = 37,
    several_right: bool | str = False,
    tokens_per_batch: int | None = None,
    dropout: float = 0.0,
    family: str = "bert",
    dtype: str = "float32",
    mlm: bool = True,
    resume: bool | str | None = None,
    kill_at: int | None = None,
    kill_while_saving: bool = False,
    **arguments: Any,
) -> dict[str, Any]:
    """One run: the loss after every step, the examples that were taken, and the final weights."""
    set_seed(0)
    config = tiny_config(family)
    config.text_config.hidden_dropout_prob = config.text_config.attention_probs_dropout_prob = dropout
    dataset = Recorded(make_examples(examples, several_right))
    lengths = [len(example["text"].split()) + 2 * len(example["options"]) + 3 for example in dataset]
    trainer = (KilledWhileSaving if kill_while_saving else UniMCTrainer)(
        model=UniMCForMultipleChoice(config).to(getattr(torch, dtype)),
        args=TrainingArguments(
            output_dir=str(folder),
            **{
                "remove_unused_columns": False,
                "report_to": "none",
                "use_cpu": True,
                "learning_rate": 2e-3,
                "lr_scheduler_type": "constant",
                "num_train_epochs": 2,
                "per_device_train_batch_size": 4,
                "disable_tqdm": True,
                "logging_steps": 1,
                "save_strategy": "no",
                "seed": 1,
                **arguments,
            },
        ),
        train_dataset=dataset,
        data_collator=DataCollatorForUniMC(
            tiny_tokenizer(), mlm=mlm, distractor_options=["weather", "film", "food"], distractor_probability=0.5
        ),
        callbacks=[KillItself(kill_at)] if kill_at else [],
        lengths=lengths if tokens_per_batch else None,
        tokens_per_batch=tokens_per_batch or 1,
    )
    trainer.train(resume_from_checkpoint=resume)
    return {
        "loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "taken": dataset.taken,
        "weights": {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()},
    }


def main(runs_file: str, folder: str) -> None:
    for name, settings in json.loads(Path(runs_file).read_text()).items():
        result = train(Path(folder) / settings.pop("folder", name), **settings)
        weights, rank = result.pop("weights"), os.environ.get("RANK", "0")
        (Path(folder) / f"{name}-{rank}.json").write_text(json.dumps(result))
        if rank == "0":
            save_file({key: tensor.contiguous() for key, tensor in weights.items()}, f"{folder}/{name}.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # its threads may abort an interpreter that ends before them
