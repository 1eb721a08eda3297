"""Rows of an ordinary data set -> examples: integer labels and their names become options, columns get our names.

examples = classification_examples(load_dataset("ag_news", split="train"))
examples = classification_examples(rows, ["negative", "positive"], columns={"text": "sentence"})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from ..option_inputs import check_menu, check_optional_text
from ..pipeline_inputs import check_hypothesis_template
from .jsonl_examples import Example

FIELDS = ("text", "text_pair", "question", "options", "label")


def classification_examples(
    rows: Iterable[Mapping[str, Any]],
    label_names: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    question: str = "",
    hypothesis_template: str = "{}",
    source: str = "data",
) -> list[Example]:
    """
    Args:
        rows: dicts, or a `datasets.Dataset`.
        label_names: the option of label 0, 1, ... Not needed where a row brings its own `options`, or where the label
            column of a `datasets.Dataset` is a `ClassLabel` (or a list of them), which knows its names.
        columns: our name -> the data set's, for those of `text`, `text_pair`, `question`, `options` and `label` that
            are called otherwise there.
        question: asked about every text that has none of its own.
        hypothesis_template: how a label name becomes an option, e.g. `"This text is about {}."`.
        source: the name of the data set, which metrics are grouped by.

    Returns:
        Dicts as of [`read_jsonl`]. `label` is the index of the right option, which a row may also name, or `None` where
        the row has none or -1, as the test splits of some data sets do. A list of indices or names, all different,
        becomes one number per option, 1.0 for right; where a row brings its own `options` it has to be that already.

    Raises:
        TypeError, ValueError: naming the argument or the row, if a column is not there, a text is no string, there are
            no options, they are no list of different strings, a label is none of them, or a list could as well be one
            number per option, as `[0, 1]` for two of them.
    """
    template = check_hypothesis_template(hypothesis_template)
    column = {field: (columns or {}).get(field, field) for field in FIELDS}
    if unknown := set(columns or {}) - set(FIELDS):
        raise ValueError(f"`columns` names {sorted(unknown)}; known are {', '.join(FIELDS)}.")
    are_indices = label_names is None  # a column of lists of class labels holds nothing else
    if label_names is None:
        label_names = _class_label_names(rows, column["label"])
    names: tuple[str, ...] = ()
    if label_names is not None:
        names = check_menu("label_names", label_names)
    menu = [template.format(name) for name in names]

    examples: list[Example] = []
    for number, row in enumerate(rows):
        if missing := [name for field, name in (columns or {}).items() if name not in row]:
            raise ValueError(f"`columns`: row {number} has no {missing[0]!r}; it has {', '.join(sorted(row))}.")
        if column["text"] not in row:
            raise ValueError(f"`columns` must say which column is `text`; row {number} has {', '.join(sorted(row))}.")
        own_menu = row.get(column["options"])
        if not own_menu and not menu:
            raise ValueError("`label_names` is missing: the rows have no `options` and no column of class labels.")
        label = row.get(column["label"])
        text, text_pair, own_question = (
            check_optional_text(f"rows[{number}][{column[field]!r}]", row.get(column[field])) for field in FIELDS[:3]
        )
        if own_menu:
            options = list(check_menu(f"rows[{number}][{column['options']!r}]", own_menu))
            label = _to_own_label(label, tuple(options), number)
        else:
            options, label = list(menu), _to_label(label, names, number, are_indices=are_indices)
        examples.append(
            {
                "text": text,
                "text_pair": text_pair,
                "question": own_question or question,
                "options": options,
                "label": label,
                "task": "other",
                "source": source,
            }
        )
    return examples


def _class_label_names(rows: Any, label_column: str) -> list[str] | None:
    """Names that a `datasets.Dataset` knows, without needing `datasets`."""
    feature = (getattr(rows, "features", None) or {}).get(label_column)
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def _to_own_label(label: Any, options: tuple[str, ...], number: int) -> int | list[float] | None:
    """As [`_to_label`], but a list is one number per option, as it is in the examples that the collator takes."""
    if not isinstance(label, (list, tuple)):
        return _to_label(label, options, number, "options")
    if len(label) != len(options) or not all(isinstance(right, (int, float)) and 0 <= right <= 1 for right in label):
        raise ValueError(f"`label` of row {number} must be one number in [0, 1] per option, got {label!r}.")
    return [float(right) for right in label]


def _to_label(
    label: Any, names: tuple[str, ...], number: int, where: str = "label_names", are_indices: bool = False
) -> int | list[float] | None:
    if label is None or label == -1:
        return None
    if isinstance(label, (list, tuple)):
        return _to_targets(label, names, number, are_indices)
    return _index(label, names, number, where)


def _to_targets(label: Sequence[Any], names: tuple[str, ...], number: int, are_indices: bool) -> list[float]:
    """One number per option, of a list of indices or names; `are_indices`: it is known to be no such list itself."""
    wrong = f"`label` of row {number} is {label!r}, but "
    instead = "name the right ones, or let the row have `options` and one number for each."
    if any(isinstance(entry, bool) or not isinstance(entry, (str, Integral)) for entry in label):
        raise ValueError(f"{wrong}a list must hold indices or names: {instead}")
    right = {_index(entry, names, number, "label_names") for entry in label}
    if len(right) != len(label):
        raise ValueError(f"{wrong}a list of indices or names must have no repeats: {instead}")
    if not are_indices and len(label) == len(names) and set(label) <= {0, 1}:
        raise ValueError(f"{wrong}it may mean indices or one number per option: {instead}")
    return [float(index in right) for index in range(len(names))]


def _index(label: Any, names: tuple[str, ...], number: int, where: str) -> int:
    if isinstance(label, str):
        if label not in names:
            raise ValueError(f"`label` of row {number} is {label!r}, which is not among `{where}`.")
        return names.index(label)
    if label not in range(len(names)):  # nor is NaN, and what is no number
        raise ValueError(f"`label` of row {number} is {label!r}, but `{where}` has {len(names)} entries.")
    return int(label)


__all__ = ["classification_examples"]
