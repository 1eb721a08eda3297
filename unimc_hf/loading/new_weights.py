"""How weights start that no file has: the head of a plain encoder, more positions, or all of a model from scratch.

Importing the package puts these into `UniMCForMultipleChoice`. A saved model lacks no weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..modeling_unimc import UniMCForMultipleChoice
from .untrusted_files import check_gap


@torch.no_grad()
def init_weights(model: UniMCForMultipleChoice, module: nn.Module) -> None:
    """Give `module` the weights that its family starts with."""
    # The head belongs to us, the rule for it to the family: the backbone is a model of that family.
    model.get_backbone()._init_weights(module)
    # In early 5.x ModernBERT's rule knows the decoder by the class of the whole model only, which is another here.
    if model.config.text_config.model_type == "modernbert" and module is model.get_output_embeddings():
        super(UniMCForMultipleChoice, model)._init_weights(module)


def is_custom_code(cls: type[UniMCForMultipleChoice]) -> bool:
    """False: transformers leaves out the rules for composite modules (ModernBERT's attention, ...) in custom code."""
    return False


def allocate_missing(model: UniMCForMultipleChoice, missing_keys: Any, *args: Any, **kwargs: Any) -> None:
    """Check how much a file lacks before that gets memory; the rest is transformers'."""
    check_gap(model, missing_keys)
    super(UniMCForMultipleChoice, model)._move_missing_keys_from_meta_to_device(missing_keys, *args, **kwargs)


def get_position_embeddings(model: UniMCForMultipleChoice) -> nn.Embedding | tuple[nn.Embedding]:
    """Those of the encoder, of the families that say which they are (DistilBERT)."""
    return model.get_backbone().get_position_embeddings()


def resize_position_embeddings(model: UniMCForMultipleChoice, new_num_position_embeddings: int) -> None:
    """Give the encoder more positions, or fewer, where its family can."""
    model.get_backbone().resize_position_embeddings(new_num_position_embeddings)


__all__ = [
    "allocate_missing",
    "get_position_embeddings",
    "init_weights",
    "is_custom_code",
    "resize_position_embeddings",
]
