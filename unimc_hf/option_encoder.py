"""What each family of encoders is given, so that options share positions and do not see each other.

Most families take one mask and position ids; ModernBERT takes a mask for each of its two kinds of layers, and
DeBERTa-v2, whose own `forward` cannot take a mask per pair of tokens, is run stage by stage.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .option_attention import NAME as UNIMC_ATTENTION
from .option_attention import option_blocks_if_cheaper
from .option_structure import build_attention_mask, build_padding_mask, build_position_ids


def encode(
    backbone: Any,
    input_ids: torch.Tensor | None,
    attention_mask: torch.Tensor,
    token_type_ids: torch.Tensor | None,
    option_ids: torch.Tensor,
    option_positions: torch.Tensor,
    inputs_embeds: torch.Tensor | None,
    **kwargs: Any,
) -> Any:
    """Run the encoder `backbone` with the option structure.

    Args:
        input_ids, attention_mask, token_type_ids, option_ids, option_positions, inputs_embeds: as in
            [`UniMCForMultipleChoice.forward`]; without `token_type_ids` they are derived.
        **kwargs: for the encoder, e.g. `output_attentions`.

    Returns:
        The encoder's output; `last_hidden_state` is of shape `(batch_size, sequence_length, hidden_size)`.
    """
    config = backbone.config
    position_ids = build_position_ids(option_ids, option_positions, attention_mask)
    if token_type_ids is None:
        # The closing `[SEP]` is the token at the position after the longest option.
        longest = (position_ids * (option_ids > 0)).amax(1, keepdim=True)
        closes = (option_ids == 0) & (position_ids == longest + 1) & attention_mask.bool()
        token_type_ids = ((option_ids > 0) | closes).long()
    inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
    if getattr(config, "type_vocab_size", 0) > 1 and config.model_type != "distilbert":
        inputs["token_type_ids"] = token_type_ids

    if config.model_type == "deberta-v2":
        inputs["position_ids"] = position_ids.clamp(max=config.max_position_embeddings - 1)
        return _encode_deberta(backbone, inputs, attention_mask, option_ids, **kwargs)

    dtype = _activation_dtype(backbone, inputs_embeds)
    if config.model_type == "modernbert":
        inputs["position_ids"] = position_ids
        inputs["attention_mask"] = {
            "full_attention": build_attention_mask(option_ids, attention_mask, dtype),
            "sliding_attention": build_attention_mask(
                option_ids, attention_mask, dtype, position_ids, window=config.local_attention // 2
            ),
        }
    else:
        # RoBERTa's table starts with rows for padding; its positions count from the row after them.
        offset = config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0
        # The reference clamps too: a menu may make the sequence longer than the table, never the positions.
        inputs["position_ids"] = (position_ids + offset).clamp(max=config.max_position_embeddings - 1)
        blocks = None
        if config._attn_implementation == UNIMC_ATTENTION:
            blocks = option_blocks_if_cheaper(option_ids, attention_mask)
        if blocks is None:
            inputs["attention_mask"] = build_attention_mask(option_ids, attention_mask, dtype)
        else:
            inputs["attention_mask"] = build_padding_mask(attention_mask, dtype)
            inputs["option_blocks"] = blocks
    return backbone(**inputs, **{**kwargs, "return_dict": True})


def _activation_dtype(backbone: Any, inputs_embeds: torch.Tensor | None) -> torch.dtype:
    # SDPA leaves its fast path when the mask is of another dtype than the activations.
    if torch.is_autocast_enabled(backbone.device.type):
        return torch.get_autocast_dtype(backbone.device.type)
    return backbone.dtype if inputs_embeds is None else inputs_embeds.dtype


def _encode_deberta(
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


__all__ = ["accept_mask_per_pair", "encode"]
