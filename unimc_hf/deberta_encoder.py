"""DeBERTa-v2 with the option mask: the one family whose own `forward` cannot take a mask per pair of tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .option_structure import build_attention_mask


def encode_deberta(
    backbone: Any,
    inputs: dict[str, Any],
    attention_mask: torch.Tensor,
    option_ids: torch.Tensor,
    output_hidden_states: bool | None = None,
    output_attentions: bool | None = None,
    **_: Any,
) -> Any:
    """The two stages of `DebertaV2Model`, with padding for the embeddings and the option mask for the encoder.

    Its own `forward` gives both stages the same mask, and its embeddings take one per token only. Padding is zeroed
    there, so that a score does not depend on batch mates; the reference let the embedding of `[PAD]` through.
    """
    config = backbone.config
    embeddings = backbone.embeddings(mask=attention_mask, **inputs)
    return backbone.encoder(
        embeddings,
        build_attention_mask(option_ids, attention_mask, torch.bool).squeeze(1),
        output_hidden_states=config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        output_attentions=config.output_attentions if output_attentions is None else output_attentions,
    )


def accept_mask_per_pair(backbone: Any) -> None:
    """Let the convolution of a `DebertaV2Model`, if it has one, accept a boolean padding mask."""
    if backbone.encoder.conv is not None:
        backbone.encoder.conv.register_forward_pre_hook(_padding_mask_as_integers)


def _padding_mask_as_integers(_: nn.Module, inputs: tuple) -> tuple:
    """The convolution computes `1 - mask`, but gets a bool where attention has a mask per pair."""
    hidden_states, residual_states, padding_mask = inputs
    return hidden_states, residual_states, padding_mask.long()
