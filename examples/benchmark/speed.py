# /// script
# dependencies = ["unimc_hf", "gliclass", "matplotlib"]
# ///
"""
Speed of zero-shot classifiers on this machine: same backbone size, random weights, all in one run, interleaved.

    pip install gliclass matplotlib
    python examples/benchmark/speed.py --output examples/benchmark/results/speed.json \
        --plot examples/benchmark/results/speed.png

About 40 minutes on two cores, a third of it for `--seconds 6 --rounds 2`. Every contender has a process of its own; in
each round each of them classifies the same texts once, and medians over the rounds are reported. Every contender runs
in both precisions, and is compared at equal precision. `--device cuda` runs the same table on a GPU. A contender that
would take longer than `--seconds` for all texts gets as many as fit. "GEMM share" is what the linear layers of its
unpadded tokens need, over what the machine's faster matrix product does in the same time at the same precision.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from contenders import CONTENDERS, OURS, PRECISIONS, SIZES
from processes import Process
from workload import make_labels, make_texts

from unimc_hf.command_line.table import format_table
from unimc_hf.deployment.linear_layers import OneDnnLinear, onednn_is_faster

LATENCY_LABELS = 14


def best_seconds(call: Callable[[], Any], device: str = "cpu") -> float:
    """Of ten calls, after two that warm up."""
    times = []
    for _ in range(12):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[2:])


def gemm_rate(dtype: torch.dtype, size: str, device: str) -> float:
    """FLOPs a second of this machine for the largest product of a layer, the best of ten, by its faster library."""
    rows, inner, outer = 4096, SIZES[size]["hidden_size"], SIZES[size]["intermediate_size"]
    left, right = (torch.randn(n, inner, dtype=dtype, device=device) for n in (rows, outer))
    with torch.inference_mode(), OneDnnLinear() if onednn_is_faster() else nullcontext():
        return 2 * rows * inner * outer / best_seconds(lambda: torch.nn.functional.linear(left, right), device)


def throughput(
    processes: dict[str, Process], texts: list[str], labels: list[str], rounds: int, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """Answers of every contender, a list over the rounds, each with the number of texts it was given."""
    counts = {}
    for name, process in processes.items():
        probe = process(texts[:1], labels)["seconds"]  # also the warm-up
        if probe < seconds / 4:
            probe = process(texts[:4], labels)["seconds"] / 4
        counts[name] = max(1, min(len(texts), int(seconds / probe)))
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in processes}
    for _ in range(rounds):
        for name, process in processes.items():
            answers[name].append({**process(texts[: counts[name]], labels), "texts": counts[name]})
    return answers


def summarise(answers: list[dict[str, Any]], matrix_parameters: int, gemm: float) -> dict[str, Any]:
    speed = statistics.median(a["texts"] / a["seconds"] for a in answers)
    useful = statistics.median(2 * matrix_parameters * a["tokens"] / a["seconds"] for a in answers)
    return {
        "texts": answers[0]["texts"],
        "texts_per_second": round(speed, 3),
        "padding": round(1 - answers[0]["tokens"] / answers[0]["padded_tokens"], 4),
        "peak_memory_mb": round(max(a["peak_memory"] for a in answers) / 2**20),
        "gemm_share": round(useful / gemm, 4),
    }


def latency(process: Process, texts: list[str], labels: list[str], seconds: float) -> dict[str, Any]:
    """Milliseconds of calls with one text each."""
    process(texts[:1], labels)
    times: list[float] = []
    while len(times) < len(texts) and (len(times) < 20 or sum(times) < seconds):
        times.append(process([texts[len(times)]], labels)["seconds"])
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return {"calls": len(times), "p50_ms": round(percentiles[49] * 1000, 2), "p99_ms": round(percentiles[98] * 1000, 2)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    texts = make_texts(arguments.texts)
    figures: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "sizes": {}}
    if arguments.device != "cpu":
        figures["device"] = torch.cuda.get_device_name()
    for size in arguments.sizes:
        gemm = {dtype: gemm_rate(getattr(torch, dtype), size, arguments.device) for dtype in PRECISIONS}
        processes = {name: Process(name, size, arguments.device) for name in arguments.contenders}
        rows: dict[str, Any] = {}
        for count in arguments.labels:
            answers = throughput(processes, texts, make_labels(count), arguments.rounds, arguments.seconds)
            rows[str(count)] = {
                name: summarise(answers[name], processes[name].matrix_parameters, gemm[name.rpartition(" ")[2]])
                for name in processes
            }
            print(
                f"{size}, {count} labels", {n: r["texts_per_second"] for n, r in rows[str(count)].items()}, flush=True
            )
        labels = make_labels(LATENCY_LABELS)
        figures["sizes"][size] = {
            "gemm_gflops": {dtype: round(rate / 1e9) for dtype, rate in gemm.items()},
            "labels": rows,
            "one_text_at_a_time": {name: latency(p, texts, labels, arguments.seconds) for name, p in processes.items()},
        }
        for process in processes.values():
            process.stop()
    return figures


def ratios(figures: dict[str, Any]) -> str:
    """How many times as fast as each peer we are at equal precision: throughput by labels, then one text at a time."""
    rows: list[tuple[str, ...]] = []
    for size, parts in figures["sizes"].items():
        rows = rows or [("size", "against", *[f"{count} labels" for count in parts["labels"]], "one text")]
        alone = parts["one_text_at_a_time"]
        for name in alone:
            ours = f"{OURS} {name.rpartition(' ')[2]}"
            if name == ours or ours not in alone:
                continue
            speeds = [row[ours]["texts_per_second"] / row[name]["texts_per_second"] for row in parts["labels"].values()]
            rows.append((size, name, *[f"{r:.2f}" for r in [*speeds, alone[name]["p50_ms"] / alone[ours]["p50_ms"]]]))
    return format_table(rows)


def table(figures: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [
        ("size", "labels", "contender", "texts/s", "ratio", "padding", "peak MB", "GEMM share", "p50 ms", "p99 ms")
    ]
    for size, parts in figures["sizes"].items():
        for count, contenders in parts["labels"].items():
            slowest = min(row["texts_per_second"] for row in contenders.values())
            for name, row in contenders.items():
                alone = parts["one_text_at_a_time"][name] if int(count) == LATENCY_LABELS else {}
                speed = row["texts_per_second"]
                rows.append((
                    size, count, name, f"{speed:.2f}", f"{speed / slowest:.1f}", f"{row['padding']:.0%}",
                    str(row["peak_memory_mb"]), f"{row['gemm_share']:.0%}",
                    str(alone.get("p50_ms", "")), str(alone.get("p99_ms", "")),
                ))  # fmt: skip
    return format_table(rows)


def draw(figures: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sizes = figures["sizes"]
    figure, panels = plt.subplots(1, len(sizes), figsize=(4.6 * len(sizes), 3.8), layout="constrained", squeeze=False)
    for axes, (size, parts) in zip(panels[0], sizes.items()):
        counts = [int(count) for count in parts["labels"]]
        for name in next(iter(parts["labels"].values())):
            speeds = [parts["labels"][str(count)][name]["texts_per_second"] for count in counts]
            axes.loglog(counts, speeds, marker="o", markersize=4, label=name)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_title(f"{size}, random weights", fontsize=10)
        axes.set_xlabel("labels")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("texts a second")
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--labels", nargs="+", type=int, default=[4, 14, 77, 500])
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="for all texts of one contender, about")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--plot", type=Path, help="PNG file for the plot")
    arguments = parser.parse_args()
    figures = measure(arguments)
    print(table(figures))
    print(ratios(figures))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")
    if arguments.plot:
        draw(figures, arguments.plot)


if __name__ == "__main__":
    main()
