"""Cloze rows were made from texts of other sources: those from sources with other terms are found and dropped.

A row's origin is not recorded, so its text, with the blank filled, is looked for in the other sources: the
`SPAN` characters around the blank, which hardly stand in two texts by chance.
"""

from __future__ import annotations

from collections.abc import Iterable

from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.task_templates import BLANK

SPAN = 14


def without_texts_of(examples: Iterable[Example], others: Iterable[Example]) -> list[Example]:
    """The cloze `examples` whose text stands in none of the `others`; a text shorter than the span is dropped too."""
    by_span: dict[str, list[Example]] = {}
    for example in examples:
        place = example["text"].index(BLANK)
        text = example["text"].replace(BLANK, example["options"][example["label"]])
        start = max(0, min(place - 5, len(text) - SPAN))
        if len(text) >= SPAN:
            by_span.setdefault(text[start : start + SPAN], []).append(example)
    for text in dict.fromkeys(s for e in others for s in (e["text"], e["text_pair"], e["question"], *e["options"])):
        for start in range(len(text) - SPAN + 1):
            by_span.pop(text[start : start + SPAN], None)
    return [example for rows in by_span.values() for example in rows]


__all__ = ["without_texts_of"]
