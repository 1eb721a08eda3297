"""Batch calibration: many texts, one menu, and no label that attracts all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..pipeline_unimc import scores_in_order

SMALLEST_SCORE = 1e-9  # so that no label's mean is 0


def batch_calibrated_probs(probs: Any, num_iterations: int = 1) -> np.ndarray:
    """Probabilities of texts about one menu, every label's divided by its mean over the texts, and normalised again.

    Zhou et al., "Batch Calibration", arXiv 2309.17249, section 3. Repeated, it ends where the labels are equally
    probable on average over the texts.

    Args:
        probs: float, `(num_texts, num_labels)`; rows sum to 1.
        num_iterations: how often; once in the paper.

    Returns:
        float64 of that shape; rows sum to 1.
    """
    calibrated = np.maximum(np.asarray(probs, dtype=np.float64), SMALLEST_SCORE)
    for _ in range(num_iterations):
        calibrated = calibrated / calibrated.mean(0)
        calibrated /= calibrated.sum(1, keepdims=True)
    return calibrated


def batch_calibrate(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Answers of a zero-shot pipeline about many texts, corrected for labels that score too high with every text.

    The mean score of a label over the texts shows how attractive its wording is, without any labelled example. Use it
    where the labels are about equally frequent in your texts; where one is truly much more frequent than the others,
    the correction would be wrong.

    Args:
        results: what `classify(texts, candidate_labels=labels)` returns for a list of texts and one list of labels.

    Returns:
        The same dicts with other `scores` and the `labels` in their order, best first.

    Raises:
        TypeError: if `results` is not a list of dicts.
        ValueError: if there are fewer than two labels, or fewer results than labels, if the results are not about the
            same labels, if their scores do not sum to 1, as with `multi_label`, `threshold` or `top_k`, or if their
            labels are in groups.
    """
    if not isinstance(results, (list, tuple)) or not all(isinstance(result, dict) for result in results):
        raise TypeError(f"`results` must be a list of dicts, one for each text, got {type(results).__name__}.")
    if not results:
        return []
    labels = sorted(results[0]["labels"])
    if len(labels) < 2:
        raise ValueError("`results` must be about two labels or more: one alone is scored without the others.")
    if len(results) < len(labels):
        raise ValueError(f"`results` must be at least as many as their {len(labels)} labels, got {len(results)}.")
    for number, result in enumerate(results):
        if "groups" in result:
            raise ValueError("`results` must not have groups of labels: their scores could not follow.")
        if sorted(result["labels"]) != labels:
            raise ValueError(f"`results` must share their labels; number {number} has others than the first.")
        if abs(sum(result["scores"]) - 1) > 1e-3:
            raise ValueError(
                f"`results` must have scores that sum to 1, number {number} has {sum(result['scores']):.3f}: leave "
                "`multi_label`, `threshold` and `top_k` out."
            )
    probs = batch_calibrated_probs([scores_in_order(result, labels) for result in results])
    calibrated = []
    for result, scores in zip(results, probs.tolist()):
        ranked = sorted(zip(labels, scores), key=lambda pair: -pair[1])
        answer = {"labels": [label for label, _ in ranked], "scores": [score for _, score in ranked]}
        calibrated.append({**result, **answer})
    return calibrated


__all__ = ["batch_calibrate", "batch_calibrated_probs"]
