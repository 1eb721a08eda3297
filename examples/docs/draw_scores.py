# /// script
# dependencies = ["unimc_hf", "matplotlib"]
# ///
"""
Draw how the model's two logits at every option become its two scores, for one example and the model in the package.

    python examples/docs/draw_scores.py examples/docs/scores.png
"""

from __future__ import annotations

import argparse

import torch
from matplotlib.figure import Figure

from unimc_hf import DEFAULT_MODEL, UniMCForMultipleChoice, UniMCTokenizer

TEXT = "The camera is superb, but the battery is empty by noon."
OPTIONS = ["camera", "battery", "delivery"]


def main(path: str) -> None:
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    model = UniMCForMultipleChoice.from_pretrained(DEFAULT_MODEL).eval()
    with torch.no_grad():
        yes, no = model(**tokenizer(TEXT, options=OPTIONS, return_tensors="pt")).yes_no_logits[0].float().unbind(-1)
    panels = {
        "at each [MASK]: logits of the two words": {"yes": yes, "no": no},
        "softmax over yes: one is right": {"yes": yes.softmax(-1)},
        "sigmoid(yes - no): several may be": {"yes - no": (yes - no).sigmoid()},
    }
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, (title, bars) in zip(figure.subplots(1, 3), panels.items()):
        height = 0.8 / len(bars)
        for i, ((word, values), color) in enumerate(zip(bars.items(), ["#3c8fe8", "#e8893c"])):
            rows = [row + i * height for row in range(len(OPTIONS))]
            drawn = axes.barh(rows, values.tolist(), height=height, color=color, label=word)
            axes.bar_label(drawn, fmt="%.2f", fontsize=8, padding=2)
        axes.set_yticks([row + height * (len(bars) - 1) / 2 for row in range(len(OPTIONS))], OPTIONS)
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_title(title, fontsize=9)
        if len(bars) > 1:
            axes.legend(fontsize=8, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", default="scores.png", help="of the picture")
    main(parser.parse_args().path)
