"""What a user may pass to the pipeline, checked and brought to one form: a `ClassificationRequest` per text.

A request keeps the labels as the user wrote them apart from the option texts that the model reads, so that label
descriptions, a hypothesis template or the published Chinese templates never show in the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """One text to classify; `labels[i]` is reported for `options[i]`."""

    text: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    text_pair: str = ""
    question: str = ""


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


def check_threshold(threshold: Any) -> float:
    """Raise unless `threshold` is a number between 0 and 1."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise TypeError(f"`threshold` must be a number, got {type(threshold).__name__}.")
    if not 0.0 <= threshold <= 1.0 or math.isnan(threshold):
        raise ValueError(f"`threshold` must be between 0 and 1, got {threshold}.")
    return float(threshold)


def check_flag(name: str, value: Any) -> bool:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
    return value


def check_positive(name: str, value: Any) -> int:
    """Raise unless `value` is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, got {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1, got {value}.")
    return value


def reading_order(options: Sequence[str]) -> list[int]:
    """Indices of the options in the order in which the model reads them: the same however they were passed."""
    return sorted(range(len(options)), key=options.__getitem__)


class RequestBuilder:
    """
    Turns inputs and call arguments into requests.

    Args:
        candidate_labels: a list of labels, a `{label: description}` dict, a string with commas (also "，" and "、")
            between labels; or a list of lists or dicts, one per text.
        question, text_pair: `None`, a string for every text, or a list with one entry per text.
        hypothesis_template: how a label becomes an option, e.g. `"This text is about {}."`.
        multi_label: whether several labels may be right; one label is enough then.
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
        multi_label: bool = False,
        sort_options: bool = False,
    ) -> None:
        self.sort_options = sort_options
        self.template = check_hypothesis_template(hypothesis_template)
        self.multi_label = multi_label
        self.columns = {"question": question, "text_pair": text_pair}
        for name, value in self.columns.items():
            if value is not None and not isinstance(value, (str, list, tuple)):
                raise TypeError(f"`{name}` must be a string or a list of strings, got {type(value).__name__}.")
        self.menus_per_text = isinstance(candidate_labels, (list, tuple)) and any(
            isinstance(entry, (list, tuple, Mapping)) for entry in candidate_labels
        )
        self.candidate_labels = candidate_labels
        self.shared_menu = None if candidate_labels is None or self.menus_per_text else self._menu(candidate_labels)

    def check_size(self, size: int) -> None:
        """Raise unless every list with one entry per text has `size` entries."""
        columns = {**self.columns, "candidate_labels": self.candidate_labels if self.menus_per_text else None}
        for name, value in columns.items():
            if isinstance(value, (list, tuple)) and len(value) != size:
                raise ValueError(f"`{name}` has {len(value)} entries for {size} texts.")

    def check_single(self) -> None:
        """Raise if a list with one entry per text was passed for a single text."""
        for name, value in self.columns.items():
            if isinstance(value, (list, tuple)):
                raise TypeError(f"`{name}` is a list, but there is one text: pass a string.")
        if self.menus_per_text:
            raise TypeError("`candidate_labels` holds one list per text, but there is one text: pass one list.")

    def build(self, inputs: Iterable[Any]) -> Iterator[ClassificationRequest]:
        """One request per input, lazily."""
        for index, item in enumerate(inputs):
            yield self._request(item, index)

    def _request(self, item: Any, index: int) -> ClassificationRequest:
        own = _own_fields(item) if isinstance(item, Mapping) else {"text": item}
        check_text("inputs", own.get("text"))
        fields = {name: own[name] if name in own else _pick(name, self.columns[name], index) for name in self.columns}
        for name, value in fields.items():
            check_text(name, value)
        if isinstance(own.get("task_type"), str) and own["task_type"] in TASK_TYPE_TEMPLATES:
            templates = TASK_TYPE_TEMPLATES[own["task_type"]]
            options = tuple(template.format(fields["text_pair"]) for template in templates.values())
            return ClassificationRequest(own["text"], tuple(templates), options, "", fields["question"])
        if own.get("candidate_labels") is not None:
            menu = self._menu(own["candidate_labels"])
        elif self.menus_per_text:
            menu = self._menu(_pick("candidate_labels", self.candidate_labels, index))
        elif self.shared_menu is not None:
            menu = self.shared_menu
        else:
            raise ValueError("`candidate_labels` is missing: pass the labels to choose from.")
        return ClassificationRequest(own["text"], *menu, fields["text_pair"], fields["question"])

    def _menu(self, candidate_labels: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(labels, options) of one set of labels."""
        if isinstance(candidate_labels, str):
            candidate_labels = [label.strip() for label in re.split("[,，、]", candidate_labels) if label.strip()]
        described = isinstance(candidate_labels, Mapping)
        descriptions = candidate_labels if described else {}
        labels = check_menu("candidate_labels", list(candidate_labels) if described else candidate_labels)
        if len(labels) == 1 and not self.multi_label:
            raise ValueError(
                f"`candidate_labels` has one label, {labels[0]!r}, so there is nothing to choose. Pass several, or "
                "multi_label=True to score it on its own."
            )
        options = []
        for label in labels:
            description = descriptions.get(label)
            if description is not None:
                check_text(f"candidate_labels[{label!r}]", description)
            option = f"{label}: {description}" if description else label
            options.append(self.template.format(option))
        checked = check_menu("candidate_labels", options)
        if self.sort_options:
            order = reading_order(checked)
            return tuple(labels[i] for i in order), tuple(checked[i] for i in order)
        return labels, checked


def _own_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a dict brings itself; the original implementation's names count too."""
    own = {REFERENCE_KEYS.get(key, key): value for key, value in item.items()}
    if "text" not in own:
        raise ValueError(f"`inputs` holds a dict without a 'text' (or 'texta'); its keys are {sorted(map(str, item))}.")
    for name in ("question", "text_pair"):
        if name in own and own[name] is None:
            own[name] = ""
    return own


def _pick(name: str, value: Any, index: int) -> Any:
    if isinstance(value, (list, tuple)):
        if index >= len(value):
            raise ValueError(f"`{name}` has {len(value)} entries, but there are more texts.")
        value = value[index]
    return "" if value is None else value
