"""Fit the three numbers of a model's config that make its scores mean what they say. Needs scikit-learn.

A model trained to answer right is more sure of itself than it is right, the more so on tasks it never saw. Temperature
scaling (Guo et al. 2017, section 4.2) repairs the softmax over the options, Platt scaling (Platt 1999) the score of a
single option. Neither changes which option scores best. Fit them on tasks that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .evaluation_unimc import unimc_classifier
from .jsonl_examples import Example

# sigmoid(yes - no) rounds to 0 or 1 in float32 where the margin is beyond about 16.
SMALLEST_SCORE = 1e-7


@dataclass(frozen=True)
class Calibration:
    """The calibration of a [`UniMCConfig`]; see there for how each number is used."""

    softmax_temperature: float
    sigmoid_scale: float
    sigmoid_bias: float

    def write_to(self, config: Any) -> None:
        """Set the three attributes of a [`UniMCConfig`]; the pipeline applies them from then on."""
        for name, value in asdict(self).items():
            setattr(config, name, value)


def calibrate(pipeline: Any, data_sets: Mapping[str, Sequence[Example]], **arguments: Any) -> Calibration:
    """
    Fit a calibration; every data set weighs the same, and in it every example.

    Args:
        pipeline ([`UniMCZeroShotPipeline`]): the model; what its config says already is not applied.
        data_sets: name -> examples with `options` and an integer `label`, e.g. of [`read_jsonl`].
        **arguments: those of the pipeline's calls, e.g. `batch_size`.

    Returns:
        [`Calibration`]: the temperature with the smallest negative log-likelihood, and the logistic regression of
        "this option is right" on `yes - no`. The config is left as it is; see [`Calibration.write_to`].

    Raises:
        ValueError: if there are no examples, or if *yes* does not speak for an option: nothing could repair that.
    """
    from scipy.optimize import minimize_scalar
    from sklearn.linear_model import LogisticRegression

    data_sets = {name: examples for name, examples in data_sets.items() if len(examples)}
    if not data_sets:
        raise ValueError("`data_sets` holds no examples to calibrate on.")
    log_scores: list[tuple[np.ndarray, int, float]] = []
    margins: list[float] = []
    is_right: list[bool] = []
    weights: list[float] = []
    for examples in data_sets.values():
        one_of_all = unimc_classifier(pipeline, calibrated=False, **arguments)(examples)
        each_alone = unimc_classifier(pipeline, calibrated=False, multi_label=True, **arguments)(examples)
        for example, shares, scores in zip(examples, one_of_all, each_alone):
            log_scores.append((np.log(np.maximum(shares, 1e-30)), example["label"], 1 / len(examples)))
            clipped = np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE)
            margins.extend(np.log(clipped / (1 - clipped)))
            is_right.extend(option == example["label"] for option in range(len(scores)))
            weights.extend([1 / (len(examples) * len(scores))] * len(scores))

    def negative_log_likelihood(log_temperature: float) -> float:
        total = 0.0
        for row, label, weight in log_scores:
            scaled = row / np.exp(log_temperature)
            total += weight * (np.logaddexp.reduce(scaled) - scaled[label])
        return total

    found = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    # No penalty to speak of: two numbers from thousands of options need none.
    regression = LogisticRegression(C=1e6).fit(
        np.array(margins)[:, None], np.array(is_right), sample_weight=np.array(weights) * len(weights)
    )
    scale = float(regression.coef_[0, 0])
    if scale <= 0:
        raise ValueError("`data_sets`: options with a higher yes - no are right less often; this model cannot answer.")
    return Calibration(
        softmax_temperature=round(float(np.exp(found.x)), 4),
        sigmoid_scale=round(scale, 4),
        sigmoid_bias=round(float(regression.intercept_[0]), 4),
    )


__all__ = ["Calibration", "calibrate"]
