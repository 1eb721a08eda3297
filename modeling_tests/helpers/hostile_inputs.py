"""Hostile inputs, one surface at a time: what is generated, and what must hold whatever was generated.

A case ends in an answer of the right shape or in a `ValueError` or `TypeError` that names an argument in backticks.
`test_hostile_inputs.py` runs a few cases of every surface, `nightly.py` more than 100,000.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple
from unittest import mock

import torch
from hostile_values import (
    as_json,
    calls,
    flags,
    junk,
    lists_of,
    menus,
    mostly,
    numbers,
    per_text,
    pipeline_arguments,
    plain_menus,
    question_sets,
    requests,
    some_of,
    texts,
    words,
)
from hypothesis import strategies as st
from tiny_models import WORDS, tiny_model, tiny_tokenizer

from unimc_hf import DataCollatorForUniMC, UniMCConfig, UniMCDecisionPipeline, UniMCZeroShotPipeline
from unimc_hf.pipeline_inputs import ClassificationRequest

ANSWERED = "answered"


class Surface(NamedTuple):
    """`check` takes a case and returns what became of it: `ANSWERED`, or the kind of the error."""

    cases: st.SearchStrategy
    check: Callable[[Any], str]


def error_kind(error: Exception) -> str:
    """Raise unless it is an error of the two kinds, and names something in backticks or is of the command line."""
    named = re.search(r"`[a-z_]+|^The (request|body|word)|^Question |unknown arguments: ", str(error))
    assert type(error) in (ValueError, TypeError) and named, f"{type(error).__name__}: {str(error)[:500]}"
    return f"{type(error).__name__} {named[0]}"


def check_answer(answer: dict, whole: bool) -> None:
    """One zero-shot answer; `whole`: one of its labels is right, and none was left out."""
    optional = {"groups", "group_scores", "num_truncated_tokens", "num_windows"}
    assert {"sequence", "labels", "scores"} <= set(answer) <= {"sequence", "labels", "scores"} | optional
    for names, scores in (("labels", "scores"), ("groups", "group_scores")):
        assert len(answer.get(names, ())) == len(answer.get(scores, ())) == len(set(answer.get(names, ())))
        assert all(math.isfinite(score) and 0 <= score <= 1 for score in answer.get(scores, ()))
        assert list(answer.get(scores, ())) == sorted(answer.get(scores, ()), reverse=True)
    if whole and len(answer["labels"]) > 1:  # one label alone need not be right
        assert sum(answer["scores"]) == 1 or abs(sum(answer["scores"]) - 1) < 1e-5


@cache
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


@cache
def decide() -> UniMCDecisionPipeline:
    return UniMCDecisionPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def check_pipeline(case: tuple) -> str:
    inputs, is_stream, arguments = case
    is_stream = is_stream and isinstance(inputs, list)
    try:
        got = classify()(iter(inputs) if is_stream else inputs, **arguments)
        answers = [got] if isinstance(got, dict) else list(got)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    assert isinstance(got, dict) == isinstance(inputs, (str, Mapping)) and len(answers) == (
        1 if isinstance(got, dict) else len(inputs)
    )
    is_whole = not arguments.get("multi_label") and arguments.get("threshold") is None
    for answer in answers:
        check_answer(answer, is_whole and arguments.get("top_k") is None)
    return ANSWERED


tokenizer_calls = st.fixed_dictionaries(
    {
        "text": mostly(texts | lists_of(texts)),
        "options": mostly(menus | st.lists(menus, max_size=3)).filter(lambda menu: menu is not None),
    },
    optional={
        "text_pair": per_text,
        "question": per_text,
        "max_length": pipeline_arguments["max_length"],
        "truncation": st.booleans(),
        "padding": st.sampled_from([True, False, "longest"]),
        "pad_to_multiple_of": st.sampled_from([None, 8]),
        "padding_side": st.sampled_from(["left", "right"]),
        "return_overflowing_tokens": st.booleans(),
    },
)


def check_tokenizer(case: dict) -> str:
    tokenizer = tiny_tokenizer()
    try:
        batch = tokenizer(**case)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    is_batch = isinstance(case["text"], (list, tuple))
    rows = [dict(zip(batch, row)) for row in zip(*batch.values())] if is_batch else [dict(batch)]
    assert len(rows) == (len(case["text"]) if is_batch else 1)
    for row in rows:
        ids, positions = row["input_ids"], [p for p in row["option_positions"] if p]
        lengths = {len(row[name]) for name in ("input_ids", "attention_mask", "token_type_ids", "option_ids")}
        assert lengths == {len(ids)} and all(0 <= token < len(tokenizer) for token in ids)
        # No `[MASK]` but those of the options, whatever the texts say.
        assert positions == [i for i, token in enumerate(ids) if token == tokenizer.mask_token_id]
        assert positions and max(row["option_ids"]) == len(positions)
        if case.get("max_length", 512) is not None:
            assert sum(row["attention_mask"]) <= case.get("max_length", 512)
    return ANSWERED


def some_labels(number: st.SearchStrategy) -> st.SearchStrategy:
    return mostly(st.one_of(st.integers(-1, 3), st.just(-100), st.lists(number, max_size=4)), junk | numbers)


examples = mostly(
    st.fixed_dictionaries(
        {"text": mostly(texts), "options": mostly(plain_menus)},
        optional={
            "text_pair": mostly(texts),
            "question": mostly(texts),
            "label": some_labels(st.floats(0, 1)),
            "option_probs": mostly(st.none(), st.lists(st.floats(0, 1), max_size=4) | junk),
        },
    ),
)
collator_calls = st.tuples(
    mostly(st.lists(examples, min_size=1, max_size=3)),
    some_of(
        mlm=st.booleans(),
        max_length=pipeline_arguments["max_length"],
        distractor_options=st.sampled_from([(), WORDS]),
        distractor_probability=mostly(st.sampled_from([0.0, 0.5, 1.0]), numbers),
        max_choices=mostly(st.integers(1, 8), numbers),
        seed=st.sampled_from([None, 0]),
    ),
)


def check_collator(case: tuple) -> str:
    features, settings = case
    try:
        batch = DataCollatorForUniMC(tiny_tokenizer(), **settings)(features)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    size, length = batch["input_ids"].shape
    num_choices = batch["option_positions"].shape[1]
    assert size == len(features)
    for name in ("attention_mask", "token_type_ids", "option_ids"):
        assert batch[name].shape == (size, length)
    counts = (batch["option_positions"] > 0).sum(1)
    assert all(count >= len(row["options"]) for count, row in zip(counts.tolist(), features))
    if "labels" in batch:
        assert batch["labels"].shape in ((size,), (size, num_choices))
        if batch["labels"].dim() == 1:
            assert ((batch["labels"] == -100) | ((batch["labels"] >= 0) & (batch["labels"] < counts))).all()
        else:
            assert ((batch["labels"] >= 0) & (batch["labels"] <= 1)).all()
    if "option_probs" in batch:
        assert batch["option_probs"].shape == (size, num_choices)
        assert ((batch["option_probs"] >= 0) & (batch["option_probs"] <= 1)).all()
    if "mlm_target_ids" in batch:
        assert batch["mlm_target_ids"].shape == (size, length)
        assert (batch["input_ids"] >= 0).all() and (batch["input_ids"] < len(tiny_tokenizer())).all()
    return ANSWERED


decision_calls = st.tuples(
    mostly(st.one_of(requests, st.lists(requests, max_size=3), requests.map(as_json))),
    some_of(questions=question_sets, calibrated=flags, max_length=pipeline_arguments["max_length"]),
)


def check_decision_answers(answers: dict) -> None:
    assert answers
    for answer in answers.values():
        assert {"choice": "choice", "score": "score", "noul": "noul"}[answer["type"]] in answer
        shares = [answer["noul"]] if answer["type"] == "noul" else list(answer["probabilities"].values())
        assert all(math.isfinite(share) and 0 <= share <= 1 for share in shares)
        assert answer["type"] == "noul" or abs(sum(shares) - 1) < 1e-5
        assert 0 <= answer.get("confidence", 0) <= 1


def check_decision(case: tuple) -> str:
    inputs, arguments = case
    try:
        got = decide()(inputs, **arguments)
        answers = [got] if isinstance(got, dict) else list(got)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    for answer in answers:
        check_decision_answers(answer)
    return ANSWERED


# A batch for the model with one thing wrong, or nothing: the name of the tensor, and what is done to it.
CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "nothing": lambda tensor: tensor,
    "float": lambda tensor: tensor.float(),
    "NaN": lambda tensor: tensor.float() * float("nan"),
    "int32": lambda tensor: tensor.int(),
    "bool": lambda tensor: tensor.bool(),
    "shorter": lambda tensor: tensor[:, :-1],
    "longer": lambda tensor: torch.cat([tensor, tensor[:, :1]], 1),
    "one row": lambda tensor: tensor[:1],
    "flat": lambda tensor: tensor[0],
    "deeper": lambda tensor: tensor[None],
    "empty": lambda tensor: tensor[:, :0],
    "zero": lambda tensor: tensor * 0,
    "negative": lambda tensor: -tensor - 1,
    "large": lambda tensor: tensor + 10_000,
    "huge": lambda tensor: tensor + 2**62,
    "complex": lambda tensor: tensor.to(torch.complex64),
    "a list": lambda tensor: tensor.tolist(),
    "an array": lambda tensor: tensor.numpy(),
    "text": lambda tensor: "text",
    "missing": lambda tensor: None,
}
TENSORS = "input_ids attention_mask token_type_ids option_ids option_positions labels mlm_target_ids".split()
batches = st.tuples(
    st.lists(words, min_size=2, max_size=3),
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=4, unique=True),
    st.lists(
        st.tuples(
            st.sampled_from(TENSORS),
            st.sampled_from(list(CHANGES)),
        ),
        max_size=2,
    ),
)


def check_model(case: tuple) -> str:
    passages, menu, changes = case
    batch = dict(tiny_tokenizer()(passages, options=menu, padding=True, return_tensors="pt"))
    asked = {name for name, _ in changes}
    if "labels" in asked:
        batch["labels"] = torch.zeros(len(passages), len(menu))
    if "mlm_target_ids" in asked:
        batch["mlm_target_ids"] = batch["input_ids"].clone()
    for name, change in changes:
        if isinstance(batch[name], torch.Tensor):
            with contextlib.suppress(RuntimeError, IndexError, TypeError):  # a change that cannot follow another
                batch[name] = CHANGES[change](batch[name])
    try:
        with torch.no_grad():
            output = tiny_model("bert")(**batch)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    size = len(batch["option_positions"] if batch["option_positions"] is not None else passages)
    assert output.logits.shape[0] == size and output.yes_no_logits.shape == (*output.logits.shape, 2)
    assert torch.isfinite(output.yes_no_logits).all()
    assert torch.allclose(output.logits.softmax(-1).sum(-1), torch.ones(size))
    assert output.loss is None or torch.isfinite(output.loss)
    return ANSWERED


configurations = some_of(
    yes_token_id=mostly(st.just(5)),
    no_token_id=mostly(st.just(6)),
    language=mostly(st.sampled_from([None, "english", "chinese"])),
    option_mlm_loss=mostly(st.sampled_from(["vocabulary", "yes_no"])),
    softmax_temperature=mostly(st.floats(0.05, 20), numbers),
    sigmoid_scale=mostly(st.floats(0.05, 20), numbers),
    sigmoid_bias=mostly(st.floats(-20, 20), numbers),
    prefer_bfloat16=flags,
)


def check_config(case: dict) -> str:
    """What a config accepts gives scores, whatever the logits."""
    try:
        config = UniMCConfig(tiny_model("bert").config.text_config, **case)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    request = ClassificationRequest("sky", labels=("a", "b", "c"), options=("a", "b", "c"))
    for logits in ([[0.0, 0.0]] * 3, [[300.0, -300.0], [-300.0, 300.0], [0.0, 0.0]]):
        outputs = {"request": request, "yes_no_logits": torch.tensor(logits), "num_truncated_tokens": 0}
        with mock.patch.object(classify().model, "config", config):
            check_answer(classify().postprocess(outputs), whole=True)
            check_answer(classify().postprocess(outputs, multi_label=True), whole=False)
    return ANSWERED


PYTHON_SURFACES = {
    "pipeline": Surface(calls, check_pipeline),
    "tokenizer": Surface(tokenizer_calls, check_tokenizer),
    "collator": Surface(collator_calls, check_collator),
    "decision": Surface(decision_calls, check_decision),
    "model": Surface(batches, check_model),
    "config": Surface(configurations, check_config),
}
