# /// script
# dependencies = ["unimc_hf[few-shot]"]
# ///
"""
Compare UniMC, SetFit and a linear head on k examples per label: the same data, the same encoder, the same run.

    W=examples/written_tasks/english/evaluation
    python examples/fine_tune/few_shot.py "$W/sentiment.jsonl#opinion_hotel_five_steps" \
        --backbone sentence-transformers/all-MiniLM-L6-v2 --shots 0 1 4 8 16 32 --seeds 3 --output few_shot.json

UniMC starts from the model inside the package, which was trained from that encoder; `--model` names another. Shots 0
are zero-shot, `all` is all that there is to train on. Each file is cut in halves by the seed, one to draw shots from
and one to test on. FewCLUE's published samples are used as they are:

    python examples/fine_tune/few_shot.py fewclue/{eprstmt,tnews}.test.jsonl.gz --shots 0 all \
        --model examples/chinese_model/unimc_hf_chinese --backbone intfloat/multilingual-e5-small --output fewclue.json

A few minutes on two cores: `--shots 0 16 --seeds 2 --test_rows 300`. A run that was stopped goes on where it was.
Runs whose training collapses are repeated (see few_shot_methods.py); the table gives the spread over the seeds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from few_shot_cells import Cells, Shots, print_tables, shots_of
from few_shot_data import load_data_set
from few_shot_methods import Contender, FewShotSettings, linear_head, setfit, unimc
from transformers import HfArgumentParser
from transformers.utils import logging

import unimc_hf
from unimc_hf.evaluation.short_names import short_names, unimc_names

METHODS = ("unimc", "setfit", "linear")


@dataclass
class FewShotArguments:
    output: Path = field(metadata={"help": "JSON file for the figures; what it holds is not computed again"})
    model: list[str] = field(
        default_factory=lambda: [unimc_hf.DEFAULT_MODEL], metadata={"help": "UniMC models, by folder or Hub name"}
    )
    backbone: list[str] = field(
        default_factory=lambda: ["sentence-transformers/all-MiniLM-L6-v2"],
        metadata={"help": "encoders for SetFit and the linear head"},
    )
    methods: list[str] = field(default_factory=lambda: list(METHODS), metadata={"help": "of unimc setfit linear"})
    shots: list[str] = field(
        default_factory=lambda: ["0", "1", "4", "8", "16", "32"], metadata={"help": "examples per label, or all"}
    )
    seeds: int = field(default=3, metadata={"help": "how many draws and trainings"})


def contenders(arguments: FewShotArguments, settings: FewShotSettings) -> list[Contender]:
    """Every method on every model that was asked for."""
    if unknown := set(arguments.methods) - set(METHODS):
        raise SystemExit(f"--methods: {', '.join(sorted(unknown))} is none of {', '.join(METHODS)}")
    found = []
    if "unimc" in arguments.methods:
        found += [unimc(model, settings, title) for model, title in zip(arguments.model, unimc_names(arguments.model))]
    encoders = list(zip(arguments.backbone, short_names(arguments.backbone)))
    for name, make, what in (("setfit", setfit, "SetFit"), ("linear", linear_head, "linear head")):
        if name in arguments.methods:
            found += [make(backbone, settings, f"{what} on {short}") for backbone, short in encoders]
    return found


def run(arguments: FewShotArguments, settings: FewShotSettings, files: list[str]) -> tuple[Cells, list[Shots]]:
    """All cells, which the JSON file has too, and the numbers of shots."""
    data_sets = [load_data_set(path) for path in files]
    names = short_names([Path(path).parent / data_set.name for path, data_set in zip(files, data_sets)])
    data_sets = [replace(data_set, name=name) for data_set, name in zip(data_sets, names)]
    shots = [shots_of(word) for word in arguments.shots]
    logging.disable_progress_bar()
    cells = Cells(arguments.output, settings)
    cells.run(contenders(arguments, settings), data_sets, shots, range(arguments.seeds), settings)
    return cells, shots


def parse(description: str | None, argument_class: type = FewShotArguments) -> tuple:
    """(arguments, settings, files) of the command line."""
    parser = HfArgumentParser((argument_class, FewShotSettings), description=description)
    parser.add_argument("files", nargs="+", help=".jsonl or .jsonl.gz files of the common format")
    arguments, settings, rest = parser.parse_args_into_dataclasses()
    return arguments, settings, rest.files


def main() -> None:
    arguments, settings, files = parse(__doc__)
    cells, shots = run(arguments, settings, files)
    print_tables(cells, shots, arguments.seeds)


if __name__ == "__main__":
    main()
