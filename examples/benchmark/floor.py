# /// script
# dependencies = ["unimc_hf", "gliclass"]
# ///
"""
Where a classifier's time goes, and how fast this machine could be at most: what is left to gain, cell by cell.

    pip install gliclass
    python examples/benchmark/floor.py --output examples/benchmark/results/floor.json

About three minutes on two cores. Milliseconds a text, at equal backbone size and random weights as in `speed.py`:
"measured" without the profiler, then the operators' own times under `torch.profiler`, by group ("moved" also has views
and allocations); "Python" is the rest: tokenizing, batching and the calls around the operators. Two floors: "matrix" is
what the linear layers of the unpadded tokens need at the rate of this machine's largest product of a layer, "memory"
what reading and writing the activations of unfused operators needs at the rate of a copy. "At most" is measured over
matrix: how many times as fast a program could be whose every other operator, the tokenizer and Python cost nothing. Our
last layer computes the options' rows only, so its linear layers may need less than the floor. Contenders are measured
one after the other: read the parts of a row, and take ratios between them from `speed.py`, which interleaves them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from contenders import BUILDERS, OURS, PRECISIONS, SIZES, TokenCount, matrix_parameters
from speed import LATENCY_LABELS, best_seconds, gemm_rate
from torch.profiler import ProfilerActivity, profile
from workload import make_labels, make_texts

from unimc_hf.command_line.table import format_table

SIZE = "minilm"
ALONE = 20  # texts that are asked one at a time
# Of an operator's name, the first part that fits.
GROUPS = {
    "linear": ("addmm", "mkldnn_linear", "linear_pointwise", "aten::mm", "aten::linear"),
    "attention": ("attention", "bmm", "softmax"),
    "gelu": ("gelu",),
    "norm": ("layer_norm",),
    "moved": ("copy", "cat", "index", "gather", "embedding", "clone", "select", "slice", "view", "transpose", "empty"),
}
OTHER = "other operators"


def group_of(operator: str) -> str:
    return next((group for group, parts in GROUPS.items() if any(part in operator for part in parts)), OTHER)


def copy_rate(dtype: torch.dtype) -> float:
    """Bytes read and written a second by a copy of the largest activation of 4,096 tokens, the best of ten."""
    source = torch.zeros(4096, SIZES[SIZE]["intermediate_size"], dtype=dtype)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source))


def activation_bytes(dtype: torch.dtype) -> int:
    """Bytes a token that the operators of all layers read and write, each by itself, without attention's scores."""
    hidden, inner = SIZES[SIZE]["hidden_size"], SIZES[SIZE]["intermediate_size"]
    projections = (hidden + 3 * hidden) + (3 * hidden + hidden) + 2 * hidden  # to q, k, v; attention; its output
    feed_forward = (hidden + inner) + 2 * inner + (inner + hidden)
    sums_and_norms = 2 * (3 * hidden + 2 * hidden)
    return SIZES[SIZE]["num_hidden_layers"] * (projections + feed_forward + sums_and_norms) * dtype.itemsize


def operator_seconds(call: Any) -> dict[str, float]:
    """Own seconds of the operators of a call, by group."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        call()
    seconds = dict.fromkeys([*GROUPS, OTHER], 0.0)
    for event in profiled.key_averages():
        seconds[group_of(event.key)] += event.self_cpu_time_total / 1e6
    return seconds


def cell(classify: Any, tokens: TokenCount, calls: list[list[str]], labels: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds a text: the median round of `calls`, each with its texts, and the operators of one round."""

    def call() -> None:
        for texts in calls:
            classify(texts, labels)

    call()  # the warm-up
    tokens.real = 0
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    count, real, measured = sum(map(len, calls)), tokens.real / rounds, statistics.median(times)
    operators = operator_seconds(call)
    operators["Python"] = max(0.0, measured - sum(operators.values()))
    return {
        "tokens": round(real / count, 1),
        **{name: round(1000 * seconds / count, 3) for name, seconds in {"measured": measured, **operators}.items()},
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "precisions": {}}
    for precision in PRECISIONS:
        dtype = getattr(torch, precision)
        rates = {"matrix": gemm_rate(dtype, SIZE, "cpu"), "copy": copy_rate(dtype)}
        rows: dict[str, Any] = {}
        for name in arguments.contenders:
            torch.manual_seed(0)
            model, classify = BUILDERS[name](SIZE, dtype, "cpu")
            tokens = TokenCount(model)
            flops = 2 * matrix_parameters(model)
            asked = {f"{n} labels": ([make_texts(arguments.texts)], make_labels(n)) for n in arguments.labels}
            asked["one text"] = ([[text] for text in make_texts(ALONE)], make_labels(LATENCY_LABELS))
            for title, (calls, labels) in asked.items():
                row = cell(classify, tokens, calls, labels, arguments.rounds)
                matrix = 1000 * row["tokens"] * flops / rates["matrix"]
                memory = 1000 * row["tokens"] * activation_bytes(dtype) / rates["copy"]
                row |= {"matrix floor": round(matrix, 3), "memory floor": round(memory, 3)}
                rows.setdefault(title, {})[name] = row | {"at most": round(row["measured"] / matrix, 2)}
        figures["precisions"][precision] = {
            "gflops": round(rates["matrix"] / 1e9), "copy_gigabytes": round(rates["copy"] / 1e9, 1), "cells": rows
        }  # fmt: skip
    return figures


def table(figures: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = []
    for precision, part in figures["precisions"].items():
        for title, contenders in part["cells"].items():
            for name, row in contenders.items():
                rows = rows or [("asked", "contender", *row)]
                rows.append((title, f"{name} {precision}", *map(str, row.values())))
    return format_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", nargs="+", type=int, default=[4, 14, 77])
    parser.add_argument("--contenders", nargs="+", default=[OURS, "gliclass"], choices=list(BUILDERS))
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    figures = measure(arguments)
    print(table(figures))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
