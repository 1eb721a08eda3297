"""Hostile values as Hypothesis strategies: texts, labels, anything but what was asked for, and requests of them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from tiny_models import WORDS

NASTY = [
    "", " ", "\t\n", "\0", "a\0b", "\ud800", "sky \udfff", "\u202eevil\u202c", "\u200b", "\u200d", "\ufeff", "\u2028",
    "\x1b[31m", "[MASK]", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[mask]", "<s>", "</s>", "<mask>", "▁yes", "##a", "yes",
    "no", "{}", "{0}", "{x.__class__}", "{", "%s", '"', "'", ",", "，", "a,b", "a、b", "\\", "\r", "\r\n", "NaN",
    "e\u0301" * 40, "a" * 300, "İ", "ﬁ", "是", "\U0001f468\u200d\U0001f469", "\U0010ffff", "\ufffe", "__class__",
]  # fmt: skip
HUGE = ["a", "a ", "[", "是", "\u0301", "\u202e", "\0", "[MASK]", "\ud800", "\n"]


def rarely(ordinary: st.SearchStrategy, rare: st.SearchStrategy, one_in: int) -> st.SearchStrategy:
    """`rare` about once in so many times."""

    @st.composite  # without arguments: Hypothesis writes them out, strategy in strategy
    def choice(draw: st.DrawFn) -> Any:
        return draw(rare if draw(st.sampled_from(range(one_in))) == one_in - 1 else ordinary)

    return choice()


def repeated(pieces: list[tuple[Any, int]]) -> st.SearchStrategy:
    """One of the pieces, as often as it says."""
    return st.sampled_from(pieces).map(lambda piece: piece[0] * piece[1])


words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
unicode = st.text(st.characters(), max_size=12)  # surrogates too
huge = repeated([(piece, 1_000_000 // len(piece)) for piece in HUGE])
texts = rarely(st.one_of(words, st.sampled_from(NASTY), unicode), huge, 500)
numbers = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, -0.0, 0.5, 1.0, 10**400, True, False]),
    st.floats(),
)
scalars = st.one_of(st.none(), numbers, unicode, st.binary(max_size=3))
junk = st.one_of(
    scalars,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode | st.integers(0, 2), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(
        [object(), len, ..., {1, 2}, range(3), Path("a"), 1j, (), [[]], {}, b"", torch.ones(2), np.array(["a", "b"])]
    ),
)


def mostly(ordinary: st.SearchStrategy, hostile: st.SearchStrategy = junk) -> st.SearchStrategy:
    """`hostile` about once in ten times, so that most cases get past the first check."""
    return rarely(ordinary, hostile, 10)


def lists_of(entries: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(mostly(entries), max_size=3)


labels = st.one_of(st.sampled_from(WORDS), words, texts)
ten_thousand = st.builds(lambda: [f"label {i}" for i in range(10_000)])
plain_menus = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=5, unique=True),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.lists(labels, min_size=2, max_size=5, unique=True),
    st.lists(mostly(labels), max_size=4),
)
menus = rarely(plain_menus, ten_thousand, 500)
described = st.dictionaries(mostly(labels, st.none() | st.integers()), mostly(st.one_of(st.none(), texts)), max_size=4)
grouped = st.dictionaries(mostly(labels, st.none() | st.integers()), mostly(plain_menus), min_size=1, max_size=3)
in_lists = st.lists(menus | described | grouped, min_size=1, max_size=3)
label_arguments = mostly(st.one_of(menus, menus, menus, menus, described, grouped, texts, in_lists))


def some_of(**entries: st.SearchStrategy) -> st.SearchStrategy:
    """A dict with some of the entries."""
    return st.fixed_dictionaries({}, optional=entries)


flags = mostly(st.booleans())
items = mostly(
    st.one_of(
        texts,
        st.fixed_dictionaries(
            {"text": mostly(texts)},
            optional={
                "text_pair": mostly(texts),
                "question": mostly(texts),
                "candidate_labels": label_arguments,
                "options": label_arguments,
                "task_type": mostly(st.sampled_from(["语义匹配", "自然语言推理"])),
            },
        ),
        st.fixed_dictionaries({"texta": texts, "choice": menus}, optional={"textb": texts, "question": texts}),
    )
)
per_text = mostly(st.one_of(st.none(), texts, texts, lists_of(texts)))
pipeline_arguments = {
    "question": per_text,
    "text_pair": per_text,
    "hypothesis_template": mostly(st.sampled_from(["{}", "about {}.", "{} {}", "{0}", "no"])),
    "multi_label": flags,
    "calibrated": flags,
    "threshold": mostly(st.one_of(st.none(), st.floats(0, 1)), numbers),
    "top_k": mostly(st.one_of(st.none(), st.integers(1, 4)), numbers),
    "max_length": mostly(st.one_of(st.none(), st.integers(8, 96)), numbers),
    "stride": mostly(st.one_of(st.none(), st.integers(0, 8)), numbers),
}
calls = st.tuples(
    mostly(st.one_of(items, st.lists(items, max_size=4))),
    rarely(st.booleans(), st.just(False), 4),  # as a stream
    st.fixed_dictionaries(
        {"candidate_labels": label_arguments},
        optional={**pipeline_arguments, "batch_size": mostly(st.integers(1, 3), numbers)},
    ),
)


def nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


wordings = words | words | texts
contents = rarely(
    st.one_of(wordings, st.dictionaries(wordings, wordings, max_size=2), st.lists(wordings, max_size=2)),
    junk | st.builds(nested, words, st.sampled_from([3, 900, 5000])),
    20,
)
criteria = {
    "choice": st.dictionaries(st.sampled_from(WORDS) | labels, contents, min_size=1, max_size=4),
    "score": st.lists(contents, min_size=1, max_size=4),
    "noul": st.none() | some_of(true=contents, false=contents),
}
questions = rarely(
    st.one_of(
        *(
            st.fixed_dictionaries(
                {"type": st.just(kind), "criteria": mostly(of_kind)}, optional={"instructions": contents}
            )
            for kind, of_kind in criteria.items()
        )
    ),
    some_of(type=mostly(st.sampled_from(list(criteria))), instructions=junk, criteria=junk, extra=junk),
    15,
)
question_sets = mostly(st.dictionaries(mostly(texts, st.none() | st.integers()), questions, min_size=1, max_size=3))
requests = mostly(
    st.fixed_dictionaries({"state": contents, "questions": question_sets}, optional={"assets": mostly(st.none())}),
    junk | texts,
)


def as_json(value: Any) -> str:
    """What can be written of a value, as a client would; the rest as its `repr`."""
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return json.dumps(value)
    return repr(value) if not isinstance(value, (list, dict)) else '{"inputs": "sky", "parameters": 1}'


bodies = mostly(
    st.one_of(
        st.fixed_dictionaries(
            {"inputs": mostly(st.one_of(items, st.lists(items, max_size=3)))},
            optional={
                "parameters": mostly(
                    st.fixed_dictionaries({"candidate_labels": label_arguments}, optional=pipeline_arguments)
                )
            },
        ),
        st.fixed_dictionaries(
            {"inputs": mostly(st.one_of(requests, st.lists(requests, max_size=3)))},
            optional={"parameters": some_of(questions=question_sets)},
        ),
    )
)
