# /// script
# dependencies = ["unimc_hf", "matplotlib"]
# ///
"""
Time and memory of one text by the number of labels: linear, so twice the labels cost about twice as much.

    python examples/benchmark/scaling.py --output examples/benchmark/results/scaling.json

About three minutes on two cores. MiniLM size, random weights, one text of about 50 words; every count in a process of
its own, whose peak memory is compared with that of a process that has loaded the model and classified with two labels.
The processes of a contender answer in turn. Tensors over 32 MiB are mapped anew each time by glibc, a step at about
1,500 labels; "memory kept" are the same processes with `keep_freed_memory`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from processes import KEEP_FREED_MEMORY, Process
from workload import make_labels, make_texts

from unimc_hf.command_line.table import format_table

FEW = 2


def measure(contender: str, counts: list[int], rounds: int, environment: dict[str, str]) -> dict[str, Any]:
    """Seconds, and MiB above those of a call with two labels, for each number of labels."""
    text, rows = make_texts(1), {}
    processes = {count: Process(contender, "minilm", environment=environment) for count in counts}
    idles = {
        count: max(process(text, make_labels(FEW))["peak_memory"] for _ in range(2))
        for count, process in processes.items()
    }
    calls: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, process in processes.items():
            calls[count].append(process(text, make_labels(count)))
    for count, answers in calls.items():
        processes[count].stop()
        idle = idles[count]
        rows[str(count)] = {
            "tokens": answers[0]["tokens"],
            "seconds": round(statistics.median(answer["seconds"] for answer in answers[1:]), 4),
            "peak_memory_mb": round(max(answer["peak_memory"] for answer in answers) / 2**20),
            "added_memory_mb": round((max(answer["peak_memory"] for answer in answers) - idle) / 2**20),
        }
    return rows


def table(figures: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [
        ("contender", "labels", "tokens", "seconds", "growth", "added MB", "growth", "peak MB")
    ]
    for name, parts in figures["contenders"].items():
        before: dict[str, Any] = {}
        for count, row in parts.items():
            growth = [f"{row[key] / before[key]:.2f}" if before else "" for key in ("seconds", "added_memory_mb")]
            rows.append((
                name, count, str(row["tokens"]), f"{row['seconds']:.3f}", growth[0],
                str(row["added_memory_mb"]), growth[1], str(row["peak_memory_mb"]),
            ))  # fmt: skip
            before = row
    return format_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contenders", nargs="+", default=["unimc bfloat16", "unimc float32"])
    parser.add_argument("--labels", nargs="+", type=int, default=[250, 500, 1000, 2000, 5000])
    parser.add_argument("--rounds", type=int, default=8, help="calls; the first warms up")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    contenders = {
        name + suffix: measure(name, arguments.labels, arguments.rounds, environment)
        for name in arguments.contenders
        for suffix, environment in (("", {}), (", memory kept", KEEP_FREED_MEMORY))
    }
    figures = {"torch": torch.__version__, "threads": torch.get_num_threads(), "contenders": contenders}
    print(table(figures))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
