"""What models and data sets are called in tables of figures: short, and no two the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..loading.installed_models import DEFAULT_MODEL


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """The last part of every path, or as many of the last parts as tell all of them apart: `a/model` and `b/model`.

    Raises:
        ValueError: if a path is there twice.
    """
    parts = [Path(path).parts for path in paths]
    for size in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(path[-size:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"`paths` repeats {next(str(path) for path in paths if parts.count(Path(path).parts) > 1)!r}.")


def unimc_names(models: Sequence[str]) -> list[str]:
    """What UniMC models are called, in this order; folders or Hub names.

    Raises:
        ValueError: if one is there twice.
    """
    names = zip(models, short_names(models))
    return ["UniMC (inside the package)" if model == DEFAULT_MODEL else f"UniMC {name}" for model, name in names]


__all__ = ["short_names", "unimc_names"]
