"""Where the options are, as a table of blocks, so that attention need not look at what it would mask away.

Of K options of b tokens and a text of T tokens, an option's token may see b + T of the K b + T tokens. The blocks let
attention compute just those: K b (b + T) scores for the options and T (K b + T) for the text, linear in K.

Worked example, two options of two tokens and one (`M` is `[MASK]`, `S` is `[SEP]`), `-` for what is padding:

    input_ids    [CLS]  M  red  M  S  sky  S         index of a token in the sequence: 0 to 6
    option_ids     0    1   1   2  0   0   0
    block_index  [[1, 2], [3, -]]                    block k holds option k
    text_index   [0, 4, 5, 6]
    slots        [0, 4, 5, 6, 1, 2, 3]               token -> its place in [text, then block after block]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# The whole table is one fused kernel and the blocks are several steps: measured by examples/benchmark/crossover.py.
SHORTEST = 256
SAVING = 3.0


@dataclass(frozen=True)
class OptionBlocks:
    """
    Args:
        text_index (`torch.LongTensor` of shape `(batch_size, text_length)`): tokens outside the options.
        text_mask (`torch.BoolTensor` of the same shape): False where an example has fewer.
        block_index (`torch.LongTensor` of shape `(batch_size, num_choices, block_length)`): tokens of each option.
        block_mask (`torch.BoolTensor` of the same shape): False where an option is shorter, or there is none.
        slots (`torch.LongTensor` of shape `(batch_size, sequence_length)`): where a token stands in text followed by
            blocks; 0 for padding, whose output nobody reads.
    """

    text_index: torch.Tensor
    text_mask: torch.Tensor
    block_index: torch.Tensor
    block_mask: torch.Tensor
    slots: torch.Tensor


def build_option_blocks(option_ids: torch.Tensor, attention_mask: torch.Tensor) -> OptionBlocks:
    """The blocks of a batch.

    Args:
        option_ids: `int64` of shape `(batch_size, sequence_length)`, 0 outside options, k for option k, whose tokens
            stand next to each other.
        attention_mask: of the same shape, 0 for padding.
    """
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


def option_blocks_if_cheaper(option_ids: torch.Tensor, attention_mask: torch.Tensor) -> OptionBlocks | None:
    """The blocks of a batch where they save time, else `None`; arguments as in [`build_option_blocks`].

    Never while a graph is compiled: how long the blocks are is in the data.
    """
    length = option_ids.shape[1]
    if length < SHORTEST or torch.compiler.is_compiling():
        return None
    blocks = build_option_blocks(option_ids, attention_mask)
    _, num_choices, block_length = blocks.block_index.shape
    text_length = blocks.text_index.shape[1]
    scores = text_length * length + num_choices * block_length * (block_length + text_length)
    return blocks if SAVING * scores <= length * length else None
