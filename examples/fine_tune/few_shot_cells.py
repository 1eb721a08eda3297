"""Runs every method on every data set, number of shots and seed, and keeps each figure as soon as there is one."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from few_shot_data import ALL, DataSet, split, take
from few_shot_methods import Contender, FewShotSettings

from unimc_hf.command_line.table import format_table
from unimc_hf.evaluation.metrics import evaluate

ZERO = 0  # shots: no training
Shots = int | str


class Cells:
    """A JSON file of figures, one cell for each method, data set, number of shots and seed.

    A cell that is there is not computed again, so a broken run goes on where it was.

    Raises:
        SystemExit: if the file was made with other settings, or has figures of another model or data set of the same
            name: that would mix figures that cannot be compared.
    """

    def __init__(self, path: Path, settings: FewShotSettings) -> None:
        self.path = path
        self.content: dict[str, Any] = {"settings": asdict(settings), "contenders": {}, "cells": []}
        if path.exists():
            self.content = json.loads(path.read_text(encoding="utf-8"))
            if self.content["settings"] != asdict(settings):
                raise SystemExit(f"{path} holds figures of other settings; name another file or delete it.")

    def run(
        self,
        contenders: Sequence[Contender],
        data_sets: Sequence[DataSet],
        shots: Sequence[Shots],
        seeds: Sequence[int],
        settings: FewShotSettings,
    ) -> None:
        """Fill in what is missing, seed by seed, so that a run that is stopped has whole rows."""
        for contender in contenders:
            facts = {"parameters": contender.parameters, "source": contender.source}
            self._enter("contenders", contender.name, facts)
        for data_set in data_sets:
            self._enter("data_sets", data_set.name, {"source": data_set.source})
        done = {_key(cell) for cell in self.content["cells"]}
        for seed in seeds:
            for data_set in data_sets:
                pool, test = split(data_set, seed, settings.test_rows)
                for contender in contenders:
                    for count in shots:
                        cell = {"method": contender.name, "data_set": data_set.name, "shots": count, "seed": seed}
                        if _key(cell) in done or (count == ZERO and contender.zero_shot is None):
                            continue
                        cell |= _measure(contender, data_set, pool, test, count, seed)
                        self.content["cells"].append(cell)
                        self.path.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
                        print(f"{' '.join(map(str, _key(cell)))}: {cell['accuracy']:.3f}", flush=True)

    def _enter(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        known = self.content.setdefault(kind, {}).setdefault(name, facts)
        if {**facts, **known} != facts:  # older files do not say the source
            where = f"{self.path} has figures of {known.get('source', 'another one')} as {name!r}"
            raise SystemExit(f"{where}, which {facts['source']} would be called as well; name another file.")

    def spread(self, method: str, data_set: str | None, shots: Shots, figure: str = "accuracy") -> dict | None:
        """Mean, standard deviation, least and most over the seeds, of a data set or (`None`) of the mean of all.

        `None` where cells are missing: a mean over fewer data sets would not be the same thing.
        """
        cells = [cell for cell in self.content["cells"] if cell["method"] == method and cell["shots"] == shots]
        if data_set is not None:
            values = [cell[figure] for cell in cells if cell["data_set"] == data_set]
        else:
            sets = {cell["data_set"] for cell in self.content["cells"]}
            by_seed: dict[int, list[float]] = {}
            for cell in cells:
                by_seed.setdefault(cell["seed"], []).append(cell[figure])
            values = [statistics.mean(row) for row in by_seed.values() if len(row) == len(sets)]
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return {"mean": statistics.mean(values), "deviation": deviation, "least": min(values), "most": max(values)}

    def columns(self) -> list[str]:
        """Names of the data sets in the order of the run."""
        return list(dict.fromkeys(cell["data_set"] for cell in self.content["cells"]))


def _key(cell: dict[str, Any]) -> tuple:
    return cell["method"], cell["data_set"], cell["shots"], cell["seed"]


def _measure(
    contender: Contender, data_set: DataSet, pool: list, test: list, shots: Shots, seed: int
) -> dict[str, Any]:
    start = time.perf_counter()
    classifier, train, notes = contender.zero_shot, [], {}
    if shots != ZERO:
        train = take(pool, shots, seed)
        classifier, notes = contender.fit(train, data_set.num_classes, seed)
    seconds = time.perf_counter() - start
    assert classifier is not None
    figures = evaluate(classifier, test).to_dict()
    return {"training_rows": len(train), "training_seconds": round(seconds, 1), **notes, **figures}


def shots_of(word: str) -> Shots:
    """An argument: a whole number, 0 for zero-shot, or `all`."""
    return word if word == ALL else int(word)


def shots_text(shots: Shots) -> str:
    """What a column of figures is called."""
    return {ZERO: "zero-shot", ALL: "fine-tuned on all"}.get(shots, f"few-shot, {shots} per label")


def table(cells: Cells, shots: Sequence[Shots], data_set: str | None) -> list[tuple[str, ...]]:
    """A row per method: its size, and its accuracy after so many shots, of one data set or of the mean of all."""
    rows: list[tuple[str, ...]] = [("method", "parameters", *map(shots_text, shots))]
    for method, facts in cells.content["contenders"].items():
        spreads = [cells.spread(method, data_set, count) for count in shots]
        scores = ["-" if s is None else f"{s['mean']:.3f} ± {s['deviation']:.3f}" for s in spreads]
        rows.append((method, f"{facts['parameters'] / 1e6:.1f}M", *scores))
    return rows


def print_tables(cells: Cells, shots: Sequence[Shots], seeds: int) -> None:
    """The table of every data set, then of their mean."""
    for data_set in [*cells.columns(), None]:
        print(f"\n{data_set or 'mean of the data sets'}: accuracy, mean ± standard deviation of {seeds} seeds")
        print(format_table(table(cells, shots, data_set)))
    collapses = sum(cell.get("collapses", 0) for cell in cells.content["cells"])
    print(f"\ntrainings of UniMC that collapsed and were repeated: {collapses}")
