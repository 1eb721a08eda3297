"""Attention for training on a CPU: plain matrix products where sequences are short.

PyTorch's fused kernel is fast forwards; with its backward pass it takes two to eight times as long as a few products
for sequences of 32 to 256 tokens. With fresh memory for the tables of scores it is as fast from 256 on
(`python examples/benchmark/attention.py`). Importing the package puts this in front of `option_attention`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..option_attention import NAME, unimc_attention
from .freed_memory import is_memory_kept

# From here on the fused kernel is as fast and needs less memory; fresh pages are what makes large tables slow.
LONGEST_BY_PRODUCTS, LONGEST_IN_KEPT_MEMORY = 256, 512
MOST_SCORES = 2**26  # in one table of them, which is kept for the backward pass: 128 MiB in bfloat16


def attention_for_training(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As [`~unimc_hf.option_attention.unimc_attention`], and the same result."""
    longest = LONGEST_IN_KEPT_MEMORY if is_memory_kept() else LONGEST_BY_PRODUCTS
    is_short = query.shape[2] <= longest and query[..., 0].numel() * key.shape[2] <= MOST_SCORES
    by_products = is_short and query.requires_grad and query.device.type == "cpu"
    if not by_products or kwargs.get("option_blocks") is not None:
        return unimc_attention(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(-1, -2)
    weights = (scores if attention_mask is None else scores + attention_mask).softmax(-1)
    return (F.dropout(weights, dropout) @ value).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attention_for_training)

__all__ = ["attention_for_training"]
