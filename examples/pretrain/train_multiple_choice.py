# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Train a UniMC model on many multiple-choice data sets. One config file says everything that decides the weights.

    python examples/pretrain/train_multiple_choice.py examples/models/english/train_written.json \
        --written examples/written_tasks/english/train --output /tmp/unimc

trains the model inside the package further on the written tasks, some minutes on two cores. The recipes of the shipped
models (`examples/models`) name sources in the JSONL format of `unimc_hf.evaluation.jsonl_examples`, whose folder is
`--data`, and start from an encoder, `--backbone sentence-transformers/all-MiniLM-L6-v2`. A run that was stopped goes on
where it was with `--resume`. The folder that comes out loads with `pipeline("unimc-zero-shot", model=...)`, and is a
`--backbone` for the next recipe (with the encoder as `--teacher`). On several processes or machines:
`torchrun --nproc_per_node 2 examples/pretrain/train_multiple_choice.py ...`, each with batches of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import torch
from multiple_choice_data import build_mixture, held_out
from transformers import TrainingArguments, set_seed

from unimc_hf import DEFAULT_MODEL, DataCollatorForUniMC, UniMCForMultipleChoice, UniMCTokenizer
from unimc_hf.evaluation.source_scores import scores_by_source
from unimc_hf.training.backbone import load_backbone
from unimc_hf.training.recipes import read_recipe
from unimc_hf.training.token_batch_sampler import TokenBudgetBatchSampler
from unimc_hf.training.token_lengths import token_lengths
from unimc_hf.training.trainer import UniMCTrainer

# Lengths are multiples of it, so that matrix shapes come again: every new one costs a CPU some milliseconds.
ROUND_TO = 8
# What a recipe need not say.
DEFAULT_TRAINING_ARGUMENTS = {
    "per_device_eval_batch_size": 16,
    "logging_steps": 50,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "save_total_limit": 4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="JSON file of the recipe, in examples/models")
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="folders of the recipe's JSONL sources")
    parser.add_argument("--written", type=Path, nargs="+", default=[], help="folders of written tasks to train on")
    parser.add_argument("--develop", type=Path, nargs="+", default=[], help="folders of written tasks to develop on")
    parser.add_argument(
        "--backbone", default=DEFAULT_MODEL, help="folder or Hub name of the encoder, or UniMC model, to start from"
    )
    parser.add_argument("--teacher", help="embedding model for the soft targets, if it is not the backbone")
    parser.add_argument("--taught", type=Path, help="soft targets of `taught_rows.py`, for the recipe's `taught`")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints and the final model")
    parser.add_argument("--max_steps", type=int, help="instead of the config's, for a trial run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    arguments = parser.parse_args()

    config = read_recipe(arguments.config)
    set_seed(config["seed"])
    model, tokenizer = load_backbone(arguments.backbone, config)
    teacher = arguments.teacher or arguments.backbone
    train = build_mixture(arguments.data, config, teacher, arguments.written, arguments.taught)
    lengths = token_lengths(train, tokenizer)
    if longest := config.get("max_length"):
        train = [example for example, length in zip(train, lengths) if length <= longest]
        lengths = [length for length in lengths if length <= longest]
    develop = held_out(arguments.data, config, arguments.develop)
    print(f"{len(train)} training examples, {len(develop)} development examples of tasks that are not trained on")

    collator = DataCollatorForUniMC(tokenizer, mlm=config["mlm"], pad_to_multiple_of=ROUND_TO, seed=config["seed"])
    trainer = UniMCTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(arguments.output / "checkpoints"),
            remove_unused_columns=False,
            num_train_epochs=1,
            seed=config["seed"],
            report_to="none",
            **{
                **DEFAULT_TRAINING_ARGUMENTS,
                **config["training_arguments"],
                **({"max_steps": arguments.max_steps} if arguments.max_steps else {}),
            },
        ),
        train_dataset=train,
        eval_dataset=develop,
        data_collator=collator,
        processing_class=tokenizer,
        compute_metrics=scores_by_source([example["source"] for example in develop]),
        lengths=[math.ceil(length / ROUND_TO) * ROUND_TO for length in lengths],
        tokens_per_batch=config["tokens_per_batch"],
    )
    trainer.train(resume_from_checkpoint=arguments.resume or None)

    if not trainer.is_world_process_zero():
        return
    save(model, tokenizer, arguments.output / "model")
    batches = trainer.state.global_step * trainer.args.world_size * trainer.args.gradient_accumulation_steps
    summary = summarise(trainer.state.log_history, trainer.state.global_step, batches, trainer.lengths, config)
    (arguments.output / "training.json").write_text(json.dumps(summary, indent=1) + "\n")


def save(model: UniMCForMultipleChoice, tokenizer: UniMCTokenizer, folder: Path) -> None:
    """Half precision on disk; the config says float32, so that it loads in a precision every CPU is good at."""
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config_file = folder / "config.json"
    saved = json.loads(config_file.read_text())
    saved["dtype"] = saved["text_config"]["dtype"] = "float32"
    config_file.write_text(json.dumps(saved, indent=2, ensure_ascii=False) + "\n")


def summarise(
    log: list[dict[str, Any]], steps: int, batches: int, lengths: list[int], config: dict[str, Any]
) -> dict[str, Any]:
    """What the run was, for the model card: steps, examples, hours, hardware, training loss, learning curve."""
    sampler = TokenBudgetBatchSampler(lengths, config["tokens_per_batch"], config["seed"])
    seconds = next(entry["train_runtime"] for entry in reversed(log) if "train_runtime" in entry)
    return {
        "steps": steps,
        "examples_seen": sum(len(batch) for batch in list(sampler)[:batches]),
        "hours": round(float(seconds) / 3600, 2),
        "note": "one run",
        "hardware": f"{os.cpu_count()} cores of {cpu_name()}",
        "loss": [[entry["step"], round(float(entry["loss"]), 3)] for entry in log if "loss" in entry],
        "held_out": [  # step, mean macro-F1 and mean accuracy of the development tasks
            [entry["step"], *(round(float(entry[f"eval_mean_{name}"]), 3) for name in ("macro_f1", "accuracy"))]
            for entry in log
            if "eval_mean_macro_f1" in entry
        ],
    }


def cpu_name() -> str:
    """The processor as Linux calls it, or what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
