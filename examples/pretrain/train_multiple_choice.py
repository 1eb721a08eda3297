# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Train a UniMC model on many multiple-choice data sets. One config file says everything that decides the weights.

    python examples/train_multiple_choice.py examples/train_english.json --data ../shared/data/english/train \
        --backbone ../shared/backbones/all-MiniLM-L6-v2 --output /tmp/unimc-english

A smaller run, a few minutes on two cores: add `--max_steps 100`. A run that was stopped goes on where it was with
`--resume`. The folder that comes out loads with `pipeline("unimc-zero-shot", model=...)`, and is a `--backbone` for
`examples/train_english_second.json` (with the first one as `--teacher`). On several processes or
machines: `torchrun --nproc_per_node 2 examples/train_multiple_choice.py ...`, each with batches of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from multiple_choice_data import build_mixture, held_out, read_recipe, token_lengths
from sklearn.metrics import f1_score
from transformers import EvalPrediction, TrainingArguments, set_seed

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice, UniMCTokenizer
from unimc_hf.training.token_batch_sampler import TokenBudgetBatchSampler
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


def load_backbone(folder: str, config: dict[str, Any]) -> tuple[UniMCForMultipleChoice, UniMCTokenizer]:
    """The backbone as a UniMC model. Where it has no MLM head, the new one starts close to the identity."""
    tokenizer = UniMCTokenizer.from_pretrained(folder)
    yes_token_id, no_token_id = tokenizer.yes_no_token_ids(config["language"])
    model, info = UniMCForMultipleChoice.from_pretrained(
        folder,
        yes_token_id=yes_token_id,
        no_token_id=no_token_id,
        language=config["language"],
        option_mlm_loss=config["option_mlm_loss"],
        attention_probs_dropout_prob=0.0,  # with it, attention takes a slower path
        hidden_dropout_prob=config["hidden_dropout_prob"],
        output_loading_info=True,
        dtype=torch.float32,
    )
    if any("transform.dense.weight" in key for key in info["missing_keys"]):
        dense = model.cls.predictions.transform.dense
        with torch.no_grad():
            dense.weight.copy_(torch.eye(dense.out_features))
            dense.bias.zero_()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in config["frozen"]))
    return model.to(getattr(torch, config["dtype"])), tokenizer


def scores_by_source(sources: list[str]) -> Any:
    """A `compute_metrics` for examples in the order of `sources`: macro-F1 of each, and the means.

    Accuracy would reward a model that always gives the commonest answer of a task that it cannot do.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Trainer pads menus of different batches with -100, which is no logit.
        logits = np.where(prediction.predictions == -100, -np.inf, prediction.predictions)
        predicted, labels = np.argmax(logits, axis=-1), np.asarray(prediction.label_ids)
        rows = {source: np.array(sources) == source for source in dict.fromkeys(sources)}
        accuracy = [float((predicted[row] == labels[row]).mean()) for row in rows.values()]
        scores = {
            source: f1_score(labels[row], predicted[row], labels=np.unique(labels[row]), average="macro")
            for source, row in rows.items()
        }
        means = {"mean_macro_f1": float(np.mean(list(scores.values()))), "mean_accuracy": float(np.mean(accuracy))}
        return {**means, **scores}

    return compute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="JSON file of the recipe, e.g. examples/train_english.json")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of the JSONL training sources")
    parser.add_argument("--backbone", required=True, help="folder or Hub name of the encoder to start from")
    parser.add_argument("--teacher", help="embedding model for the soft targets, if it is not the backbone")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints and the final model")
    parser.add_argument("--max_steps", type=int, help="instead of the config's, for a trial run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    arguments = parser.parse_args()

    config = read_recipe(arguments.config)
    set_seed(config["seed"])
    model, tokenizer = load_backbone(arguments.backbone, config)
    train = build_mixture(arguments.data, config, arguments.teacher or arguments.backbone)
    lengths = token_lengths(train, tokenizer)
    if longest := config.get("max_length"):
        train = [example for example, length in zip(train, lengths) if length <= longest]
        lengths = [length for length in lengths if length <= longest]
    develop = held_out(arguments.data, config)
    print(f"{len(train)} training examples, {len(develop)} development examples of tasks that are not trained on")

    collator = DataCollatorForUniMC(
        tokenizer, max_length=None, mlm=config["mlm"], pad_to_multiple_of=ROUND_TO, seed=config["seed"]
    )
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
