"""Attention with options, block by block where a menu is long: `attn_implementation="unimc"`, the default.

A token of an option may see its own option and the text, a small part of a long menu. A block is a run of neighbouring
options, some `BLOCK` tokens or half the text; it meets itself, behind a mask, and the text in one fused kernel, so that
time and memory are linear in the menu. Short menus go through the kernel as one table.

Worked example, two options of two tokens and one: `option_ids` are [0, 1, 1, 2, 0, 0, 0]. There is one block, of the
tokens [1, 2, 3]; it sees the tokens [1, 2, 3, 0, 4, 5, 6], its own and then the text's; of what comes out, [block after
block, then text], the tokens have `slots` [3, 0, 1, 2, 4, 5, 6].
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
# Blocks copy the text's keys, and are two kernels instead of one: measured by examples/benchmark/crossover.py.
BLOCK, SHORTEST, SAVING = 40, 256, 1.5


@dataclass(frozen=True)
class BlockQueries:
    """What asks from within the blocks."""

    index: Tensor  # (batch_size, num_blocks, num_queries): places in the sequence; of `[MASK]` tokens, their option
    bias: Tensor  # (batch_size * num_blocks, 1, num_queries, num_keys): additive mask
    slots: Tensor  # (batch_size, sequence_length or num_choices): where each comes out


@dataclass(frozen=True)
class OptionBlocks:
    """Where the options of a batch are; tokens are named by their place in the sequence."""

    text_index: Tensor  # (batch_size, text_length): tokens outside the options
    key_index: Tensor  # (batch_size, num_blocks, num_keys): what a block sees
    tokens: BlockQueries
    mask_tokens: BlockQueries  # alone, in the last layer


def option_blocks_if_cheaper(
    option_ids: Tensor, attention_mask: Tensor, num_choices: int, dtype: torch.dtype
) -> OptionBlocks | None:
    """The blocks of a batch, of two tensors `(batch_size, sequence_length)`, where they save time; an option's tokens
    are neighbours. Never while a graph is compiled: the blocks' lengths are in the data."""
    length = option_ids.shape[1]
    if length < SHORTEST or torch.compiler.is_compiling():
        return None
    index = torch.arange(length, device=option_ids.device).expand_as(option_ids)
    in_option, is_token = option_ids > 0, attention_mask.bool()
    is_first = in_option & (option_ids != F.pad(option_ids, (1, -1)))
    text_slots, text = _in_blocks(is_token & ~in_option, index == 0)
    window = torch.where(is_first, index, 0).cummax(1).values // max(BLOCK, text.shape[2] // 2)
    opens = is_first & (window != F.pad(torch.where(in_option, window, -1), (1, -1), value=-1))
    slots, tokens = _in_blocks(is_token & in_option, opens)
    scores = text.shape[2] * length + tokens[0].numel() * (tokens.shape[2] + text.shape[2])
    if SAVING * scores > length * length:
        return None
    mask_slots, masks = _in_blocks(is_first, opens)
    keys = torch.cat([tokens, text.expand(-1, tokens.shape[1], -1)], 2)

    def ids_of(places: Tensor, nothing: int) -> Tensor:
        return torch.where(places < 0, nothing, option_ids.gather(1, places.clamp(min=0).flatten(1)).view_as(places))

    seen = ids_of(keys, -2).unsqueeze(2)

    def bias(queries: Tensor) -> Tensor:
        return additive_mask((ids_of(queries, -1).unsqueeze(3) == seen) | (seen == 0), dtype).flatten(0, 1).unsqueeze(1)

    option_slots = index.new_zeros(len(index), num_choices + 1).scatter(1, is_first * option_ids, mask_slots)
    return OptionBlocks(
        text.squeeze(1).clamp(min=0),
        keys.clamp(min=0),
        BlockQueries(tokens.clamp(min=0), bias(tokens), torch.where(in_option, slots, tokens[0].numel() + text_slots)),
        BlockQueries(ids_of(masks, 1) - 1, bias(masks), option_slots[:, 1:]),  # what is no option is at 0
    )


def _in_blocks(chosen: Tensor, opens: Tensor) -> tuple[Tensor, Tensor]:
    """Slots of the chosen tokens in blocks that begin at `opens`, and the token in each slot, -1 where none is."""
    block, before = opens.cumsum(1) - 1, chosen.cumsum(1) - chosen.long()
    offset = before - torch.where(opens, before, 0).cummax(1).values
    num_blocks, width = int(block.max()) + 1, int(torch.where(chosen, offset, 0).max()) + 1
    slots = torch.where(chosen, block * width + offset, 0)
    tokens = slots.new_full((len(slots), num_blocks * width + 1), -1)
    index = torch.arange(slots.shape[1], device=slots.device).expand_as(slots)
    tokens.scatter_(1, torch.where(chosen, slots, num_blocks * width), index)
    return slots, tokens[:, :-1].unflatten(1, (num_blocks, width))


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
    if option_blocks is None:
        kwargs["is_causal"] = False
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)

    attend = ALL_ATTENTION_FUNCTIONS[NAME]  # which is another for training
    only_masks = query.shape[2] < key.shape[2]
    queries = option_blocks.mask_tokens if only_masks else option_blocks.tokens
    block_query = _take(query, queries.index)
    block_key, block_value = _take(key, option_blocks.key_index), _take(value, option_blocks.key_index)
    output = attend(module, block_query, block_key, block_value, queries.bias, dropout, scaling)[0]
    output = output.reshape(len(query), -1, *query.shape[1::2])
    if not only_masks:
        text_query = _take(query, option_blocks.text_index.unsqueeze(1))
        of_text, _ = attend(module, text_query, key, value, attention_mask, dropout, scaling)
        output = torch.cat([output, of_text], 1)
    return _take(output.transpose(1, 2), queries.slots.unsqueeze(1)).transpose(1, 2), None


def _take(states: Tensor, index: Tensor) -> Tensor:
    """Rows `(batch_size, num_blocks, n)` of `(batch_size, num_heads, length, head_dim)`, every block an example."""
    rows = states.transpose(1, 2).flatten(2)
    index = index + rows.shape[1] * torch.arange(len(rows), device=rows.device).view(-1, 1, 1)
    taken = rows.flatten(0, 1).index_select(0, index.flatten())
    return taken.view(-1, index.shape[2], *states.shape[1::2]).transpose(1, 2)


ALL_ATTENTION_FUNCTIONS.register(NAME, unimc_attention)
