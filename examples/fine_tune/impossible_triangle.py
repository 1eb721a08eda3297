# /// script
# dependencies = ["unimc_hf[few-shot]"]
# ///
"""
The impossible triangle on one page: of each model its size, zero-shot, few-shot and fine-tuned accuracy.

    W=examples/written_tasks/english/evaluation
    python examples/fine_tune/impossible_triangle.py "$W/sentiment.jsonl#opinion_hotel_five_steps" \
        --backbone sentence-transformers/all-MiniLM-L6-v2 --output triangle.json --plot triangle.png

UniMC models (`--model`, by default the one inside the package) stand beside SetFit and a linear head on the encoders
of `--backbone`. Each file is cut in halves by the seed: few-shot draws 16 examples per label from the one, fine-tuning
takes all of it, and everything is tested on the other. It takes the better part of an hour on two cores; a run that
was stopped goes on where it was. A trial: `--seeds 1 --max_steps 20 --test_rows 100`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from few_shot import FewShotArguments, parse, run
from few_shot_cells import Cells, Shots, print_tables, shots_text, table
from few_shot_data import ALL


@dataclass
class TriangleArguments(FewShotArguments):
    shots: list[str] = field(
        default_factory=lambda: ["0", "16", ALL], metadata={"help": "zero-shot, few-shot, fine-tuned"}
    )
    plot: Path | None = field(default=None, metadata={"help": "PNG file for the plot"})
    markdown: Path | None = field(default=None, metadata={"help": "file for the table of means, for a README"})


def draw(cells: Cells, shots: list[Shots], path: Path) -> None:
    """A panel per data set and one for their mean: a line per method over the corners, its seeds' range as a bar."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = [*cells.columns(), None]
    figure, axes = plt.subplots(1, len(panels), figsize=(2.6 * len(panels), 3.6), sharey=True, layout="constrained")
    for panel, data_set in zip(axes, panels):
        for method, facts in cells.content["contenders"].items():
            found = [(i, cells.spread(method, data_set, count)) for i, count in enumerate(shots)]
            points = [(i, spread) for i, spread in found if spread is not None]
            means = [spread["mean"] for _, spread in points]
            below = [spread["mean"] - spread["least"] for _, spread in points]
            above = [spread["most"] - spread["mean"] for _, spread in points]
            label = f"{method}, {facts['parameters'] / 1e6:.1f}M"
            panel.errorbar([i for i, _ in points], means, [below, above], marker="o", capsize=2, label=label)
        panel.set_xticks(range(len(shots)), [shots_text(count).replace(", ", "\n") for count in shots], fontsize=7)
        panel.set_xlim(-0.3, len(shots) - 0.7)
        panel.set_title(data_set or "mean", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supylabel("accuracy", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=160)


def main() -> None:
    arguments, settings, files = parse(__doc__, TriangleArguments)
    cells, shots = run(arguments, settings, files)
    print_tables(cells, shots, arguments.seeds)
    if arguments.markdown:
        head, *rows = table(cells, shots, None)
        lines = [head, ("---",) * len(head), *rows]
        arguments.markdown.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")
    if arguments.plot:
        draw(cells, shots, arguments.plot)


if __name__ == "__main__":
    main()
