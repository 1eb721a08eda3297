"""`attn_implementation="matmul"`: attention by plain matrix products, for training short sequences on a CPU.

PyTorch's fused kernel wins when it only runs forwards. With its backward pass it does not on a CPU: for 4,096 tokens in
sequences of 32 to 128 it takes two to six times as long as a few matrix products and a softmax, and from 256 on there
is no difference (`python examples/benchmark_attention.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# From here on the table of scores no longer fits the cache, and the fused kernel is as fast and needs less memory.
LONGEST_BY_MATMUL = 256


def matmul_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention, everything in the dtype of `query`.

    Args:
        module: the attention layer, not used.
        query, key, value: of shape `(batch_size, num_heads, sequence_length, head_dim)`.
        attention_mask: additive, of shape `(batch_size, 1, sequence_length, sequence_length)`, or `None`.
        scaling: factor of the scores, `head_dim ** -0.5` if not given.
        dropout: probability with which an attention weight is dropped.

    Returns:
        The output, of shape `(batch_size, sequence_length, num_heads, head_dim)`, and `None`.
    """
    if query.shape[2] > LONGEST_BY_MATMUL:
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
        )
    else:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        scores = (query * scale) @ key.transpose(-1, -2)
        weights = (scores if attention_mask is None else scores + attention_mask).softmax(-1)
        mixed = F.dropout(weights, dropout) @ value
    return mixed.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register("matmul", matmul_attention)

__all__ = ["matmul_attention"]
