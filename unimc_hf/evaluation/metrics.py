"""How good a classifier is on labelled examples: accuracy, macro-F1 and calibration, each with an interval.

A classifier is any function from examples to one list of probabilities per example, in the order of its options, so
that UniMC, a baseline and another library's pipeline are measured by the same code. Needs scikit-learn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .jsonl_examples import Example

Classifier = Callable[[Sequence[Example]], list[list[float]]]

CALIBRATION_BINS = 15
BOOTSTRAP_SAMPLES = 1000


@dataclass
class Evaluation:
    """
    Figures of one classifier on one data set; intervals are 95 %, by bootstrap over the examples.

    Args:
        accuracy, macro_f1: shares in [0, 1].
        calibration_error: expected calibration error of the best option's probability, 15 bins of equal width.
        texts_per_second: of the whole call, tokenisation included.
    """

    rows: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    calibration_error: float
    calibration_error_interval: tuple[float, float]
    texts_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """The figures, rounded to four digits for a JSON file that people read."""
        rounded = {k: [round(x, 4) for x in v] if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in rounded.items()}


def evaluate(classifier: Classifier, examples: Sequence[Example], seed: int = 0) -> Evaluation:
    """Measure a classifier.

    Args:
        classifier: see the module.
        examples: with `options` and `label`, e.g. of [`read_jsonl`].
        seed: of the bootstrap.

    Raises:
        TypeError, ValueError: as [`check_labels`], before the classifier is called; if there are no examples, or the
            classifier gave another number of answers.
    """
    if not examples:
        raise ValueError("`examples` is empty: nothing to evaluate.")
    check_labels(examples)
    start = time.perf_counter()
    probabilities = classifier(examples)
    seconds = time.perf_counter() - start
    if [len(row) for row in probabilities] != [len(example["options"]) for example in examples]:
        raise ValueError("`classifier` did not give one probability per option of every example.")

    labels, predicted, confidence = _answers(examples, probabilities)
    right = predicted == labels

    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, len(labels), len(labels)) for _ in range(BOOTSTRAP_SAMPLES)]
    return Evaluation(
        rows=len(labels),
        accuracy=float(right.mean()),
        accuracy_interval=_interval([right[i].mean() for i in samples]),
        macro_f1=_macro_f1(labels, predicted),
        macro_f1_interval=_interval([_macro_f1(labels[i], predicted[i]) for i in samples[:200]]),
        calibration_error=calibration_error(confidence, right),
        calibration_error_interval=_interval([calibration_error(confidence[i], right[i]) for i in samples]),
        texts_per_second=len(labels) / seconds,
    )


def option_metrics(
    examples: Sequence[Example], probabilities: Sequence[Sequence[float]], per_class: bool = False
) -> dict[str, float]:
    """The figures of [`evaluate`] without intervals, fast enough for every evaluation of a training run.

    Args:
        examples, probabilities: as there.
        per_class: whether to add `recall_<class>`: the share of a class's examples that are found. A class is named
            after its option where the label set is fixed, else after its index in the menu.

    Raises:
        TypeError, ValueError: as [`check_labels`].
    """
    check_labels(examples)
    labels, predicted, confidence = _answers(examples, probabilities)
    figures = {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": _macro_f1(labels, predicted),
        "calibration_error": calibration_error(confidence, predicted == labels),
    }
    if per_class:
        from sklearn.metrics import recall_score

        present = np.unique(labels)
        recalls = recall_score(labels, predicted, labels=present, average=None, zero_division=0)
        # In a fixed label set, classes are counted in the order of the first example's options.
        names = examples[0]["options"] if has_fixed_labels(examples) else range(int(present.max()) + 1)
        figures |= {f"recall_{names[c]}": float(recall) for c, recall in zip(present, recalls)}
    return figures


def check_labels(examples: Sequence[Example]) -> None:
    """Raise a `TypeError` or `ValueError` unless the `label` of every example is the index of one of its `options`."""
    for number, example in enumerate(examples):
        label = example.get("label")
        if label is None:
            raise ValueError(f"`examples` holds one without a `label`, number {number}.")
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
            raise TypeError(f"`label` of example {number} must be the index of the right option, got {label!r}.")
        if not 0 <= label < len(example["options"]):
            raise ValueError(
                f"`label` of example {number} is {label}, but there are {len(example['options'])} options."
            )


def none_fits_auroc(examples: Sequence[Example], scores: Sequence[Sequence[float]]) -> float:
    """How well the best option's score tells texts that a label fits from texts that none fits: the AUROC.

    0.5 is chance; at 1.0 one threshold separates them all. It is used before a `threshold` is chosen for the pipeline
    with `multi_label=True`, and after training with examples that no option fits.

    Args:
        examples: with `options` and `label`; one number per option, all 0, says that none fits. Examples whose label is
            -100 are left out.
        scores: one per option of every example, `sigmoid(yes - no)`: those of the pipeline with `multi_label=True`.

    Raises:
        ValueError: if lengths do not match, or unless there are examples of both kinds.
    """
    from sklearn.metrics import roc_auc_score

    if [len(row) for row in scores] != [len(example["options"]) for example in examples]:
        raise ValueError("`scores` must have one number per option of every example.")
    labels = [example["label"] for example in examples]
    known = [(label, max(row)) for label, row in zip(labels, scores) if not isinstance(label, int) or label != -100]
    fits = [isinstance(label, int) or any(label) for label, _ in known]
    if len(set(fits)) != 2:
        raise ValueError("`examples` must hold texts that a label fits and texts that none fits.")
    return float(roc_auc_score(fits, [best for _, best in known]))


def _answers(
    examples: Sequence[Example], probabilities: Sequence[Sequence[float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(right class, predicted class, probability of the best option) of every example."""
    classes = option_classes(examples)
    labels = np.array([row[example["label"]] for row, example in zip(classes, examples)])
    predicted = np.array([row[int(np.argmax(scores))] for row, scores in zip(classes, probabilities)])
    return labels, predicted, np.array([max(row) for row in probabilities], dtype=float)


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """Which of the bins of equal width each probability falls into, counted from 0."""
    return np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3): |accuracy - confidence| averaged over bins."""
    bins = calibration_bins(confidence)
    gaps = np.bincount(bins, weights=right.astype(float) - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def has_fixed_labels(examples: Sequence[Example]) -> bool:
    """Whether all examples have the same options, in whatever order."""
    return len({tuple(sorted(example["options"])) for example in examples}) == 1


def option_classes(examples: Sequence[Example]) -> list[list[int]]:
    """The class of every option of every example: its text in a fixed label set, else its index in the menu."""
    if not has_fixed_labels(examples):
        return [list(range(len(example["options"]))) for example in examples]
    class_of = {option: i for i, option in enumerate(examples[0]["options"])}
    return [[class_of[option] for option in example["options"]] for example in examples]


def _macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


__all__ = [
    "Classifier",
    "Evaluation",
    "calibration_bins",
    "calibration_error",
    "check_labels",
    "evaluate",
    "has_fixed_labels",
    "none_fits_auroc",
    "option_classes",
    "option_metrics",
]
