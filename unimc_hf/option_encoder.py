"""What each family of encoders is given, so that options share positions and do not see each other.

Between `option_structure` and `modeling_unimc`. Most families take one mask and position ids; ModernBERT takes a mask
for each of its two kinds of layers, MPNet's bias of relative positions comes with the mask, and DeBERTa-v2, whose
`forward` takes no mask per pair of tokens, is run in stages.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .option_attention import NAME as UNIMC_ATTENTION
from .option_attention import option_blocks_if_cheaper
from .option_structure import additive_mask, build_attention_mask, build_position_ids


def encode(
    backbone: Any,
    input_ids: Tensor | None,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
    option_ids: Tensor,
    option_positions: Tensor,
    inputs_embeds: Tensor | None,
    **kwargs: Any,
) -> Any:
    """The output of the encoder `backbone`; arguments as in [`UniMCForMultipleChoice.forward`], others are its own."""
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
        # Its own `forward` gives both stages one mask. Padding is zeroed in the embeddings, so that a score does not
        # depend on batch mates; the reference let it through.
        asked = ("output_hidden_states", "output_attentions")
        outputs = {name: getattr(config, name) if kwargs.get(name) is None else kwargs[name] for name in asked}
        mask = build_attention_mask(option_ids, attention_mask, torch.bool).squeeze(1)
        return backbone.encoder(backbone.embeddings(mask=attention_mask, **inputs), mask, **outputs)

    # SDPA leaves its fast path when the mask is of another dtype than the activations.
    dtype = backbone.dtype if inputs_embeds is None else inputs_embeds.dtype
    if torch.is_autocast_enabled(backbone.device.type):
        dtype = torch.get_autocast_dtype(backbone.device.type)
    if config.model_type == "modernbert":
        inputs["position_ids"] = position_ids
        inputs["attention_mask"] = {
            "full_attention": build_attention_mask(option_ids, attention_mask, dtype),
            "sliding_attention": build_attention_mask(
                option_ids, attention_mask, dtype, position_ids, window=config.local_attention // 2
            ),
        }
    else:
        # These tables start with rows for padding; positions count from the row after them.
        is_offset = config.model_type in ("mpnet", "roberta", "xlm-roberta")
        offset = backbone.embeddings.padding_idx + 1 if is_offset else 0
        # The reference clamps too: a menu may make the sequence longer than the table, never the positions.
        inputs["position_ids"] = (position_ids + offset).clamp(max=config.max_position_embeddings - 1)
        takes_blocks = config._attn_implementation == UNIMC_ATTENTION and config.model_type != "mpnet"
        blocks = option_blocks_if_cheaper(option_ids, attention_mask) if takes_blocks else None
        if config.model_type == "mpnet":
            allowed = build_attention_mask(option_ids, attention_mask, torch.bool)
            inputs["attention_mask"] = _mpnet_mask(backbone.encoder, allowed, position_ids, dtype)
        elif blocks is None:
            inputs["attention_mask"] = build_attention_mask(option_ids, attention_mask, dtype)
        else:
            inputs["attention_mask"] = additive_mask(attention_mask.bool()[:, None, None], dtype)
            inputs["option_blocks"] = blocks
    return backbone(**inputs, **{**kwargs, "return_dict": True})


def _mpnet_mask(encoder: Any, allowed: Tensor, position_ids: Tensor, dtype: torch.dtype) -> Tensor:
    """MPNet's bias of relative positions, by `position_ids` in place of the index, where attention is allowed."""
    distances = position_ids.unsqueeze(1) - position_ids.unsqueeze(2)
    bias = encoder.relative_attention_bias(encoder.relative_position_bucket(distances)).permute(0, 3, 1, 2)
    return bias.to(dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def adapt(backbone: Any) -> None:
    """Change in a new encoder what would not go with the masks and positions of [`encode`]."""
    if backbone.config.model_type == "mpnet":
        backbone.encoder.compute_position_bias = _no_position_bias
    if backbone.config.model_type == "deberta-v2" and backbone.encoder.conv is not None:
        backbone.encoder.conv.register_forward_pre_hook(_padding_mask_as_integers)


def _no_position_bias(_: Tensor) -> None:
    # It would be by the index in the sequence; ours comes with the mask.
    return None


def _padding_mask_as_integers(_: nn.Module, inputs: tuple) -> tuple:
    # The convolution computes `1 - mask`, but gets a bool where attention has a mask per pair.
    return *inputs[:2], inputs[2].long()


__all__ = ["adapt", "encode"]
