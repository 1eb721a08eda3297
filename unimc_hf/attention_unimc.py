"""`attn_implementation="unimc"`, the default: the same attention as "sdpa", computed in the cheapest of three ways.

- Menus with many options: block by block (`option_blocks`), in time and memory that grow linearly with the options.
- Training short sequences on a CPU: plain matrix products. PyTorch's fused kernel is fast forwards; with its backward
  pass it takes two to eight times as long as a few products for sequences of 32 to 256 tokens, and with fresh memory
  for the tables of scores it is as fast from 256 on (`python examples/benchmark/attention.py`).
- Anything else: PyTorch's fused kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .freed_memory import is_memory_kept
from .option_blocks import OptionBlocks
from .option_structure import additive_mask

NAME = "unimc"
# From here on the fused kernel is as fast and needs less memory; fresh pages are what makes large tables slow.
LONGEST_BY_PRODUCTS, LONGEST_IN_KEPT_MEMORY = 256, 512
# Scores of options that are held at once, in elements: 64 Mi of bfloat16 are 128 MiB.
SCORES_AT_ONCE = 64 * 2**20


def unimc_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    option_blocks: OptionBlocks | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """
    Args:
        module: the attention layer.
        query, key, value: of shape `(batch_size, num_heads, sequence_length, head_dim)`.
        attention_mask: additive; `(batch_size, 1, sequence_length, sequence_length)` of who sees whom, or with
            `option_blocks` `(batch_size, 1, 1, sequence_length)` of padding.
        dropout: probability with which an attention weight is dropped.
        scaling: factor of the scores, `head_dim ** -0.5` if not given.
        option_blocks: where the options are, if they are to be computed block by block.

    Returns:
        The output, of shape `(batch_size, sequence_length, num_heads, head_dim)`, and `None`.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if option_blocks is not None:
        output = _by_blocks(query, key, value, attention_mask, dropout, scale, option_blocks)
    elif _is_short_training_on_cpu(query):
        scores = (query * scale) @ key.transpose(-1, -2)
        weights = (scores if attention_mask is None else scores + attention_mask).softmax(-1)
        output = F.dropout(weights, dropout) @ value
    else:
        kwargs["is_causal"] = False
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scale, **kwargs)
    return output.transpose(1, 2).contiguous(), None


def _is_short_training_on_cpu(query: torch.Tensor) -> bool:
    longest = LONGEST_IN_KEPT_MEMORY if is_memory_kept() else LONGEST_BY_PRODUCTS
    return query.requires_grad and query.device.type == "cpu" and query.shape[2] <= longest


def _by_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    padding_mask: torch.Tensor | None,
    dropout: float,
    scale: float,
    blocks: OptionBlocks,
) -> torch.Tensor:
    scaled_query = query * scale
    text_query, text_key, text_value = (_take(states, blocks.text_index) for states in (query, key, value))
    text_output = F.scaled_dot_product_attention(
        text_query, key, value, attn_mask=padding_mask, dropout_p=dropout, scale=scale
    )
    text_bias = additive_mask(blocks.text_mask, query.dtype)
    size, num_choices, block_length = blocks.block_index.shape
    row = query.shape[0] * query.shape[1] * block_length * (block_length + text_bias.shape[1])
    outputs = [text_output]
    step = max(1, SCORES_AT_ONCE // row)
    for start in range(0, num_choices, step):
        index, mask = blocks.block_index[:, start : start + step], blocks.block_mask[:, start : start + step]
        in_blocks = (size, query.shape[1], index.shape[1], block_length, query.shape[3])
        block_query, block_key, block_value = (
            _take(states, index.flatten(1)).view(in_blocks) for states in (scaled_query, key, value)
        )
        own = additive_mask(mask, query.dtype)
        own_scores = block_query @ block_key.transpose(-1, -2) + own[:, None, :, None]
        text_scores = block_query.flatten(2, 3) @ text_key.transpose(-1, -2) + text_bias[:, None, None]
        scores = torch.cat([own_scores.flatten(2, 3), text_scores], dim=-1)
        weights = F.dropout(scores.softmax(-1), dropout)
        own_weights, text_weights = weights.split([block_length, text_bias.shape[1]], dim=-1)
        own_output = own_weights.unflatten(2, in_blocks[2:4]) @ block_value
        outputs.append(text_weights @ text_value + own_output.flatten(2, 3))
    return _take(torch.cat(outputs, dim=2), blocks.slots)


def _take(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows `index` `(batch_size, n)` of `states` `(batch_size, num_heads, length, head_dim)`."""
    return states.gather(2, index[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3]))


ALL_ATTENTION_FUNCTIONS.register(NAME, unimc_attention)
