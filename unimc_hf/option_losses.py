"""What an option's right answer is, and the OP loss that asks for it."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def option_prediction_loss(
    logits: torch.Tensor, yes_no_logits: torch.Tensor, labels: torch.Tensor, has_option: torch.Tensor
) -> torch.Tensor:
    """OP (figure 4 of arXiv 2210.08590): cross-entropy of the softmax over the options' *yes* logits.

    With several right answers there is no one-of-K choice to score; the loss is then the binary cross-entropy of
    `sigmoid(yes - no)`, the score that multi-label prediction uses, averaged over the options.

    Args:
        logits: *yes* logits, `(batch_size, num_choices)`, `finfo.min` where there is no option.
        yes_no_logits: `(batch_size, num_choices, 2)`.
        labels: as in [`UniMCForMultipleChoice.forward`].
        has_option: bool, `(batch_size, num_choices)`.
    """
    if labels.dim() == 1:
        summed = F.cross_entropy(logits.float(), labels, reduction="sum")
        return summed / (labels >= 0).sum().clamp(min=1)
    margins = (yes_no_logits[..., 0] - yes_no_logits[..., 1]).float()
    losses = F.binary_cross_entropy_with_logits(margins, labels.float(), reduction="none")
    return losses.masked_fill(~has_option, 0.0).sum() / has_option.sum().clamp(min=1)


def right_options(labels: torch.Tensor, has_option: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How right each option is, float `(batch_size, num_choices)`, and where that is known, bool, same shape."""
    if labels.dim() == 2:
        return labels.float(), has_option
    right = F.one_hot(labels.clamp(min=0), has_option.shape[1]).float()
    return right, has_option & (labels >= 0).unsqueeze(1)


def check_labels(labels: torch.Tensor, option_positions: torch.Tensor) -> None:
    """Raise a `ValueError` unless the labels fit the options; shapes as in [`UniMCForMultipleChoice.forward`]."""
    if not isinstance(labels, torch.Tensor) or labels.is_complex():
        raise TypeError(f"`labels` must be a tensor of real numbers, got {labels!r}.")
    size, num_choices = option_positions.shape
    if labels.dim() == 1 and labels.shape[0] == size:
        if labels.dtype != torch.long:
            raise ValueError("`labels` of shape (batch_size,) must be integers (int64): the index of the right option.")
        counts = (option_positions > 0).sum(1)
        wrong = ((labels < 0) & (labels != -100)) | (labels >= counts)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0, 0])
            label, count = int(labels[row]), int(counts[row])
            raise ValueError(f"`labels[{row}]` is {label}, but example {row} has {count} options.")
    elif labels.shape == (size, num_choices):
        given = labels[option_positions > 0].float()
        if not bool(((given >= 0) & (given <= 1)).all()):  # also refuses NaN
            raise ValueError("`labels` of shape (batch_size, num_choices) must be probabilities between 0 and 1.")
    else:
        raise ValueError(f"`labels` must have shape ({size},) or ({size}, {num_choices}), got {tuple(labels.shape)}.")
