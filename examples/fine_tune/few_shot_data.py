"""Data sets for few-shot comparisons: a pool to train from and a test part, and k examples per label out of the pool.

A file `NAME.test.jsonl.gz` beside `NAME.train.jsonl.gz` is a published split (FewCLUE): the pool is the train file and
the test file is tested on, whole. Any other file is cut in two halves per label by the seed.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.metrics import has_fixed_labels, option_classes

ALL = "all"  # instead of a number of shots: the whole pool, which for FewCLUE is the published few-shot sample


@dataclass(frozen=True)
class DataSet:
    """`source` is the name and the hash of the file; `pool` is `None` where it has to be cut.

    Every example has, beside its own fields, `classes` (the class of each option) and `pair`: what a classifier that
    knows no options may read, as a first and a second text. Where the options are other ones in every row they hold
    what the task is about, so they are part of it.
    """

    name: str
    source: str
    test: list[Example]
    pool: list[Example] | None

    @property
    def num_classes(self) -> int:
        return 1 + max(c for example in [*self.test, *(self.pool or [])] for c in example["classes"])


def load_data_set(path: str | Path) -> DataSet:
    """A file of the common format, with the train file beside it where there is one."""
    path = Path(path)
    name, dot, ending = path.name.partition(".jsonl")
    test, pool = read_jsonl(path), []
    train_path = path.with_name(f"{name.removesuffix('.test')}.train{dot}{ending}")
    is_published = name.endswith(".test") and train_path.exists()
    if is_published:
        pool = read_jsonl(train_path)
    examples = [*pool, *test]
    fixed = has_fixed_labels(examples)
    asks_differently = len({example["question"] for example in examples}) > 1
    for example, classes in zip(examples, option_classes(examples)):
        example["classes"] = classes
        first = [example["question"] if asks_differently else "", example["text"]]
        second = [example["text_pair"], *([] if fixed else example["options"])]
        example["pair"] = (" ".join(filter(None, first)), " / ".join(filter(None, second)))
    task = ending.partition("#")[2]  # of a file of several
    content = Path(str(path).removesuffix(f"#{task}")).read_bytes()
    source = f"{path.name}, sha256 {hashlib.sha256(content).hexdigest()[:12]}"
    return DataSet(task or name.removesuffix(".test"), source, test, pool if is_published else None)


def right_class(example: Example) -> int:
    """The class of an example's right option."""
    return example["classes"][example["label"]]


def split(data_set: DataSet, seed: int, test_rows: int | None = None) -> tuple[list[Example], list[Example]]:
    """(pool, test), the same for every method and number of shots; at most `test_rows` test examples, by the seed."""
    if data_set.pool is not None:
        pool, test = data_set.pool, data_set.test
    else:
        pool, test = [], []
        for examples in _by_class(data_set.test, seed).values():
            pool += examples[: len(examples) // 2]
            test += examples[len(examples) // 2 :]
    if test_rows is not None and test_rows < len(test):
        test = random.Random(seed).sample(test, test_rows)
    return pool, test


def take(pool: list[Example], shots: int | str, seed: int) -> list[Example]:
    """`shots` examples of each label, fewer where the pool has fewer; a smaller number is part of a larger one.

    Raises:
        ValueError: if `shots` is neither a number above 0 nor `"all"`.
    """
    if shots == ALL:
        return list(pool)
    if not isinstance(shots, int) or shots < 1:
        raise ValueError(f"`shots` must be a whole number above 0 or 'all', got {shots!r}.")
    return [example for examples in _by_class(pool, seed).values() for example in examples[:shots]]


def _by_class(examples: list[Example], seed: int) -> dict[int, list[Example]]:
    shuffled = random.Random(seed).sample(examples, len(examples))
    return {c: [e for e in shuffled if right_class(e) == c] for c in sorted({right_class(e) for e in examples})}
