# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Fine-tune or pre-train a UniMC model on any labelled texts, with `UniMCTrainer`.

    python examples/fine_tune/run_unimc.py --train_files train.jsonl.gz --validation_files dev.jsonl.gz \
        --output_dir /tmp/tuned --do_train --do_eval --num_train_epochs 3

Files of the common format (JSONL with `options`; see unimc_hf/evaluation/jsonl_examples.py) and text classification
(`.csv`, `.json`, `.parquet`, or `--dataset_name` for the Hub) may be mixed: every batch holds menus of any length.
Columns are named where they are not called as ours, and integer labels get their names:

    python examples/fine_tune/run_unimc.py --train_files reviews.csv --text_column review --label_column stars \
        --class_names bad good --validation_split 0.1 --output_dir /tmp/tuned --do_train --do_eval \
        --eval_strategy epoch --save_strategy epoch --load_best_model_at_end --metric_for_best_model macro_f1 \
        --early_stopping_patience 2

`--lora_rank 8` trains a LoRA adapter alone and merges it into the model that is saved; `--mlm` adds the masked
language modelling loss of the text, to pre-train. All arguments of `TrainingArguments` work, `--push_to_hub` too; one
JSON file instead of arguments does as well.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fine_tuning import load_for_training, make_collator, metrics_by_source, probabilities
from transformers import EarlyStoppingCallback, HfArgumentParser, TrainingArguments, set_seed

import unimc_hf
from unimc_hf import UniMCConfig
from unimc_hf.evaluation.classification_examples import classification_examples
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.written_tasks import is_written_task
from unimc_hf.training.trainer import UniMCTrainer


@dataclass
class ModelArguments:
    model_name_or_path: str = field(
        default=unimc_hf.DEFAULT_MODEL,
        metadata={"help": "UniMC model, masked language model or encoder; default: the one inside the package"},
    )
    language: str | None = field(
        default=None, metadata={"help": "english or chinese, for models that do not record it"}
    )
    dtype: str = field(default="auto", metadata={"help": "of the parameters while training: auto, bfloat16 or float32"})
    frozen: list[str] = field(
        default_factory=list, metadata={"help": "parts that are not trained, e.g. word_embeddings"}
    )
    lora_rank: int = field(default=0, metadata={"help": "train a LoRA adapter of this rank instead of all weights"})


@dataclass
class DataArguments:
    train_files: list[str] = field(default_factory=list, metadata={"help": "files, mixed into every batch"})
    validation_files: list[str] = field(default_factory=list, metadata={"help": "files to evaluate on"})
    test_files: list[str] = field(default_factory=list, metadata={"help": "files for --do_predict"})
    dataset_name: str | None = field(default=None, metadata={"help": "data set of the Hub, besides the files"})
    dataset_config_name: str | None = field(default=None, metadata={"help": "its configuration"})
    text_column: str = field(default="text", metadata={"help": "column of the text"})
    text_pair_column: str | None = field(default=None, metadata={"help": "column of a second text"})
    question_column: str | None = field(default=None, metadata={"help": "column of a question"})
    options_column: str | None = field(default=None, metadata={"help": "column of a list of options"})
    label_column: str = field(default="label", metadata={"help": "column of the label; test files need none"})
    class_names: list[str] | None = field(
        default=None, metadata={"help": "options of the labels 0, 1, ..., where the data do not know them"}
    )
    question: str = field(default="", metadata={"help": "asked about every text that has no question of its own"})
    hypothesis_template: str = field(default="{}", metadata={"help": "how a label name becomes an option"})
    validation_split: float = field(default=0.0, metadata={"help": "share of the training rows to evaluate on"})
    max_samples: int | None = field(default=None, metadata={"help": "at most so many rows of every file, for a trial"})
    max_length: int | None = field(
        default=None, metadata={"help": "most tokens of an example; default: what the model has positions for"}
    )
    mlm: bool = field(default=False, metadata={"help": "also learn masked tokens of the text, to pre-train"})
    early_stopping_patience: int = field(
        default=0, metadata={"help": "stop after so many evaluations without a better one"}
    )

    def columns(self) -> dict[str, str]:
        """Our name -> the data's, as [`classification_examples`] takes it."""
        names = {
            "text": self.text_column,
            "text_pair": self.text_pair_column,
            "question": self.question_column,
            "options": self.options_column,
            "label": self.label_column,
        }
        return {ours: theirs for ours, theirs in names.items() if theirs is not None}


def read_examples(path: str, data: DataArguments, seed: int) -> list[Example]:
    """Examples of one file, whatever its kind; `source` is its name where the rows do not say it."""
    if path.endswith((".jsonl", ".jsonl.gz")) and _is_common_format(path, data):
        return read_jsonl(path, limit=data.max_samples, seed=seed)
    kinds = {".csv": "csv", ".parquet": "parquet", ".json": "json", ".jsonl": "json"}
    kind = kinds.get(Path(path.removesuffix(".gz")).suffix)
    if kind is None:
        raise ValueError(f"`{path}`: a file must be .jsonl, .json, .csv or .parquet, gzipped or not.")
    from datasets import load_dataset  # not at the top: files of the common format need no `datasets`

    # pandas would read "NA", "null" and "None" as missing: texts and labels may be called so.
    reading = {"keep_default_na": False, "na_values": [""]} if kind == "csv" else {}
    rows = load_dataset(kind, data_files=path, split="train", **reading)
    return _to_examples(rows, data, Path(path).name.partition(".")[0], seed)


def read_hub(split: str, data: DataArguments, seed: int) -> list[Example]:
    """Examples of one split of `--dataset_name`, none if there is no such split."""
    from datasets import get_dataset_split_names, load_dataset

    if split not in get_dataset_split_names(data.dataset_name, data.dataset_config_name):
        return []
    rows = load_dataset(data.dataset_name, data.dataset_config_name, split=split)
    return _to_examples(rows, data, str(data.dataset_name).rpartition("/")[2], seed)


def _is_common_format(path: str, data: DataArguments) -> bool:
    """Whether the first row is in the form of [`read_jsonl`] and has no column that an argument names."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        try:
            row = json.loads(next(lines, ""))
        except json.JSONDecodeError:
            row = None
    if not isinstance(row, dict):
        return True  # `read_jsonl` says what is wrong, with the number of the line
    named = [theirs for ours, theirs in data.columns().items() if theirs != ours]
    return is_written_task(row) or ("options" in row and not any(name in row for name in named))


def _to_examples(rows: Any, data: DataArguments, source: str, seed: int) -> list[Example]:
    if data.max_samples is not None and data.max_samples < len(rows):
        rows = rows.shuffle(seed=seed).select(range(data.max_samples))
    columns = data.columns()
    if columns["label"] not in rows.column_names:  # texts to predict; `check` refuses to train on them
        del columns["label"]
    return classification_examples(
        rows,
        data.class_names,
        columns=columns,
        question=data.question,
        hypothesis_template=data.hypothesis_template,
        source=source,
    )


def load_data(data: DataArguments, seed: int) -> dict[str, list[Example]]:
    """`{"train": ..., "validation": ..., "test": ...}`, empty lists for what was not asked for."""
    files = {"train": data.train_files, "validation": data.validation_files, "test": data.test_files}
    splits: dict[str, list[Example]] = {}
    for split, paths in files.items():
        splits[split] = [example for path in paths for example in read_examples(path, data, seed)]
        if data.dataset_name is not None:
            splits[split] += read_hub(split, data, seed)
    if data.validation_split:
        if not 0 < data.validation_split < 1:
            raise ValueError(f"`validation_split` must lie between 0 and 1, got {data.validation_split}.")
        random.Random(seed).shuffle(splits["train"])
        size = max(1, round(data.validation_split * len(splits["train"])))
        splits["validation"] += splits["train"][:size]
        splits["train"] = splits["train"][size:]
    return splits


def with_lora(model: Any, rank: int) -> Any:
    """The model with a LoRA adapter on every linear layer but the decoder, and nothing else to train."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear")
    adapted = get_peft_model(model, config)
    adapted.print_trainable_parameters()
    return adapted


def parse(arguments: list[str] | None) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    parser = HfArgumentParser((ModelArguments, DataArguments, TrainingArguments), description=__doc__)
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) == 1 and given[0].endswith(".json"):
        return parser.parse_json_file(given[0])
    return parser.parse_args_into_dataclasses(arguments)


def check(data: DataArguments, args: TrainingArguments, splits: dict[str, list[Example]]) -> None:
    """Raise a `ValueError` for data or labels that are missing for what was asked, before a model is loaded."""
    evaluates = args.do_eval or args.eval_strategy != "no"
    for asked, split, argument in (
        (args.do_train, "train", "train_files"),
        (evaluates, "validation", "validation_files"),
        (args.do_predict, "test", "test_files"),
    ):
        if asked and not splits[split]:
            raise ValueError(f"`{argument}` (or `dataset_name`) must give examples for what was asked; there are none.")
    if args.do_train and all(example["label"] is None for example in splits["train"]):
        raise ValueError(f"`label_column`: the training examples have no labels; it is {data.label_column!r}.")
    unlabelled = [example["source"] for example in splits["train"] if example["label"] in (None, -1)]
    if args.do_train and unlabelled:
        source = unlabelled[0]
        size = sum(example["source"] == source for example in splits["train"])
        raise ValueError(
            f"`train_files`: {unlabelled.count(source)} of the {size} training rows of {source!r} have no label: leave "
            "them out."
        )
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("Nothing to do: pass `--do_train`, `--do_eval` or `--do_predict`.")
    if data.early_stopping_patience and not args.load_best_model_at_end:
        raise ValueError("`early_stopping_patience` needs `--load_best_model_at_end` and what that needs.")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the script; returns the metrics of the validation data where there are any."""
    model_args, data, args = parse(arguments)
    splits = load_data(data, args.seed)
    check(data, args, splits)
    compute_metrics = metrics_by_source(splits["validation"]) if splits["validation"] else None
    set_seed(args.seed)
    name, temperature = model_args.model_name_or_path, 1.0
    if not args.do_train:  # the model as it is
        model_args.dtype, temperature = "float32", UniMCConfig.from_pretrained(name).softmax_temperature
    model, tokenizer = load_for_training(name, model_args.language, model_args.dtype, model_args.frozen)
    args.remove_unused_columns = False  # the collator reads columns that no `forward` has
    trainer = UniMCTrainer(
        model=with_lora(model, model_args.lora_rank) if model_args.lora_rank else model,
        args=args,
        train_dataset=splits["train"] or None,
        eval_dataset=splits["validation"] or None,
        data_collator=make_collator(tokenizer, data.max_length, data.mlm, args.seed),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(data.early_stopping_patience)] if data.early_stopping_patience else None,
    )
    if args.do_train:
        result = trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
    trainer.model.float()  # figures are those of the saved model wherever it is loaded
    if model_args.lora_rank:  # bfloat16 would lose most of what an adapter adds to a weight
        trainer.model = trainer.model_wrapped = trainer.model.merge_and_unload()
    if args.do_train:
        trainer.save_model()

    figures: dict[str, float] = {}
    if args.do_eval:
        trainer.compute_metrics = metrics_by_source(splits["validation"], per_class=True, temperature=temperature)
        figures = trainer.evaluate()
        trainer.log_metrics("eval", figures)
        trainer.save_metrics("eval", figures)
    if args.do_predict:
        trainer.compute_metrics = None
        rows = [{key: value for key, value in e.items() if key != "label"} for e in splits["test"]]
        scores = probabilities(trainer.predict(rows).predictions, rows, temperature)
        if args.should_save:
            write_predictions(Path(str(args.output_dir)) / "predictions.jsonl", rows, scores)
    if args.push_to_hub:
        trainer.push_to_hub(tags=["unimc", "zero-shot-classification"])
    return figures


def write_predictions(path: Path, examples: list[Example], scores: list[list[float]]) -> None:
    """One JSON object a line: the text, the best option, and the score of every option in the order given."""
    with open(path, "w", encoding="utf-8") as lines:
        for example, row in zip(examples, scores, strict=True):
            answer = example["options"][row.index(max(row))]
            line = {"text": example["text"], "answer": answer, "scores": dict(zip(example["options"], row))}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
