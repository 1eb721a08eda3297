# /// script
# dependencies = ["unimc_hf", "matplotlib"]
# ///
"""
Draw how one example is laid out: its tokens, segments and positions, and who may attend to whom.

    python examples/draw_layout.py examples/layout.png

Everything in the picture is what the tokenizer and the model really compute for this example.
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap

from unimc_hf import DEFAULT_MODEL, UniMCTokenizer
from unimc_hf.option_structure import build_attention_mask, build_position_ids

TEXT, QUESTION, OPTIONS = "stocks fell sharply", "topic?", ["sports", "business news", "music"]
COLORS = ["#ffffff", "#c9d6e8", "#e8893c", "#3c8fe8", "#4fae5b"]  # hidden, text, option 1, 2, 3


def main(path: str) -> None:
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    batch = tokenizer(TEXT, options=OPTIONS, question=QUESTION, return_tensors="pt")
    option_ids, attention_mask = batch["option_ids"], batch["attention_mask"]
    tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    positions = build_position_ids(option_ids, batch["option_positions"], attention_mask)[0].tolist()
    segments = batch["token_type_ids"][0].tolist()
    allowed = build_attention_mask(option_ids, attention_mask, torch.bool)[0, 0]

    # A cell has the colour of the option that is looked at, or looks; blank where nothing may be seen.
    owner = torch.maximum(option_ids[0].unsqueeze(0), option_ids[0].unsqueeze(1))
    cells = torch.where(allowed, owner + 1, 0)
    figure, axes = plt.subplots(figsize=(7.6, 5.6))
    axes.imshow(cells, cmap=ListedColormap(COLORS), vmin=0, vmax=4)
    axes.set_xticks(range(len(tokens)), tokens, rotation=60, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    labels = [f"{t}   segment {s}   position {p:>2}" for t, s, p in zip(tokens, segments, positions)]
    axes.set_yticks(range(len(tokens)), labels, fontsize=8, family="monospace")
    axes.set_xticks([x - 0.5 for x in range(len(tokens))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(len(tokens))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    for row, column in [(p, p) for p in batch["option_positions"][0].tolist()]:
        axes.text(column, row, "yes?", ha="center", va="center", fontsize=6.5, color="white", weight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("a row may attend to the coloured columns: options (colours) never see each other", fontsize=8.5)
    figure.savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "layout.png")
