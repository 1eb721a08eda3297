"""What Hypothesis draws for the invariants: examples, labels and orders; and every family on every attention path."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from tiny_models import BLOCK_FAMILIES, FAMILIES, ORDER_INVARIANT_FAMILIES, WORDS, tiny_model, tiny_tokenizer

from unimc_hf import UniMCForMultipleChoice, UniMCZeroShotPipeline

TOLERANCE = 2e-5  # float32 sums in another order, on logits of about 1

# A property that runs for each of the 32 paths, or for each of the 10 families, gets its share of the profile's cases.
per_path = settings(max_examples=settings().max_examples // 8)
per_family = settings(max_examples=settings().max_examples // 4)
few_per_path = few_per_family = settings(max_examples=settings().max_examples // 12)  # for what is slow

PATHS = [
    (family, attention)
    for family in FAMILIES
    for attention in ("eager", "sdpa", "unimc", "blocks")
    # Two families have no SDPA in transformers, and ModernBERT's windows need the table of who sees whom.
    if attention == "eager" or family in BLOCK_FAMILIES or (attention == "sdpa" and family == "modernbert")
]
ORDER_INVARIANT_PATHS = [path for path in PATHS if path[0] in ORDER_INVARIANT_FAMILIES]

# Special tokens that a user writes are text, and so are words that the vocabulary does not have. No more than three
# tokens each: all parts together fit the 96 positions of the tiny models.
DRAWN_WORDS = [*WORDS, "[MASK]", "[SEP]", "dogs", "是"]
words = st.sampled_from(DRAWN_WORDS)
labels = st.lists(words, min_size=1, max_size=4).map(" ".join)
menus = st.lists(labels, min_size=2, max_size=6, unique=True)
texts = st.lists(words, max_size=6).map(" ".join)
cases = st.fixed_dictionaries({"text": texts, "question": texts, "text_pair": texts, "options": menus})

# What the pipeline takes: dicts that bring some of their fields, and the arguments of a call for the others.
SHARED_MENU = ["sports", "business", "red car"]
menus_with_descriptions = menus.flatmap(
    lambda menu: st.lists(st.none() | labels, min_size=len(menu), max_size=len(menu)).map(
        lambda descriptions: dict(zip(menu, descriptions))
    )
)
items = st.fixed_dictionaries(
    {"text": texts | st.just("sky dog " * 60)},  # the longest is cut
    optional={"text_pair": texts, "question": texts, "candidate_labels": menus | menus_with_descriptions},
)
calls = st.fixed_dictionaries(
    {"candidate_labels": st.just(SHARED_MENU), "multi_label": st.booleans()},
    optional={"question": texts, "hypothesis_template": st.just("It is {}.")},
)


def random_cases(seed: int, size: int) -> list[dict[str, Any]]:
    """Cases without the preference of Hypothesis for short and equal ones, for what is true of the average."""
    rng = random.Random(seed)

    def text(least: int, most: int) -> str:
        return " ".join(rng.choices(DRAWN_WORDS, k=rng.randint(least, most)))

    return [
        {
            **{name: text(0, 6) for name in ("text", "question", "text_pair")},
            "options": list(dict.fromkeys(text(1, 4) for _ in range(rng.randint(2, 6)))),
        }
        for _ in range(size)
    ]


@st.composite
def training_examples(draw: st.DrawFn, max_size: int = 3) -> list[dict[str, Any]]:
    """Examples with labels of one kind, as they stand in one data set."""
    examples = draw(st.lists(cases, min_size=1, max_size=max_size))
    several_are_right = draw(st.booleans())
    for example in examples:
        size = len(example["options"])
        if several_are_right:
            example["label"] = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=size, max_size=size))
        else:
            example["label"] = draw(st.sampled_from([*range(size), -100]))
    return examples


@st.composite
def shuffled(draw: st.DrawFn, example: dict[str, Any]) -> dict[str, Any]:
    """The example with its options in another order, and its label with them."""
    order = draw(st.permutations(range(len(example["options"]))))
    label = example["label"]
    if isinstance(label, list):
        label = [label[i] for i in order]
    elif label != -100:
        label = order.index(label)
    return {**example, "options": [example["options"][i] for i in order], "label": label}


def encode(examples: Sequence[dict[str, Any]], **kwargs: Any) -> dict[str, torch.Tensor]:
    """The batch of the tokenizer, padded."""
    return tiny_tokenizer()(
        [example["text"] for example in examples],
        [example["text_pair"] for example in examples],
        options=[example["options"] for example in examples],
        question=[example["question"] for example in examples],
        return_tensors="pt",
        **{"padding": True, "max_length": 512, **kwargs},
    )


@cache
def model_on(family: str, attention: str, dtype: torch.dtype = torch.float32) -> UniMCForMultipleChoice:
    """`tiny_model` of a path; treat it as read-only."""
    model = tiny_model(family, "unimc" if attention == "blocks" else attention)
    return model if dtype == torch.float32 else rounded_copy(model, dtype)


def rounded_copy(model: UniMCForMultipleChoice, dtype: torch.dtype) -> UniMCForMultipleChoice:
    """In another precision as `from_pretrained(dtype=...)` has it: rotary frequencies are no weights, and stay."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def blocks_of(attention: str) -> Iterator[None]:
    """Menus this short get no blocks by themselves; on the path "blocks" they do."""
    if attention != "blocks":
        yield
        return
    with patch.multiple("unimc_hf.option_attention", SHORTEST=0, SAVING=0.0):
        yield


def scores(
    family: str, attention: str, examples: Sequence[dict[str, Any]], dtype: torch.dtype = torch.float32, **kwargs: Any
) -> torch.Tensor:
    """`yes_no_logits` of the model, float32 of shape `(batch_size, num_choices, 2)`; `kwargs` are the tokenizer's."""
    with torch.no_grad(), blocks_of(attention):
        return model_on(family, attention, dtype)(**encode(examples, **kwargs)).yes_no_logits.float()


@cache
def pipeline_of(family: str, attention: str, dtype: torch.dtype = torch.float32) -> UniMCZeroShotPipeline:
    """The pipeline of a path; treat it as read-only."""
    return UniMCZeroShotPipeline(model_on(family, attention, dtype), tiny_tokenizer(), device="cpu")


def default_attention(family: str) -> str:
    """What a model of the family uses unless asked for something else."""
    return "unimc" if family in BLOCK_FAMILIES else "sdpa" if family == "modernbert" else "eager"


def default_pipeline(family: str, dtype: torch.dtype = torch.float32) -> UniMCZeroShotPipeline:
    """The pipeline as users of the family get it; treat it as read-only."""
    return pipeline_of(family, default_attention(family), dtype)


def assert_same_answers(got: list[dict], expected: list[dict]) -> None:
    """The same but for rounding; two labels that score alike may change places."""
    for one, other in zip(got, expected, strict=True):
        rest = {key: value for key, value in one.items() if key not in ("labels", "scores")}
        assert rest == {key: value for key, value in other.items() if key not in ("labels", "scores")}
        by_label = dict(zip(other["labels"], other["scores"]))
        assert dict(zip(one["labels"], one["scores"])) == pytest.approx(by_label, abs=TOLERANCE)
