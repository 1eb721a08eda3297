"""What a user may pass to the pipeline, checked and brought to one form: a `ClassificationRequest` per text.

A request keeps the labels as the user wrote them apart from the option texts that the model reads, so that label
descriptions, groups, a hypothesis template or the published Chinese templates never show in the answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from string import Formatter
from typing import Any

from .option_inputs import check_menu, check_text

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
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"`hypothesis_template` {template!r} is not a template: {error}.") from None
    if [field for field in fields if field[0] is not None] != [("", "", None)]:
        raise ValueError(f"`hypothesis_template` must hold exactly one {{}} for the label, got {template!r}.")
    return template


def check_positive(name: str, value: Any, least: int = 1) -> None:
    """Raise unless `value` is a whole number above 0, or from `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, got {type(value).__name__}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")


def check_settings(arguments: Mapping[str, Any]) -> None:
    """Raise unless those arguments of a call that are flags or numbers are of their kind and in their range."""
    for name, optional in (("multi_label", False), ("calibrated", False), ("progress_bar", True)):
        value = arguments.get(name, False)
        if not isinstance(value, bool) and not (optional and value is None):
            raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    for name, least in (("batch_size", 1), ("top_k", 1), ("stride", 0)):
        if arguments.get(name) is not None:
            check_positive(name, arguments[name], least)
    threshold = arguments.get("threshold")
    if threshold is not None:
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
            raise TypeError(f"`threshold` must be a number, got {type(threshold).__name__}.")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"`threshold` must be between 0 and 1, got {threshold}.")


def reading_order(options: Sequence[str]) -> list[int]:
    """Indices of the options in the order in which the model reads them: the same however they were passed."""
    return sorted(range(len(options)), key=options.__getitem__)


def described(label: str, description: str | None) -> str:
    """What the model reads for a label with a description, or for a part of a group."""
    return f"{label}: {description}" if description else label


class RequestBuilder:
    """
    Turns inputs and call arguments into requests.

    Args:
        candidate_labels: labels, `{label: description}`, `{group: labels}`, or a string with commas (also "，" and
            "、") between labels; or a list of these, one per text.
        question, text_pair: `None`, a string for every text, or a list with one entry per text.
        hypothesis_template: how a label becomes an option, e.g. `"This text is about {}."`.
        sort_options: whether options come in alphabetical order, whatever order they were passed in.

    Raises:
        TypeError, ValueError: naming the argument, before any text is encoded.
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
        self.strings = {"question": question, "text_pair": text_pair}  # the same for every text
        self.columns: dict[str, list] = {}  # one entry per text
        for name, value in self.strings.items():
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

    def build(self, inputs: Iterable[Any]) -> Iterator[ClassificationRequest]:
        """One request per input, lazily."""
        for index, item in enumerate(inputs):
            yield self._request(item, index)

    def _request(self, item: Any, index: int) -> ClassificationRequest:
        own: dict[Any, Any] = {"text": item}
        if isinstance(item, Mapping):
            own = {REFERENCE_KEYS.get(key, key): value for key, value in item.items()}
            if "text" not in own:
                keys = sorted(map(str, item))
                raise ValueError(f"`inputs` holds a dict without a 'text' (or 'texta'); its keys are {keys}.")
        check_text("inputs", own["text"])
        texts: dict[str, Any] = {}
        for name in self.strings:
            value = own[name] if name in own else self._given(name, index)
            texts[name] = "" if value is None else value
            check_text(name, texts[name])
        if isinstance(own.get("task_type"), str) and own["task_type"] in TASK_TYPE_TEMPLATES:
            templates = TASK_TYPE_TEMPLATES[own["task_type"]]
            options = tuple(template.format(texts["text_pair"]) for template in templates.values())
            return ClassificationRequest(own["text"], tuple(templates), options, question=texts["question"])
        if own.get("candidate_labels") is not None:
            menu = self._menu(own["candidate_labels"])
        elif "candidate_labels" in self.columns:
            menu = self._menu(self._given("candidate_labels", index))
        elif self.shared_menu is not None:
            menu = self.shared_menu
        else:
            raise TypeError("`candidate_labels` is missing: pass the labels to choose from.")
        return ClassificationRequest(own["text"], *menu, **texts)

    def _given(self, name: str, index: int) -> Any:
        """What the call says about one of its texts."""
        if name not in self.columns:
            return self.strings[name]
        if index >= len(self.columns[name]):
            raise ValueError(f"`{name}` has {len(self.columns[name])} entries, but there are more texts.")
        return self.columns[name][index]

    def _menu(self, candidate_labels: Any) -> Menu:
        if isinstance(candidate_labels, Mapping):
            labels, options, groups = _menu_of_dict(candidate_labels)
        else:
            if isinstance(candidate_labels, str):
                candidate_labels = [label.strip() for label in re.split("[,，、]", candidate_labels) if label.strip()]
            entries = as_list(candidate_labels)
            labels = options = check_menu("candidate_labels", candidate_labels if entries is None else entries)
            groups = ()
        options = check_menu("candidate_labels", [self.template.format(option) for option in options])
        if self.sort_options:
            order = reading_order(options)
            labels, options = tuple(labels[i] for i in order), tuple(options[i] for i in order)
            groups = tuple(groups[i] for i in order) if groups else ()
        return labels, options, groups


Menu = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]  # labels, options, and groups if there are any


def _menu_of_dict(entries: Mapping[str, Any]) -> Menu:
    """Of `{label: description}`, or of `{group: labels}`: a label of two groups is reported as the model reads it."""
    keys = check_menu("candidate_labels", list(entries))
    members = {key: as_list(entries[key]) for key in keys}
    if all(labels is None for labels in members.values()):
        for key in keys:
            if entries[key] is not None:
                check_text(f"candidate_labels[{key!r}]", entries[key])
        return keys, tuple(described(key, entries[key]) for key in keys), ()
    pairs: list[tuple[str, str]] = []
    for group, of_group in members.items():
        name = f"candidate_labels[{group!r}]"
        if of_group is None:
            got = type(entries[group]).__name__
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
