# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
When attention by blocks of options pays: one forward pass (or training step) with the whole table, and with blocks.

    python examples/benchmark/crossover.py --output examples/benchmark/results/crossover.json

About three minutes. Every menu shape is a batch of random tokens of about 2,048; times are medians of interleaved runs.
"scores" is the whole table over what the blocks compute. `SAVING` of `unimc_hf/option_attention.py` is the value of it
from which on "gain" is above one in float32: one compromise for all processors. Shorter batches than `SHORTEST` save
too little either way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from unittest.mock import patch

import torch
from contenders import SIZES, bert_config

from unimc_hf import UniMCConfig, UniMCForMultipleChoice
from unimc_hf.command_line.table import format_table
from unimc_hf.option_attention import option_blocks_if_cheaper

TOKENS, RUNS = 2048, 3
# options, tokens of an option with its [MASK], tokens of the text
MENUS = [(4, 4, 60), (14, 4, 60), (28, 4, 60), (60, 4, 30), (60, 4, 120), (77, 4, 60), (150, 4, 60), (400, 4, 60)]
MENUS += [(8, 16, 60), (24, 16, 60), (8, 40, 200), (4, 60, 200), (24, 4, 300)]


def make_batch(num_choices: int, option_length: int, text_length: int) -> dict[str, torch.Tensor]:
    """Random token ids; every option has the same length."""
    text = torch.zeros(text_length, dtype=torch.long)
    option_ids = torch.cat([text[:1], torch.arange(1, num_choices + 1).repeat_interleave(option_length), text[1:]])
    size = max(1, TOKENS // len(option_ids))
    return {
        "input_ids": torch.randint(1000, 20000, (size, len(option_ids))),
        "option_ids": option_ids.expand(size, -1),
        "option_positions": (1 + torch.arange(num_choices) * option_length).expand(size, -1),
        "attention_mask": torch.ones(size, len(option_ids), dtype=torch.long),
    }


def seconds(model: UniMCForMultipleChoice, batch: dict[str, torch.Tensor], blocks: bool, train: bool) -> float:
    start = time.perf_counter()
    limits = {"SHORTEST": 0, "SAVING": 0.0} if blocks else {"SHORTEST": 10**9}
    with patch.multiple("unimc_hf.option_attention", **limits), torch.set_grad_enabled(train):
        logits = model(**batch).logits
        if train:
            logits.float().logsumexp(-1).sum().backward()
    return time.perf_counter() - start


def scores_of_blocks(batch: dict[str, torch.Tensor]) -> int:
    """How many scores an example needs with blocks; the whole table has its length squared."""
    option_ids, num_choices = batch["option_ids"], batch["option_positions"].shape[1]
    with patch.multiple("unimc_hf.option_attention", SHORTEST=0, SAVING=0.0):
        blocks = option_blocks_if_cheaper(option_ids, batch["attention_mask"], num_choices, torch.float32)
    in_blocks = blocks.tokens.index[0].numel() * blocks.key_index.shape[2]
    return in_blocks + blocks.text_index.shape[1] * option_ids.shape[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="minilm", choices=list(SIZES))
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    config = UniMCConfig(
        bert_config(arguments.size, attention_probs_dropout_prob=0.0), yes_token_id=2748, no_token_id=2053
    )
    figures = []
    for dtype, train in ((torch.bfloat16, False), (torch.float32, False), (torch.bfloat16, True)):
        model = UniMCForMultipleChoice(config).to(dtype).train(train)
        for menu in MENUS:
            batch = make_batch(*menu)
            times: dict[bool, list[float]] = {False: [], True: []}
            for run in range(RUNS + 1):
                for blocks, measured in times.items():
                    taken = seconds(model, batch, blocks, train)
                    if run:  # the first warms up
                        measured.append(taken)
            length = batch["input_ids"].shape[1]
            gain = statistics.median(times[False]) / statistics.median(times[True])
            figures.append(
                {
                    "pass": f"{str(dtype).removeprefix('torch.')}{', training' if train else ''}",
                    "menu": list(menu),
                    "length": length,
                    "scores": round(length**2 / scores_of_blocks(batch), 2),
                    "gain": round(gain, 2),
                }
            )
    figures.sort(key=lambda row: (row["pass"], row["scores"]))
    rows = [("pass", "options x tokens + text", "length", "scores", "gain")]
    rows += [
        (row["pass"], "{} x {} + {}".format(*row["menu"]), f"{row['length']}", f"{row['scores']}", f"{row['gain']}")
        for row in figures
    ]
    print(format_table(rows))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
