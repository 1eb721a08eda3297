"""The exported model answers like the model, for any number of texts, tokens and options."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from generated_examples import (
    assert_same_answers,
    calls,
    cases,
    default_attention,
    default_pipeline,
    encode,
    items,
    scores,
)
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES, ORDER_INVARIANT_FAMILIES, tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.deployment.onnx_model import OnnxUniMC, onnx_pipeline

pytest.importorskip("onnxruntime", reason='needs `pip install -e ".[onnx]"`')
pytest.importorskip("onnxscript", reason='needs `pip install -e ".[onnx]"`')

TOLERANCE = 5e-5  # other kernels than PyTorch's, on logits of about 1
# An export takes many seconds, and these three differ in what is exported: segments, positions, windows.
EXPORTED = FAMILIES if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else ["bert", "roberta", "modernbert"]

Exported = tuple[str, UniMCZeroShotPipeline]
long_menus = st.integers(2, 60).map(lambda size: [f"team {i}" for i in range(size)])


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    import export_onnx

    folder = tmp_path_factory.mktemp(request.param)
    export_onnx.export(tiny_model(request.param, default_attention(request.param)), tiny_tokenizer(), folder)
    return request.param, onnx_pipeline(folder)


@given(batch=st.lists(cases, min_size=1, max_size=4), menu=st.none() | long_menus, data=st.data())
def test_scores_are_those_of_the_model(
    exported: Exported, batch: list[dict[str, Any]], menu: list[str] | None, data: st.DataObject
) -> None:
    """In any batch with any padding; and in any order of the options, where the model's do not depend on it."""
    family, classify = exported
    if menu is not None:
        batch = [{**batch[0], "options": menu}, *batch[1:]]
    expected = scores(family, default_attention(family), batch)
    padding = {"padding_side": data.draw(st.sampled_from(["right", "left"])), "pad_to_multiple_of": 8}
    inputs = encode(batch, **padding)
    got = classify.model(**inputs).yes_no_logits
    real = inputs["option_positions"] > 0
    torch.testing.assert_close(got[real], expected[real], atol=TOLERANCE, rtol=1e-4)
    if family in ORDER_INVARIANT_FAMILIES:
        order = data.draw(st.permutations(range(len(batch[0]["options"]))))
        permuted = encode([{**batch[0], "options": [batch[0]["options"][i] for i in order]}])
        got = classify.model(**permuted).yes_no_logits[0]
        torch.testing.assert_close(got, expected[0, list(order)], atol=TOLERANCE, rtol=1e-4)


@given(batch=st.lists(items, min_size=1, max_size=4), call=calls)
def test_the_pipeline_answers_the_same(exported: Exported, batch: list[dict[str, Any]], call: dict[str, Any]) -> None:
    family, classify = exported
    assert_same_answers(classify(batch, **call), default_pipeline(family)(batch, **call))


def test_its_repr_is_that_of_a_pipeline(exported: Exported) -> None:
    assert "OnnxUniMC" in repr(exported[1])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no model\.onnx"):
        OnnxUniMC(tmp_path)
