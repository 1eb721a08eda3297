# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Train a small UniMC from what a larger one answers on texts without labels.

    python examples/fine_tune/distill.py examples/written_tasks/english/train/topic.jsonl \
        --layers 3 --limit 2000 --output /tmp/student

The files are in the common JSONL format; labels in them are only used to measure, on `--test-rows` rows that are not
trained on. The student is any UniMC folder (`--student`), or the teacher with some of its layers (`--layers`), as
DistilBERT began (Sanh et al. 2019, section 3). It learns both of the teacher's answers: the softmax over the options
(OP) and each option's sigmoid(yes - no) (O-MLM), so that `multi_label` and thresholds work as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
from torch import nn
from transformers import TrainingArguments, set_seed
from transformers.utils import logging

from unimc_hf import DEFAULT_MODEL, DataCollatorForUniMC, UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline
from unimc_hf.command_line.table import format_table
from unimc_hf.evaluation.calibration import Calibration, score_data_sets
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.training.trainer import UniMCTrainer


def with_fewer_layers(model: UniMCForMultipleChoice, layers: int) -> UniMCForMultipleChoice:
    """The model with `layers` of its layers, evenly spaced from the first to the last.

    Raises:
        ValueError: if it has not as many, or they cannot be told from its other parts.
    """
    count = model.config.text_config.num_hidden_layers
    if not 1 <= layers <= count:
        raise ValueError(f"`layers` must be between 1 and the teacher's {count}, got {layers}.")
    stacks = [
        (parent, name)
        for parent in model.get_backbone().modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == count
    ]
    if len(stacks) != 1:
        raise ValueError(f"`layers`: cannot tell the layers of a {model.config.text_config.model_type} from its parts.")
    parent, name = stacks[0]
    kept = np.linspace(0, count - 1, layers).round().astype(int)
    setattr(parent, name, nn.ModuleList(getattr(parent, name)[i] for i in kept))
    config = model.config.text_config
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):  # what kind of attention each layer has
        config.layer_types = [config.layer_types[i] for i in kept]
    return model


def teach(teacher: UniMCZeroShotPipeline, examples: list[Example], temperature: float = 1.0) -> list[Example]:
    """The examples with the teacher's answers instead of labels.

    Args:
        teacher: its scores are taken as trained, without calibration.
        examples: at least one, with `options`; labels are not looked at.
        temperature: of `option_probs`; above 1 the options that the teacher thinks wrong count for more.

    Returns:
        Examples with `option_probs` (what OP learns) and with the score of each option for `label` (O-MLM).
    """
    as_trained, softened = Calibration(), Calibration(softmax_temperature=temperature)
    scored = score_data_sets(teacher, {"texts": examples})["texts"]
    return [
        {
            **example,
            "option_probs": softened.softmax(answer.log_shares).tolist(),
            "label": as_trained.sigmoid(answer.margins).tolist(),
        }
        for example, answer in zip(examples, scored)
    ]


def distill(
    teacher: UniMCZeroShotPipeline,
    student: UniMCForMultipleChoice,
    tokenizer: UniMCTokenizer,
    examples: list[Example],
    temperature: float = 1.0,
    seed: int = 0,
    **arguments: Any,
) -> None:
    """Train the student in place; `arguments` are those of `TrainingArguments`."""
    set_seed(seed)
    fixed = {"remove_unused_columns": False, "report_to": "none", "save_strategy": "no", "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        UniMCTrainer(
            model=student,
            args=TrainingArguments(folder, **{**fixed, **arguments}),
            train_dataset=teach(teacher, examples, temperature),
            data_collator=DataCollatorForUniMC(tokenizer, mlm=False),
            temperature=temperature,
        ).train()


def measure(pipeline: UniMCZeroShotPipeline, teacher_choices: list[int], examples: list[Example]) -> dict[str, float]:
    """How often it chooses what the teacher chooses, and what is right."""
    choices = choose(pipeline, examples)
    figures = {"agreement": float(np.mean([a == b for a, b in zip(choices, teacher_choices)]))}
    if all(example["label"] is not None for example in examples):
        figures["accuracy"] = float(np.mean([a == e["label"] for a, e in zip(choices, examples)]))
    return {name: round(value, 4) for name, value in figures.items()}


def choose(pipeline: UniMCZeroShotPipeline, examples: list[Example]) -> list[int]:
    """The best option of every example."""
    return [int(np.argmax(scores)) for scores in unimc_classifier(pipeline)(examples)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="JSONL files, gzipped or not")
    parser.add_argument("--teacher", default=DEFAULT_MODEL, help="folder or Hub name of a UniMC model")
    student = parser.add_mutually_exclusive_group(required=True)
    student.add_argument("--student", help="folder or Hub name of the UniMC model to train")
    student.add_argument("--layers", type=int, help="start from so many of the teacher's layers instead")
    parser.add_argument("--output", type=Path, required=True, help="folder for the student and distillation.json")
    parser.add_argument("--limit", type=int, help="at most so many rows of each file")
    parser.add_argument("--test-rows", type=int, default=200, help="rows of each file to measure on")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable_progress_bar()

    train: list[Example] = []
    test: list[Example] = []
    for path in options.files:
        rows = read_jsonl(path, limit=options.limit, seed=options.seed)
        if len(rows) <= options.test_rows:
            parser.error(f"{path} has {len(rows)} rows, no more than --test-rows")
        # evenly spread, since files may be sorted
        chosen = set(np.linspace(0, len(rows) - 1, options.test_rows).round().astype(int).tolist())
        test += [row for i, row in enumerate(rows) if i in chosen]
        train += [row for i, row in enumerate(rows) if i not in chosen]

    teacher = UniMCZeroShotPipeline(
        UniMCForMultipleChoice.from_pretrained(options.teacher), UniMCTokenizer.from_pretrained(options.teacher)
    )
    model = UniMCForMultipleChoice.from_pretrained(options.student or options.teacher)
    tokenizer = UniMCTokenizer.from_pretrained(options.student or options.teacher)
    if options.layers:
        model = with_fewer_layers(model, options.layers)
    pipeline = UniMCZeroShotPipeline(model, tokenizer)

    choices = choose(teacher, test)
    figures = {"teacher": measure(teacher, choices, test), "student before": measure(pipeline, choices, test)}
    distill(
        teacher,
        model,
        tokenizer,
        train,
        options.temperature,
        options.seed,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=options.batch_size,
        warmup_steps=math.ceil(0.1 * options.epochs * len(train) / options.batch_size),
    )
    figures["student after"] = measure(pipeline, choices, test)
    pipeline.save_pretrained(str(options.output))

    parameters = {"teacher": teacher.model.num_parameters()}
    for name in ("student before", "student after"):
        parameters[name] = model.num_parameters()
    head = ("model", "parameters", *figures["teacher"])
    rows_of_table = [
        (name, f"{parameters[name] / 1e6:.1f}M", *(f"{value:.3f}" for value in row.values()))
        for name, row in figures.items()
    ]
    print(format_table([head, *rows_of_table]))
    summary = {"files": [path.name for path in options.files], "train_rows": len(train), "test_rows": len(test)}
    summary |= {"temperature": options.temperature, "epochs": options.epochs, "parameters": parameters}
    (options.output / "distillation.json").write_text(json.dumps({**summary, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
