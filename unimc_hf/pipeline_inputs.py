"""What a user may pass to the pipeline, checked and brought to one form: a `ClassificationRequest` per text.

It keeps the labels, as the user wrote them and the answer names them, apart from the options that the model reads.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Integral, Real
from string import Formatter
from typing import Any

from .option_inputs import check_menu, check_optional_text, check_text

# How the published Chinese checkpoints were asked about two texts: label -> the option it becomes.
TASK_TYPE_TEMPLATES = {
    "语义匹配": {"不相似": "不能理解为：{}", "相似": "可以理解为：{}"},
    "自然语言推理": {"矛盾": "不能推断出：{}", "自然": "很难推断出：{}", "蕴含": "可以推断出：{}"},
}
# Names of the original implementation's dicts, and of training examples -> ours.
REFERENCE_KEYS = {"texta": "text", "textb": "text_pair", "choice": "candidate_labels", "options": "candidate_labels"}


@dataclass(frozen=True)
class ClassificationRequest:
    """One text to classify; `labels[i]` is reported for `options[i]`, and `groups[i]` is its group if there are any."""

    text: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    groups: tuple[str, ...] = ()
    text_pair: str = ""
    question: str = ""


def as_list(value: Any) -> list | None:
    """The entries of a list, tuple, set, array, Series or column of a data set; `None` of anything else."""
    if isinstance(value, Set):  # has no order, and no answer may depend on the one it comes in
        return sorted(value) if all(isinstance(entry, str) for entry in value) else list(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return list(value)
    # NumPy, pandas and PyTorch by what they have in common: none of them need be installed.
    entries = value.tolist() if hasattr(value, "tolist") and not isinstance(value, type) else None
    return entries if isinstance(entries, list) else None


def check_hypothesis_template(template: Any) -> str:
    """Raise unless `template` has exactly one `{}`, where the label goes."""
    if not isinstance(template, str):
        raise TypeError(f"`hypothesis_template` must be a string, got {type(template).__name__}.")
    try:
        fields = [tuple(field) for _, *field in Formatter().parse(template) if field[0] is not None]
    except ValueError as error:
        raise ValueError(f"`hypothesis_template` {template!r} is not a template: {error}.") from None
    if fields != [("", "", None)]:
        raise ValueError(f"`hypothesis_template` must hold exactly one {{}} for the label, got {template!r}.")
    return template


def check_number(name: str, value: Any, least: int, most: float = math.inf, kind: Any = Integral) -> None:
    """Raise unless `value` is a number from `least` to `most`, a whole one if not said otherwise."""
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"`{name}` must be {'a number' if kind is Real else 'an integer'}, got {type(value).__name__}.")
    if not least <= value <= most:
        expected = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ValueError(f"`{name}` must be {expected}, got {value}.")


def check_settings(arguments: Mapping[str, Any]) -> None:
    """Raise unless those arguments of a call that are flags or numbers are of their kind and in their range."""
    for name, kind in (("multi_label", bool), ("calibrated", bool), ("progress_bar", bool | None)):
        if not isinstance(arguments.get(name, False), kind):
            raise TypeError(f"`{name}` must be True or False, got {arguments[name]!r}.")
    for name, *limits in (("batch_size", 1), ("top_k", 1), ("max_length", 1), ("stride", 0), ("threshold", 0, 1, Real)):
        if arguments.get(name) is not None:
            check_number(name, arguments[name], *limits)


def reading_order(options: Sequence[str]) -> list[int]:
    """Indices of the options in the order in which the model reads them: the same however they were passed."""
    return sorted(range(len(options)), key=options.__getitem__)


def described(label: str, description: str) -> str:
    """What the model reads for a label with a description, or for a part of a group; either may be `""`."""
    return ": ".join(filter(None, (label, description)))


class RequestBuilder:
    """Turns inputs and the arguments of [`UniMCZeroShotPipeline.__call__`] into checked requests.

    With `sort_options` the options come in alphabetical order, whatever order they were passed in.
    """

    def __init__(
        self,
        candidate_labels: Any = None,
        question: Any = None,
        text_pair: Any = None,
        hypothesis_template: str = "{}",
        sort_options: bool = False,
    ) -> None:
        self.sort_options = sort_options
        self.template = check_hypothesis_template(hypothesis_template)
        self.shared = {"question": question, "text_pair": text_pair}  # the same for every text
        self.columns: dict[str, list] = {}  # one entry per text
        for name, value in self.shared.items():
            entries = None if isinstance(value, Set) else as_list(value)
            if entries is not None:
                self.columns[name] = entries
            elif value is not None and not isinstance(value, str):
                raise TypeError(f"`{name}` must be a string or a list of strings, got {type(value).__name__}.")
        menus = None if isinstance(candidate_labels, Set) else as_list(candidate_labels)
        if menus and any(isinstance(menu, Mapping) or as_list(menu) is not None for menu in menus):
            self.columns["candidate_labels"], candidate_labels = menus, None
        self.shared_menu = None if candidate_labels is None else self._menu(candidate_labels)

    def check_size(self, size: int | None, is_one: bool) -> None:
        """Raise unless what has one entry per text has `size` of them (`None`: not known), and no text is alone."""
        for name, values in self.columns.items():
            if is_one:
                raise TypeError(f"`{name}` is a list with an entry per text, but there is one text: pass the entry.")
            if size is not None and len(values) != size:
                raise ValueError(f"`{name}` has {len(values)} entries for {size} texts.")

    def build(self, inputs: Iterable[Any], is_one: bool = False) -> Iterator[ClassificationRequest]:
        """One request per input, lazily; raises at the end of a stream that has fewer than what is one per text."""
        index = -1
        for index, item in enumerate(inputs):
            yield self._request(item, index, "inputs" if is_one else f"inputs[{index}]")
        self.check_size(index + 1, is_one=False)

    def _request(self, item: Any, index: int, name_of_item: str) -> ClassificationRequest:
        given: dict[Any, Any] = {**self.shared, "text": item}
        for name, entries in self.columns.items():
            if index >= len(entries):
                raise ValueError(f"`{name}` has {len(entries)} entries, but there are more texts.")
            given[name] = entries[index]
        if isinstance(item, Mapping):
            own = {REFERENCE_KEYS.get(key, key): value for key, value in item.items()}
            if "text" not in own:
                keys = sorted(map(str, item))
                raise ValueError(f"`{name_of_item}` is a dict without a 'text' (or 'texta'); its keys are {keys}.")
            given |= {key: value for key, value in own.items() if key == "text" or value is not None}
        text = check_text(name_of_item, given["text"])
        question, text_pair = (check_optional_text(name, given[name]) for name in ("question", "text_pair"))
        task_type, labels = given.get("task_type"), given.get("candidate_labels")
        if isinstance(task_type, str) and task_type in TASK_TYPE_TEMPLATES:
            templates = TASK_TYPE_TEMPLATES[task_type]
            options = tuple(template.format(text_pair) for template in templates.values())
            return ClassificationRequest(text, tuple(templates), options, question=question)
        menu = self.shared_menu if labels is None else self._menu(labels)
        if menu is None:
            raise TypeError("`candidate_labels` is missing: pass the labels to choose from.")
        return ClassificationRequest(text, *menu, text_pair, question)

    def _menu(self, candidate_labels: Any) -> Menu:
        labels, options, groups = _read_labels(candidate_labels)
        options = check_menu("candidate_labels", [self.template.format(option) for option in options])
        order = reading_order(options) if self.sort_options else range(len(options))
        labels, options, groups = (tuple(column[i] for i in order if column) for column in (labels, options, groups))
        return labels, options, groups


Menu = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]  # labels, options, and groups if there are any


def _read_labels(given: Any) -> Menu:
    """Of a string, a list, `{label: description}` or `{group: labels}`; a label of two groups comes with its group."""
    if isinstance(given, str):
        given = [label.strip() for label in re.split("[,，、]", given) if label.strip()]
    if not isinstance(given, Mapping):
        entries = as_list(given)
        labels = check_menu("candidate_labels", given if entries is None else entries)
        return labels, labels, ()
    keys = check_menu("candidate_labels", list(given))
    given = dict(zip(keys, given.values()))
    members = {key: as_list(given[key]) for key in keys}
    if all(labels is None for labels in members.values()):
        texts = [check_optional_text(f"candidate_labels[{key!r}]", given[key]) for key in keys]
        return keys, tuple(map(described, keys, texts)), ()
    pairs: list[tuple[str, str]] = []
    for group, of_group in members.items():
        name = f"candidate_labels[{group!r}]"
        if of_group is None:
            got = type(given[group]).__name__
            raise TypeError(f"`{name}` must be a list of labels, as the value of another key is one, got {got}.")
        pairs += [(group, label) for label in check_menu(name, of_group)]
    groups_of = Counter(label for _, label in pairs)
    options = tuple(described(*pair) for pair in pairs)
    labels = tuple(label if groups_of[label] == 1 else option for (_, label), option in zip(pairs, options))
    times = Counter(labels)
    for (group, label), name in zip(pairs, labels):
        if times[name] > 1:
            raise ValueError(f"`candidate_labels[{group!r}]` holds {label!r}, but {name!r} is more than one label.")
    return labels, options, tuple(group for group, _ in pairs)
