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

from ..loading.configuration_checks import check_calibration
from .classifiers import unimc_classifier
from .jsonl_examples import Example
from .metrics import check_labels

# sigmoid(yes - no) rounds to 0 or 1 in float32 where the margin is beyond about 16.
SMALLEST_SCORE = 1e-7


@dataclass(frozen=True)
class Calibration:
    """The calibration of a [`UniMCConfig`]; see there for how each number is used."""

    softmax_temperature: float = 1.0
    sigmoid_scale: float = 1.0
    sigmoid_bias: float = 0.0

    def write_to(self, config: Any) -> None:
        """Set the three attributes of a [`UniMCConfig`]; the pipeline applies them from then on.

        Raises:
            ValueError: if one is outside the range that a config may hold; the config is as it was then.
        """
        check_calibration(self)
        for name, value in asdict(self).items():
            setattr(config, name, value)

    def softmax(self, log_shares: np.ndarray) -> np.ndarray:
        """Calibrated scores of options of which one is right, from the logarithms of those as trained."""
        scaled = log_shares / self.softmax_temperature
        return np.exp(scaled - np.logaddexp.reduce(scaled))

    def sigmoid(self, margins: np.ndarray) -> np.ndarray:
        """Calibrated scores of options on their own, from `yes - no`."""
        return 1 / (1 + np.exp(-(self.sigmoid_scale * margins + self.sigmoid_bias)))


@dataclass(frozen=True)
class ScoredExample:
    """What a model said as trained: logarithms of the softmax over the options, `yes - no` of each, and the label.

    The label is the index of the right option, or `None` where the example has none; [`fit_calibration`] needs it.
    """

    log_shares: np.ndarray
    margins: np.ndarray
    label: Any


ScoredDataSets = dict[str, list[ScoredExample]]


def score_data_sets(pipeline: Any, data_sets: Mapping[str, Sequence[Example]], **arguments: Any) -> ScoredDataSets:
    """Score examples without calibration; data sets without examples are left out. Arguments as in [`calibrate`]."""
    scored: ScoredDataSets = {}
    for name, examples in data_sets.items():
        if not examples:
            continue
        one_of_all = unimc_classifier(pipeline, calibrated=False, multi_label=False, **arguments)(examples)
        each_alone = unimc_classifier(pipeline, calibrated=False, multi_label=True, **arguments)(examples)
        scored[name] = []
        for example, shares, scores in zip(examples, one_of_all, each_alone):
            clipped = np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE)
            margins = np.log(clipped) - np.log1p(-clipped)
            scored[name].append(ScoredExample(np.log(np.maximum(shares, 1e-30)), margins, example.get("label")))
    return scored


def fit_calibration(scored: ScoredDataSets) -> Calibration:
    """
    Fit a calibration; every data set weighs the same, in it every example, and in that every option.

    Args:
        scored: of [`score_data_sets`].

    Returns:
        [`Calibration`]: the temperature with the smallest negative log-likelihood, and the logistic regression of
        "this option is right" on `yes - no`.

    Raises:
        ValueError: if there are no examples, or if *yes* does not speak for an option, or so little that a number is
            outside the range that a [`UniMCConfig`] may hold: nothing could repair that.
    """
    from scipy.optimize import minimize_scalar
    from sklearn.linear_model import LogisticRegression

    if not scored:
        raise ValueError("`data_sets` holds no examples to calibrate on.")

    def negative_log_likelihood(log_temperature: float) -> float:
        calibration = Calibration(softmax_temperature=float(np.exp(log_temperature)))
        return sum(
            -np.log(max(calibration.softmax(example.log_shares)[example.label], 1e-30)) / len(examples)
            for examples in scored.values()
            for example in examples
        )

    found = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    rows = [(example, len(examples)) for examples in scored.values() for example in examples]
    margins = np.concatenate([example.margins for example, _ in rows])
    is_right = np.concatenate([np.arange(len(example.margins)) == example.label for example, _ in rows])
    weights = np.concatenate([np.full(len(e.margins), 1 / (count * len(e.margins))) for e, count in rows])
    # No penalty to speak of: two numbers from thousands of options need none.
    regression = LogisticRegression(C=1e6).fit(margins[:, None], is_right, weights * len(weights))
    scale = float(regression.coef_[0, 0])
    if scale <= 0:
        raise ValueError("`data_sets`: options with a higher yes - no are right less often; this model cannot answer.")
    calibration = Calibration(
        softmax_temperature=round(float(np.exp(found.x)), 4),
        sigmoid_scale=round(scale, 4),
        sigmoid_bias=round(float(regression.intercept_[0]), 4),
    )
    try:
        check_calibration(calibration)
    except ValueError as error:
        message = f"`data_sets`: yes - no hardly tells their options apart: {error} This model cannot answer."
        raise ValueError(message) from None
    return calibration


def calibrate(pipeline: Any, data_sets: Mapping[str, Sequence[Example]], **arguments: Any) -> Calibration:
    """
    Fit a calibration of a model; see [`fit_calibration`] for how, and for what it raises.

    Args:
        pipeline ([`UniMCZeroShotPipeline`]): the model. What its config says already is not applied, and the config
            is left as it is; see [`Calibration.write_to`].
        data_sets: name -> examples with `options` and an integer `label`, e.g. of [`read_jsonl`].
        **arguments: those of the pipeline's calls, e.g. `batch_size`.

    Raises:
        TypeError, ValueError: also as [`check_labels`], before anything is scored.
    """
    for examples in data_sets.values():
        check_labels(examples)
    return fit_calibration(score_data_sets(pipeline, data_sets, **arguments))


__all__ = ["Calibration", "ScoredExample", "calibrate", "fit_calibration", "score_data_sets"]
