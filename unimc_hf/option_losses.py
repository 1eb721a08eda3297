"""The losses of figure 4 of arXiv 2210.08590, on the logits of `modeling_unimc`: OP, and O-MLM together with MLM."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .masked_lm_head import MaskedLMHead


def option_prediction_loss(
    logits: Tensor, yes_no_logits: Tensor, labels: Tensor | None, option_targets: Tensor | None, has_option: Tensor
) -> Tensor:
    """OP: the mean over the examples that have a target, float32, whatever kinds of targets a batch mixes.

    With one right option it is the cross-entropy of the softmax over the options' *yes* logits. Where several may be
    right, or none, it is the binary cross-entropy of `sigmoid(yes - no)`, averaged over the options of the example.

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
        hidden_states: of the encoder, `(batch_size, sequence_length, hidden_size)`; only MLM needs them.
        features: of the options, transformed by the head, `(batch_size, num_choices, embedding_size)`.
        The others: as in [`option_prediction_loss`] and [`UniMCForMultipleChoice.forward`].
    """
    total, count = features.new_zeros(2, dtype=torch.float32).unbind()
    if labels is not None or option_targets is not None:
        right = torch.full_like(has_option, -100, dtype=torch.float32)  # how right each option is, where that is known
        if labels is not None:
            one_hot = F.one_hot(labels.clamp(min=0), has_option.shape[1]).float()
            right = torch.where((labels >= 0).unsqueeze(1), one_hot, right)
        if option_targets is not None:
            right = torch.where(option_targets >= 0, option_targets.float(), right)
        labelled = has_option & (right >= 0)
        right = right[labelled]
        if config.option_mlm_loss == "yes_no":
            log_probs = yes_no_logits[labelled].float().log_softmax(-1)
        else:
            yes_and_no = [config.yes_token_id, config.no_token_id]
            log_probs = head.decode(features[labelled]).float().log_softmax(-1)[:, yes_and_no]
        total = total - (right * log_probs[:, 0] + (1 - right) * log_probs[:, 1]).sum()
        count = count + labelled.sum()
    if mlm_target_ids is not None and hidden_states is not None:
        masked = mlm_target_ids != -100
        vocabulary_logits = head.decode(head.transform(hidden_states[masked]))
        total = total + F.cross_entropy(vocabulary_logits.float(), mlm_target_ids[masked], reduction="sum")
        count = count + masked.sum()
    return total / count.clamp(min=1)
