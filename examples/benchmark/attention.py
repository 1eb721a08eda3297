# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Time one attention layer, forward and backward, by the fused kernel and by plain matrix products (a few seconds).

    python examples/benchmark/attention.py

Milliseconds for 4,096 tokens in bfloat16 with the heads of MiniLM (12 of 32), medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from unimc_hf.command_line.table import format_table
from unimc_hf.option_attention import NAME
from unimc_hf.training.freed_memory import keep_freed_memory

TOKENS, HEADS, HEAD_DIM, RUNS = 4096, 12, 32, 15


def seconds(name: str, length: int, backward: bool) -> float:
    shape = (TOKENS // length, HEADS, length, HEAD_DIM)
    query, key, value = (torch.randn(shape, dtype=torch.bfloat16, requires_grad=backward) for _ in range(3))
    mask = torch.zeros(shape[0], 1, length, length, dtype=torch.bfloat16)
    module = torch.nn.Module()
    module.is_causal = False
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        output, _ = ALL_ATTENTION_FUNCTIONS[name](module, query, key, value, mask, scaling=HEAD_DIM**-0.5)
        if backward:
            output.sum().backward()
    return time.perf_counter() - start


def table() -> str:
    rows: list[tuple[str, ...]] = [("tokens", "pass", "sdpa, ms", "products, ms", "ratio")]
    for length in (32, 64, 128, 256, 512):
        for backward in (False, True):
            times: dict[str, list[float]] = {"sdpa": [], NAME: []}
            for _ in range(RUNS):
                for name, measured in times.items():
                    measured.append(seconds(name, length, backward))
            sdpa, products = (statistics.median(measured) * 1000 for measured in times.values())
            kind = "forward + backward" if backward else "forward"
            rows.append((str(length), kind, f"{sdpa:.1f}", f"{products:.1f}", f"{sdpa / products:.1f}"))
    return format_table(rows)


def main() -> None:
    print(f"memory mapped anew\n\n{table()}")
    if keep_freed_memory():
        print(f"\nfreed memory kept\n\n{table()}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
