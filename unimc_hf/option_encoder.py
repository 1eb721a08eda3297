"""What each family of encoders is given, so that options share positions and do not see each other.

Most families take one mask and position ids; ModernBERT takes a mask for each of its two kinds of layers, and
DeBERTa-v2, which has no positions in its input, goes by `deberta_encoder`.
"""

from __future__ import annotations

from typing import Any

import torch

from .attention_unimc import NAME as UNIMC_ATTENTION
from .deberta_encoder import encode_deberta
from .option_blocks import option_blocks_if_cheaper
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
        return encode_deberta(backbone, inputs, attention_mask, option_ids, **kwargs)

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


__all__ = ["encode"]
