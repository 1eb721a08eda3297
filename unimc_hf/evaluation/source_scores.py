"""The `compute_metrics` of a training that is watched on rows of several sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from transformers import EvalPrediction


def scores_by_source(sources: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """A `compute_metrics` for examples in the order of `sources`: macro-F1 of each, and the means.

    Rows with the label -100, which have none, do not count, nor do sources without any other; with no label at all
    there are no scores.

    Accuracy would reward a model that always gives the commonest answer of a task that it cannot do.
    """
    from sklearn.metrics import f1_score

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Trainer pads menus of different batches with -100, which is no logit.
        logits = np.where(prediction.predictions == -100, -np.inf, prediction.predictions)
        predicted, labels = np.argmax(logits, axis=-1), np.asarray(prediction.label_ids)
        known = {source: (np.array(sources) == source) & (labels != -100) for source in dict.fromkeys(sources)}
        rows = {source: row for source, row in known.items() if row.any()}
        if not rows:
            return {}
        accuracy = [float((predicted[row] == labels[row]).mean()) for row in rows.values()]
        scores = {
            source: f1_score(labels[row], predicted[row], labels=np.unique(labels[row]), average="macro")
            for source, row in rows.items()
        }
        means = {"mean_macro_f1": float(np.mean(list(scores.values()))), "mean_accuracy": float(np.mean(accuracy))}
        return {**means, **scores}

    return compute


__all__ = ["scores_by_source"]
