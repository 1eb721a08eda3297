"""An encoder becomes a model to train, of every family: its weights are kept, and a new head starts as the identity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import FAMILIES, tiny_model, tiny_tokenizer

from unimc_hf.training.backbone import _dense_of_head, load_backbone

RECIPE = {
    "language": "english", "dtype": "float32", "frozen": ["word_embeddings"], "hidden_dropout_prob": 0.0,
    "option_mlm_loss": "yes_no",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_that_is_not_there_starts_as_the_identity(family: str, tmp_path: Path) -> None:
    encoder = tiny_model(family).get_backbone()
    encoder.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model, _ = load_backbone(str(tmp_path), RECIPE)
    weights = model.get_backbone().state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())
    _, dense = _dense_of_head(model)
    if dense.in_features == dense.out_features:
        torch.testing.assert_close(dense.weight, torch.eye(dense.out_features))
        assert dense.bias is None or not dense.bias.any()
    else:  # narrower embeddings than hidden states: there is no identity
        assert family in ("albert", "electra")


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_head_that_is_there_is_kept(family: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model, _ = load_backbone(str(tmp_path), RECIPE)
    torch.testing.assert_close(_dense_of_head(model)[1].weight, _dense_of_head(tiny_model(family))[1].weight)
