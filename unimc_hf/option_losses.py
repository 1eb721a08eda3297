"""The losses of figure 4 of arXiv 2210.08590, on the logits of `modeling_unimc`: OP, and O-MLM together with MLM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .masked_lm_head import MaskedLMHead


def check_targets(labels: Any, option_targets: Any, has_option: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The targets of [`UniMCForMultipleChoice.forward`], `labels` of two dimensions as `option_targets`.

    Raises:
        TypeError, ValueError: unless they fit the options and each other.
    """
    for name, targets in (("labels", labels), ("option_targets", option_targets)):
        if targets is not None and (not isinstance(targets, Tensor) or targets.is_complex()):
            raise TypeError(f"`{name}` must be a tensor of real numbers, got {targets!r}.")
    if labels is not None and labels.dim() == 2 and option_targets is None:
        labels, option_targets = None, labels
    for targets, shape in ((labels, has_option.shape[:1]), (option_targets, has_option.shape)):
        if targets is not None and targets.shape != shape:
            raise ValueError(
                f"`labels` must have shape {tuple(has_option.shape[:1])} or, like `option_targets`, "
                f"{tuple(has_option.shape)}, got {tuple(targets.shape)}."
            )
    if labels is not None and labels.dtype != torch.long:
        raise ValueError("`labels` of shape (batch_size,) must be integers (int64): the index of the right option.")
    if torch.compiler.is_compiling():  # what follows is about values
        return labels, option_targets
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
    return labels, option_targets


def option_prediction_loss(
    logits: Tensor, yes_no_logits: Tensor, labels: Tensor | None, option_targets: Tensor | None, has_option: Tensor
) -> Tensor:
    """OP: the mean over the examples that have a target, whatever kinds of targets a batch mixes.

    With one right option it is the cross-entropy of the softmax over the options' *yes* logits. Where several may be
    right, or none, there is no one-of-K choice to score: then it is the binary cross-entropy of `sigmoid(yes - no)`,
    the score that multi-label prediction uses, averaged over the options of the example.

    Args:
        logits, yes_no_logits, labels, option_targets: as in [`UniMCOutput`] and [`UniMCForMultipleChoice.forward`].
        has_option: bool, `(batch_size, num_choices)`.
    """
    total, count = logits.new_zeros(2, dtype=torch.float32).unbind()
    if labels is not None:
        total = total + F.cross_entropy(logits.float(), labels, reduction="sum")
        count = count + (labels >= 0).sum()
    if option_targets is not None:
        known = has_option & (option_targets >= 0)
        margins = (yes_no_logits[..., 0] - yes_no_logits[..., 1]).float()
        targets = torch.where(known, option_targets, 0).float()
        losses = F.binary_cross_entropy_with_logits(margins, targets, reduction="none").masked_fill(~known, 0.0)
        total = total + (losses.sum(1) / known.sum(1).clamp(min=1)).sum()
        count = count + known.any(1).sum()
    return total / count.clamp(min=1)


def masked_language_modeling_loss(
    config: Any,
    head: MaskedLMHead,
    hidden_states: Tensor | None,
    features: Tensor,
    yes_no_logits: Tensor,
    has_option: Tensor,
    labels: Tensor | None,
    option_targets: Tensor | None,
    mlm_target_ids: Tensor | None,
) -> Tensor:
    """O-MLM (*yes* or *no* at every option's `[MASK]`) and MLM: one cross-entropy, a mean over labelled positions.

    Args:
        config: says over what O-MLM normalises, the vocabulary or the two words.
        hidden_states: of the encoder, `(batch_size, sequence_length, hidden_size)`; only MLM needs them.
        features: of the options, transformed by the head, `(batch_size, num_choices, embedding_size)`.
        yes_no_logits, has_option, labels, option_targets: as in [`option_prediction_loss`].
        mlm_target_ids: as in [`UniMCForMultipleChoice.forward`].
    """
    total = features.new_zeros((), dtype=torch.float32)
    count = features.new_zeros((), dtype=torch.float32)
    if labels is not None or option_targets is not None:
        right, labelled = _right_options(labels, option_targets, has_option)
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


def _right_options(labels: Tensor | None, option_targets: Tensor | None, has_option: Tensor) -> tuple[Tensor, Tensor]:
    """How right each option is, float `(batch_size, num_choices)`, and where that is known, bool, same shape."""
    right, known = torch.zeros_like(has_option, dtype=torch.float32), torch.zeros_like(has_option)
    if labels is not None:
        right = F.one_hot(labels.clamp(min=0), has_option.shape[1]).float()
        known = (labels >= 0).unsqueeze(1).expand_as(has_option)
    if option_targets is not None:
        right = torch.where(option_targets >= 0, option_targets, right).float()
        known = known | (option_targets >= 0)
    return right, known & has_option
