"""What the pipeline answers depends on the request alone: not on the call it comes in, nor on the order of labels."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from generated_examples import SHARED_MENU, assert_same_answers, calls, cases, default_pipeline, items, per_family
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES, ORDER_INVARIANT_FAMILIES
from transformers.pipelines.pt_utils import KeyDataset


@pytest.mark.parametrize("family", FAMILIES)
@per_family
@given(texts=st.lists(items, max_size=6), call=calls, batch_size=st.sampled_from([None, 1, 2, 3]))
def test_one_call_equals_many(family: str, texts: list[dict], call: dict[str, Any], batch_size: int | None) -> None:
    classify = default_pipeline(family)
    together = classify(texts, **call, batch_size=batch_size)
    assert_same_answers(together, [classify(text, **call) for text in texts])
    for answer in together:
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert call["multi_label"] or sum(answer["scores"]) == pytest.approx(1.0, abs=1e-5)


@given(
    texts=st.lists(items, max_size=6),
    call=calls,
    batch_size=st.sampled_from([None, 1, 2]),
    window=st.integers(1, 4),
    options_per_window=st.integers(1, 20),
)
def test_streams_and_columns_equal_lists(
    texts: list[dict], call: dict[str, Any], batch_size: int | None, window: int, options_per_window: int
) -> None:
    """To the last bit: the same texts meet in the same batches, however they are passed."""
    classify = default_pipeline("bert")
    arguments = {**call, "batch_size": batch_size}
    with (
        patch("unimc_hf.pipeline_unimc.WINDOW", window),
        patch("unimc_hf.pipeline_unimc.OPTIONS_PER_WINDOW", options_per_window),
    ):
        expected = classify(texts, **arguments)
        assert list(classify((text for text in texts), **arguments)) == expected
        assert list(classify(iter(texts), **arguments)) == expected
        assert list(classify(KeyDataset([{"row": text} for text in texts], "row"), **arguments)) == expected
        if texts:  # an empty column of menus is no menu
            columns = {
                name: [text.get(name, call.get(name)) for text in texts]
                for name in ("candidate_labels", "question", "text_pair")
            }
            assert classify([text["text"] for text in texts], **{**arguments, **columns}) == expected
    assert_same_answers(classify(texts, **arguments), expected)  # in windows of the usual size


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", ORDER_INVARIANT_FAMILIES)
@per_family
@given(batch=st.lists(items, min_size=1, max_size=3), call=calls, data=st.data())
def test_order_of_labels_changes_nothing_to_the_last_bit(
    family: str, dtype: torch.dtype, batch: list[dict], call: dict[str, Any], data: st.DataObject
) -> None:
    classify = default_pipeline(family, dtype)

    def permuted(menu: Any) -> Any:
        order = data.draw(st.permutations(list(menu)))
        return {label: menu[label] for label in order} if isinstance(menu, dict) else order

    others = [
        {**item, "candidate_labels": permuted(item["candidate_labels"])} if "candidate_labels" in item else item
        for item in batch
    ]
    other_call = {**call, "candidate_labels": permuted(SHARED_MENU)}
    assert classify(others, **other_call) == classify(batch, **call)
    assert classify(others[0], **other_call) == classify(batch[0], **call)


@given(case=cases, multi_label=st.booleans(), top_k=st.integers(1, 7), data=st.data())
def test_threshold_and_top_k_cut_the_whole_answer(
    case: dict, multi_label: bool, top_k: int, data: st.DataObject
) -> None:
    classify = default_pipeline("bert")
    item, arguments = {**case, "candidate_labels": case["options"]}, {"multi_label": multi_label}
    whole = classify(item, **arguments)
    threshold = data.draw(st.sampled_from([*whole["scores"], 0.0, 1.0]) | st.floats(0, 1))
    kept = sum(score >= threshold for score in whole["scores"])
    for limits, size in (
        ({"top_k": top_k}, top_k),
        ({"threshold": threshold}, kept),
        ({"threshold": threshold, "top_k": top_k}, min(kept, top_k)),
    ):
        expected = {**whole, "labels": whole["labels"][:size], "scores": whole["scores"][:size]}
        assert classify(item, **arguments, **limits) == expected
