"""What may stand in the tensors of a call of the model. Importing the package puts these into `UniMCForMultipleChoice`.

Code that travels with a model does without: there the tokenizer makes the tensors, and PyTorch's own errors are left.
"""

from __future__ import annotations

from typing import Any

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


def check_targets(labels: Any, option_targets: Any, has_option: Tensor) -> None:
    """Raise unless the targets fit the options, bool of shape `(batch_size, num_choices)`, and each other.

    Raises:
        TypeError, ValueError: naming the argument and the example.
    """
    for name, targets in (("labels", labels), ("option_targets", option_targets)):
        if targets is not None and (not isinstance(targets, Tensor) or targets.is_complex()):
            raise TypeError(f"`{name}` must be a tensor of real numbers, got {targets!r}.")
    for targets, shape in ((labels, has_option.shape[:1]), (option_targets, has_option.shape)):
        if targets is not None and targets.shape != shape:
            raise ValueError(
                f"`labels` must have shape {tuple(has_option.shape[:1])} or, like `option_targets`, "
                f"{tuple(has_option.shape)}, got {tuple(targets.shape)}."
            )
    if labels is not None and labels.dtype != torch.long:
        raise ValueError("`labels` of shape (batch_size,) must be integers (int64): the index of the right option.")
    if torch.compiler.is_compiling():  # what follows is about values
        return
    if labels is not None:
        counts = has_option.sum(1)
        wrong = (((labels < 0) & (labels != -100)) | (labels >= counts)).nonzero()
        if len(wrong):
            row = int(wrong[0, 0])
            raise ValueError(f"`labels[{row}]` is {labels[row]}, but example {row} has {counts[row]} options.")
    if option_targets is not None:
        known = has_option & (option_targets >= 0) & (option_targets <= 1)  # which NaN is not
        if bool((has_option & ~known & (option_targets != -100)).any()):
            raise ValueError("`labels` of shape (batch_size, num_choices) must be probabilities between 0 and 1.")
        if labels is not None and bool((known.any(1) & (labels >= 0)).any()):
            raise ValueError("`labels` and `option_targets` both name right options of an example; one must be -100.")


__all__ = ["check_inputs", "check_targets"]
