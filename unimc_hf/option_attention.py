"""Attention with options, block by block where a menu is long: `attn_implementation="unimc"`, the default.

Of K options of b tokens and a text of T tokens, an option's token may see b + T of the K b + T tokens. With blocks just
these scores are computed, linear in K. Short menus go through PyTorch's fused kernel, with a mask.

Worked example, two options of two tokens and one: `option_ids` are [0, 1, 1, 2, 0, 0, 0]; `block_index` is [[1, 2],
[3, -]], block k holds option k; `text_index` is [0, 4, 5, 6]; `slots`, the place of each token in [text, then block
after block], are [0, 4, 5, 6, 1, 2, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .option_structure import additive_mask

NAME = "unimc"
# The whole table is one fused kernel and the blocks are several steps: measured by examples/benchmark/crossover.py.
SHORTEST, SAVING = 256, 5.0
SCORES_AT_ONCE = 64 * 2**20  # elements of scores of options that are held: 128 MiB in bfloat16


@dataclass(frozen=True)
class OptionBlocks:
    """Where the options of a batch are; tokens are named by their index in the sequence."""

    text_index: Tensor  # (batch_size, text_length): tokens outside the options
    text_mask: Tensor  # the same shape: False where an example has fewer
    block_index: Tensor  # (batch_size, num_choices, block_length): tokens of each option
    block_mask: Tensor  # the same shape: False where an option is shorter, or there is none
    slots: Tensor  # (batch_size, sequence_length): where a token stands in text followed by blocks; 0 for padding


def build_option_blocks(option_ids: Tensor, attention_mask: Tensor) -> OptionBlocks:
    """The blocks of a batch, from two tensors `(batch_size, sequence_length)`; an option's tokens are neighbours."""
    size, length = option_ids.shape
    index = torch.arange(length, device=option_ids.device).expand_as(option_ids)
    is_token = attention_mask.bool()
    in_option, in_text = (option_ids > 0) & is_token, (option_ids == 0) & is_token
    num_choices = int(option_ids.max())

    option = option_ids - 1
    starts = torch.full((size, num_choices), length, device=option_ids.device)
    starts.scatter_reduce_(1, option.clamp(min=0), torch.where(in_option, index, length), "amin")
    offset = torch.where(in_option, index - starts.gather(1, option.clamp(min=0)), 0)
    block_length = int(offset.max()) + 1
    text_length = int(in_text.sum(1).max())
    in_text_slot = in_text.long().cumsum(1) - 1
    in_block_slot = option * block_length + offset

    slots = torch.where(in_option, text_length + in_block_slot, torch.where(in_text, in_text_slot, 0))
    # The slot after the last one takes what padding would write.
    width = text_length + num_choices * block_length
    tokens = torch.full((size, width + 1), -1, device=option_ids.device)
    tokens.scatter_(1, torch.where(is_token, slots, width), index)
    text, blocks = tokens[:, :text_length], tokens[:, text_length:width]
    blocks = blocks.reshape(size, num_choices, block_length)
    return OptionBlocks(text.clamp(min=0), text >= 0, blocks.clamp(min=0), blocks >= 0, slots)


def option_blocks_if_cheaper(option_ids: Tensor, attention_mask: Tensor) -> OptionBlocks | None:
    """The blocks of a batch where they save time; never while a graph is compiled: their lengths are in the data."""
    length = option_ids.shape[1]
    if length < SHORTEST or torch.compiler.is_compiling():
        return None
    blocks = build_option_blocks(option_ids, attention_mask)
    _, num_choices, block_length = blocks.block_index.shape
    text_length = blocks.text_index.shape[1]
    scores = text_length * length + num_choices * block_length * (block_length + text_length)
    return blocks if SAVING * scores <= length * length else None


def unimc_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    option_blocks: OptionBlocks | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers, which returns `(batch_size, sequence_length, num_heads, head_dim)`.

    Args:
        query, key, value: of shape `(batch_size, num_heads, sequence_length, head_dim)`; or `query` of the options'
            `[MASK]` tokens alone, of shape `(batch_size, num_heads, num_choices, head_dim)`.
        attention_mask: additive; `(batch_size, 1, sequence_length, sequence_length)` of who sees whom, or with
            `option_blocks` `(batch_size, 1, 1, sequence_length)` of padding.
        scaling: factor of the scores, `head_dim ** -0.5` if not given.
        option_blocks: where the options are, if they are to be computed block by block.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if option_blocks is None:
        kwargs["is_causal"] = False
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scale, **kwargs)
    output = _by_blocks(query, key, value, attention_mask, dropout, scale, option_blocks)
    return output.transpose(1, 2).contiguous(), None


def _by_blocks(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float, blocks: OptionBlocks
) -> Tensor:
    scaled_query = query * scale
    text_key, text_value = _take(key, blocks.text_index), _take(value, blocks.text_index)
    text_bias = additive_mask(blocks.text_mask, query.dtype)
    size, num_choices, block_length = blocks.block_index.shape
    only_masks, outputs = query.shape[2] < key.shape[2], []
    if not only_masks:
        text_query = _take(query, blocks.text_index)
        outputs.append(F.scaled_dot_product_attention(text_query, key, value, mask, dropout, scale=scale))
    row = query.shape[0] * query.shape[1] * block_length * (block_length + text_bias.shape[1])
    step = max(1, SCORES_AT_ONCE // row)
    for start in range(0, num_choices, step):
        index, is_token = blocks.block_index[:, start : start + step], blocks.block_mask[:, start : start + step]
        in_blocks = (size, query.shape[1], index.shape[1], block_length, query.shape[3])
        block_key, block_value = (_take(states, index.flatten(1)).view(in_blocks) for states in (key, value))
        if only_masks:
            block_query = scaled_query[:, :, start : start + step].unsqueeze(3)
        else:
            block_query = _take(scaled_query, index.flatten(1)).view(in_blocks)
        own_bias = additive_mask(is_token, query.dtype)[:, None, :, None]
        own_scores = block_query @ block_key.transpose(-1, -2) + own_bias
        text_scores = block_query.flatten(2, 3) @ text_key.transpose(-1, -2) + text_bias[:, None, None]
        scores = torch.cat([own_scores.flatten(2, 3), text_scores], dim=-1)
        weights = F.dropout(scores.softmax(-1), dropout)
        own_weights, text_weights = weights.split([block_length, text_bias.shape[1]], dim=-1)
        own_output = own_weights.unflatten(2, block_query.shape[2:4]) @ block_value
        outputs.append(text_weights @ text_value + own_output.flatten(2, 3))
    output = torch.cat(outputs, dim=2)
    return output if only_masks else _take(output, blocks.slots)


def _take(states: Tensor, index: Tensor) -> Tensor:
    """Rows `index` `(batch_size, n)` of `states` `(batch_size, num_heads, length, head_dim)`."""
    return states.gather(2, index[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3]))


ALL_ATTENTION_FUNCTIONS.register(NAME, unimc_attention)
