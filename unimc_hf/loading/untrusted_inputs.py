"""What may stand in the tensors of a call of the model. Importing the package puts it into `UniMCForMultipleChoice`.

Code that travels with a model does without: there the tokenizer makes the tensors, and PyTorch's own errors are left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..modeling_unimc import UniMCForMultipleChoice


def check_inputs(model: UniMCForMultipleChoice, inputs_embeds: Tensor | None = None, **tensors: Tensor | None) -> None:
    """Raise unless the tensors, by their names in `forward`, fit each other and name nothing that is not there.

    Raises:
        TypeError, ValueError: naming the tensor. A GPU would not survive the index.
    """
    config = model.config
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor) or tensor.dim() != 2 or tensor.numel() == 0:
            raise TypeError(f"`{name}` must be a tensor of two dimensions, and not empty.")
    mask, positions = given.pop("attention_mask", None), given.pop("option_positions", None)
    if not given:
        return  # `find_options` says what is missing
    first = next(iter(given))
    size, length = given[first].shape
    for name, tensor in given.items():
        if tensor.shape != (size, length):
            raise ValueError(f"`{name}` has shape {tuple(tensor.shape)}, but `{first}` {(size, length)}.")
    expected = (size, length if inputs_embeds is None else inputs_embeds.shape[1])
    if mask is not None and (mask.shape != expected or mask.is_complex()):
        raise ValueError(f"`attention_mask` must be real and of shape {expected}, got {tuple(mask.shape)}.")
    limits = dict.fromkeys(("input_ids", "mlm_target_ids"), config.vocab_size)
    limits |= {"token_type_ids": max(2, getattr(config.text_config, "type_vocab_size", 2)), "option_ids": length}
    if positions is not None:
        if len(positions) != size:
            raise ValueError(f"`option_positions` has {len(positions)} rows for {size} examples.")
        limits |= {"option_ids": positions.shape[1] + 1, "option_positions": length}
        given["option_positions"] = positions
    extremes = []
    for name, tensor in given.items():
        is_index = tensor.dtype == torch.long or (name in ("input_ids", "token_type_ids") and tensor.dtype == torch.int)
        if not is_index:
            raise TypeError(f"`{name}` must be of dtype int64, got {tensor.dtype}.")
        tensor = tensor.masked_fill(tensor == -100, 0) if name == "mlm_target_ids" else tensor
        extremes += [tensor.min().long(), tensor.max().long()]
    found = torch.stack(extremes).tolist()  # the one time that a GPU is waited for
    for name, least, most in zip(given, found[::2], found[1::2]):
        if least < 0 or most >= limits[name]:
            wrong = least if least < 0 else most
            raise ValueError(f"`{name}` holds {wrong}; it must be from 0 to {limits[name] - 1}.")


__all__ = ["check_inputs"]
