# /// script
# dependencies = ["unimc_hf", "matplotlib"]
# ///
"""
Draw how one example is laid out: its tokens, segments and positions, and who may attend to whom.

    python examples/docs/draw_layout.py examples/docs/layout.png

Everything in the picture is what the tokenizer and the model really compute for this example.
"""

from __future__ import annotations

import argparse

import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from unimc_hf import DEFAULT_MODEL, UniMCTokenizer
from unimc_hf.option_structure import build_attention_mask, build_position_ids

TEXT, QUESTION, OPTIONS = "stocks fell sharply", "topic?", ["sports", "business news", "music"]
NOT_SEEN, TEXT_COLOR = "#ffffff", "#c9d6e8"
OPTION_COLORS = ["#e8893c", "#3c8fe8", "#4fae5b", "#b565c9", "#c94f4f", "#7d6b5d"]  # then from the first one again
INCHES_PER_TOKEN = 0.34


def draw_layout(
    tokenizer: UniMCTokenizer, text: str, options: list[str], question: str | None = None, max_tokens: int | None = None
) -> Figure:
    """The picture of one example; of its first `max_tokens` tokens only, if it has more. No global state of pyplot."""
    batch = tokenizer(text, options=options, question=question, max_length=None, return_tensors="pt")
    option_ids, attention_mask = batch["option_ids"], batch["attention_mask"]
    option_positions = batch["option_positions"][0].tolist()
    positions = build_position_ids(option_ids, batch["option_positions"], attention_mask)[0].tolist()
    segments = batch["token_type_ids"][0].tolist()
    allowed = build_attention_mask(option_ids, attention_mask, torch.bool)[0, 0]

    # A cell has the colour of the option that is looked at, or looks; blank where nothing may be seen.
    owner = torch.maximum(option_ids[0].unsqueeze(0), option_ids[0].unsqueeze(1))
    color = torch.where(owner > 0, 2 + (owner - 1) % len(OPTION_COLORS), 1)
    length = option_ids.shape[1]
    shown = min(length, max_tokens or length)
    cells = torch.where(allowed, color, 0)[:shown, :shown]
    # `$` would start a formula.
    tokens = [t.replace("$", r"\$") for t in tokenizer.convert_ids_to_tokens(batch["input_ids"][0, :shown])]

    side = INCHES_PER_TOKEN * shown
    figure = Figure(figsize=(side + 2.16, side + 0.16))  # the names of the rows take more room than those above
    axes = figure.subplots()
    colors = [NOT_SEEN, TEXT_COLOR, *OPTION_COLORS]
    palette = ListedColormap(colors)
    axes.pcolormesh(cells, cmap=palette, vmin=0, vmax=len(colors) - 1, edgecolors="white", linewidth=1.2)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    centres = [index + 0.5 for index in range(shown)]
    axes.set_xticks(centres, tokens, rotation=60, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    labels = [f"{t}   segment {s}   position {p:>2}" for t, s, p in zip(tokens, segments, positions)]
    axes.set_yticks(centres, labels, fontsize=8, family="monospace")
    axes.tick_params(length=0)
    for position in option_positions:
        if position < shown:
            where = (position + 0.5, position + 0.5)
            axes.text(*where, "yes?", ha="center", va="center", fontsize=6.5, color="white", weight="bold")
    axes.set_frame_on(False)
    caption = "a row may attend to the coloured columns: options (colours) never see each other"
    if shown < length:
        caption += f"\n(the first {shown} of {length} tokens)"
    axes.set_xlabel(caption, fontsize=8.5)
    return figure


def main(path: str) -> None:
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    draw_layout(tokenizer, TEXT, OPTIONS, QUESTION).savefig(path, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="layout.png", help="of the picture")
    main(parser.parse_args().path)
