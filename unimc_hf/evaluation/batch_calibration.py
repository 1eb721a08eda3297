"""Batch calibration: many texts, one menu, and no label that attracts all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..pipeline_unimc import scores_in_order

SMALLEST_SCORE = 1e-9  # whose logarithm still counts


def without_label_means(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    """Softmax scores of texts about one menu, each label's mean log-score over the texts taken off.

    As in "Batch Calibration" (Zhou et al., arXiv 2309.17249, equation 3), with the mean of the logarithms.

    Args:
        scores: one row per text, one column per label; rows sum to 1.

    Returns:
        The same shape; rows sum to 1.
    """
    logs = np.log(np.maximum(np.asarray(scores, dtype=np.float64), SMALLEST_SCORE))
    logs -= logs.mean(0)
    shares = np.exp(logs - logs.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).tolist()


def batch_calibrate(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Answers of a zero-shot pipeline about many texts, corrected as if every label were about equally frequent in them.

    A label that is attractive by its wording scores a little too high with every text. The mean over the texts shows
    how much, without any labelled example. Use it where the labels are roughly balanced in your texts, with at least a
    few texts for every label; where one label is truly much more frequent, the correction would be wrong.

    Args:
        results: what `classify(texts, candidate_labels=labels)` returns for a list of texts and one list of labels.

    Returns:
        The same dicts with other `scores` and the `labels` in their order, best first.

    Raises:
        ValueError: if the results are not about the same labels, or their scores do not sum to 1, as with
            `multi_label`, `threshold` or `top_k`.
    """
    if not results:
        return []
    labels = sorted(results[0]["labels"])
    for number, result in enumerate(results):
        if sorted(result["labels"]) != labels:
            raise ValueError(f"`results` must share their labels; number {number} has others than the first.")
        if abs(sum(result["scores"]) - 1) > 1e-3:
            raise ValueError(
                f"`results` must have scores that sum to 1, number {number} has {sum(result['scores']):.3f}: leave "
                "`multi_label`, `threshold` and `top_k` out."
            )
    calibrated = []
    for result, scores in zip(results, without_label_means([scores_in_order(result, labels) for result in results])):
        ranked = sorted(zip(labels, scores), key=lambda pair: -pair[1])
        calibrated.append({
            **result, "labels": [label for label, _ in ranked], "scores": [score for _, score in ranked]
        })  # fmt: skip
    return calibrated


__all__ = ["batch_calibrate", "without_label_means"]
