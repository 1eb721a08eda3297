"""The losses of figure 4 of arXiv 2210.08590, on the logits of `modeling_unimc`: OP, and O-MLM together with MLM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .masked_lm_head import MaskedLMHead


def check_labels(labels: Tensor, option_positions: Tensor) -> None:
    """Raise a `ValueError` unless the labels fit the options; shapes as in [`UniMCForMultipleChoice.forward`]."""
    if not isinstance(labels, Tensor) or labels.is_complex():
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


def option_prediction_loss(logits: Tensor, yes_no_logits: Tensor, labels: Tensor, has_option: Tensor) -> Tensor:
    """OP: cross-entropy of the softmax over the options' *yes* logits.

    With several right answers there is no one-of-K choice to score; the loss is then the binary cross-entropy of
    `sigmoid(yes - no)`, the score that multi-label prediction uses, averaged over the options.

    Args:
        logits, yes_no_logits, labels: as in [`UniMCOutput`] and [`UniMCForMultipleChoice.forward`].
        has_option: bool, `(batch_size, num_choices)`.
    """
    if labels.dim() == 1:
        summed = F.cross_entropy(logits.float(), labels, reduction="sum")
        return summed / (labels >= 0).sum().clamp(min=1)
    margins = (yes_no_logits[..., 0] - yes_no_logits[..., 1]).float()
    losses = F.binary_cross_entropy_with_logits(margins, labels.float(), reduction="none")
    return losses.masked_fill(~has_option, 0.0).sum() / has_option.sum().clamp(min=1)


def masked_language_modeling_loss(
    config: Any,
    head: MaskedLMHead,
    hidden_states: Tensor,
    features: Tensor,
    yes_no_logits: Tensor,
    has_option: Tensor,
    labels: Tensor | None,
    mlm_target_ids: Tensor | None,
) -> Tensor:
    """O-MLM (*yes* or *no* at every option's `[MASK]`) and MLM: one cross-entropy, a mean over labelled positions.

    Args:
        config: says over what O-MLM normalises, the vocabulary or the two words.
        hidden_states: of the encoder, `(batch_size, sequence_length, hidden_size)`.
        features: of the options, transformed by the head, `(batch_size, num_choices, embedding_size)`.
        yes_no_logits, has_option, labels, mlm_target_ids: as in [`option_prediction_loss`] and the model's `forward`.
    """
    total = hidden_states.new_zeros((), dtype=torch.float32)
    count = hidden_states.new_zeros((), dtype=torch.float32)
    if labels is not None:
        right, labelled = _right_options(labels, has_option)
        right = right[labelled]
        if config.option_mlm_loss == "yes_no":
            log_probs = yes_no_logits[labelled].float().log_softmax(-1)
        else:
            yes_and_no = [config.yes_token_id, config.no_token_id]
            log_probs = head.decode(features[labelled]).float().log_softmax(-1)[:, yes_and_no]
        total = total - (right * log_probs[:, 0] + (1 - right) * log_probs[:, 1]).sum()
        count = count + labelled.sum()
    if mlm_target_ids is not None:
        masked = mlm_target_ids != -100
        vocabulary_logits = head.decode(head.transform(hidden_states[masked]))
        total = total + F.cross_entropy(vocabulary_logits.float(), mlm_target_ids[masked], reduction="sum")
        count = count + masked.sum()
    return total / count.clamp(min=1)


def _right_options(labels: Tensor, has_option: Tensor) -> tuple[Tensor, Tensor]:
    """How right each option is, float `(batch_size, num_choices)`, and where that is known, bool, same shape."""
    if labels.dim() == 2:
        return labels.float(), has_option
    right = F.one_hot(labels.clamp(min=0), has_option.shape[1]).float()
    return right, has_option & (labels >= 0).unsqueeze(1)
