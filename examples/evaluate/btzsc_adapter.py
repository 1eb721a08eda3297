# /// script
# dependencies = ["unimc_hf", "btzsc"]
# ///
"""
Run a UniMC model in the public BTZSC benchmark: 22 data sets, beside the packaged scores of NLI models, rerankers,
embedding models and large language models.

    pip install btzsc
    python examples/evaluate/btzsc_adapter.py --output btzsc.json

The data sets come from the Hub. `btzsc` brings gradio, sentence-transformers and more, so it is none of our
dependencies.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from btzsc import BaseModel, BTZSCBenchmark
from transformers import pipeline

import unimc_hf
from unimc_hf.pipeline_unimc import scores_in_order


class UniMCModel(BaseModel):
    """
    A UniMC pipeline as a BTZSC model.

    Args:
        model: folder or Hub name; the model inside the package if not given.
        **kwargs: those of [`~transformers.pipeline`], e.g. `dtype` or `device`.
    """

    model_type = "unimc"

    def __init__(self, model: str | None = None, **kwargs: Any) -> None:
        self.model_name = model or f"unimc_hf {unimc_hf.__version__}"
        self.pipeline = pipeline("unimc-zero-shot", model=model or unimc_hf.DEFAULT_MODEL, **kwargs)
        self.model = self.pipeline.model  # where the benchmark looks for precision, device and revision

    def predict_scores(self, texts: list[str], labels: list[str], batch_size: int = 32) -> np.ndarray:
        """Probability of every label, `(len(texts), len(labels))`, columns in the order of `labels`."""
        results = self.pipeline(texts, candidate_labels=labels, batch_size=batch_size)
        return np.array([scores_in_order(result, labels) for result in results])

    def predict(self, texts: list[str], labels: list[str], batch_size: int = 32) -> np.ndarray:
        """Index of the best label, `(len(texts),)`."""
        return self.predict_scores(texts, labels, batch_size).argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or Hub name of a UniMC model")
    parser.add_argument("--tasks", nargs="+", help="sentiment, emotion, intent, topic; all if not given")
    parser.add_argument("--max_samples", type=int, help="at most so many texts of each data set")
    parser.add_argument("--dtype", default="auto", help="precision, e.g. bfloat16")
    parser.add_argument("--output", type=Path, help="JSON file in the form of BTZSC's leaderboard")
    arguments = parser.parse_args()
    model = UniMCModel(arguments.model, dtype=arguments.dtype)
    results = BTZSCBenchmark(arguments.tasks).evaluate(model, max_samples=arguments.max_samples)
    print(results.per_dataset().to_string(index=False))
    print(results.summary().to_string(index=False))
    if arguments.output:
        results.to_json(arguments.output)


if __name__ == "__main__":
    main()
