# /// script
# dependencies = ["unimc_hf[onnx,train]"]
# ///
"""
What bfloat16, compilation, onnxruntime and 8-bit integers gain in speed, and what they change in the answers.

    pip install ".[onnx,train]"
    python examples/benchmark/precision.py examples/written_tasks/english/evaluation/*.jsonl \
        --output examples/benchmark/results/precision.json

Every variant of the packaged model classifies the same rows; rounds are interleaved and the median speed is reported as
a multiple of float32's. "Agreement" is the share of rows with the same best option as float32 gives.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).parents[1] / "deploy"))

import numpy as np
import torch
from export_onnx import export, quantize
from transformers import pipeline

import unimc_hf
from unimc_hf import UniMCForMultipleChoice, UniMCTokenizer
from unimc_hf.command_line.table import format_table
from unimc_hf.deployment.onnx_model import onnx_pipeline
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.metrics import evaluate


def variants(folder: Path) -> dict[str, Any]:
    """Pipelines by name; float32 first, because the others are compared with it."""
    export(
        UniMCForMultipleChoice.from_pretrained(unimc_hf.DEFAULT_MODEL),
        UniMCTokenizer.from_pretrained(unimc_hf.DEFAULT_MODEL),
        folder,
    )
    quantize(folder)
    torch_variants = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        torch_variants[name] = pipeline("unimc-zero-shot", dtype=dtype, device="cpu")
        torch_variants[f"{name}, compiled"] = pipeline("unimc-zero-shot", dtype=dtype, device="cpu")
        torch_variants[f"{name}, compiled"].model.compile(dynamic=True)
    return {
        **torch_variants,
        "onnxruntime float32": onnx_pipeline(folder),
        "onnxruntime int8": onnx_pipeline(folder, "model.int8.onnx"),
    }


def measure(pipelines: dict[str, Any], data_sets: dict[str, list[Example]], rounds: int) -> dict[str, Any]:
    figures: dict[str, Any] = {name: {} for name in pipelines}
    for data_set, examples in data_sets.items():
        speeds: dict[str, list[float]] = {name: [] for name in pipelines}
        scores: dict[str, list[list[float]]] = {}
        for name, classify in pipelines.items():
            scores[name] = unimc_classifier(classify)(examples)  # also the warm-up
        for _ in range(rounds):
            for name, classify in pipelines.items():
                speeds[name].append(evaluate(unimc_classifier(classify), examples).texts_per_second)
        reference = scores["float32"]
        for name, rows in scores.items():
            same = [np.argmax(row) == np.argmax(other) for row, other in zip(rows, reference)]
            right = [np.argmax(row) == example["label"] for row, example in zip(rows, examples)]
            differences = [max(abs(a - b) for a, b in zip(row, other)) for row, other in zip(rows, reference)]
            figures[name][data_set] = {
                "texts_per_second": round(statistics.median(speeds[name]), 1),
                "agreement": round(float(np.mean(same)), 4),
                "largest_difference": round(max(differences), 5),
                "accuracy": round(float(np.mean(right)), 4),
            }
    return figures


def table(figures: dict[str, Any]) -> str:
    data_sets = list(figures["float32"])
    rows: list[tuple[str, ...]] = [("variant", "speed", "agreement", "largest difference", *data_sets)]
    for name, row in figures.items():
        ratios = [row[d]["texts_per_second"] / figures["float32"][d]["texts_per_second"] for d in data_sets]
        rows.append((
            name,
            f"{statistics.geometric_mean(ratios):.2f}x",
            f"{statistics.mean(row[d]['agreement'] for d in data_sets):.3f}",
            f"{max(row[d]['largest_difference'] for d in data_sets):.1e}",
            *[f"{row[d]['accuracy']:.3f}" for d in data_sets],
        ))  # fmt: skip
    return format_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help=".jsonl or .jsonl.gz files of the common format")
    parser.add_argument("--limit", type=int, default=400, help="rows of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    data_sets = {path.name.partition(".")[0]: read_jsonl(path, limit=arguments.limit) for path in arguments.files}
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(variants(Path(folder)), data_sets, arguments.rounds)
    print(table(figures))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
