"""Recipes: JSON files that say everything that decides the weights of a training run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's config file. What it does not say comes from the one beside it that `"extends"` names."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if "extends" not in config:
        return config
    base = read_recipe(path.parent / config.pop("extends"))
    parts = {key: {**base.get(key, {}), **value} for key, value in config.items() if isinstance(value, dict)}
    return {**base, **config, **parts}


__all__ = ["read_recipe"]
