"""Checks of a folder from anywhere before it is loaded: where an index points, and how much would be allocated.

Importing the package puts them where `UniMCConfig` and `UniMCForMultipleChoice` ask for them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..saved_files import PICKLE_OR_NOT

# Numbers that a model may lack in its file whatever the file has: 1 GiB in float32.
LARGEST_GAP = 2**28
# A config decides by these how many modules and positions are made before the first weight is read. Far above every
# published model.
LARGEST = {
    "hidden_size": 100_000,
    "inner_group_num": 1_000,
    "intermediate_size": 1_000_000,
    "max_position_embeddings": 10_000_000,
    "num_attention_heads": 10_000,
    "num_hidden_groups": 1_000,
    "num_hidden_layers": 1_000,
    "vocab_size": 10_000_000,
}


def check_sizes(get: Callable[[str], Any]) -> None:
    """Raise a `ValueError` if `text_config` is larger than any masked language model; `get` returns its attributes."""
    for name, most in LARGEST.items():
        value = get(name)
        if isinstance(value, (int, float)) and not 1 <= value <= most:
            raise ValueError(f"`text_config.{name}` is {value}; it must be from 1 to {most}.")


def check_weight_indices(folder: str | os.PathLike) -> None:
    """Raise a `ValueError` unless every index of a folder, if it is one, names files of that folder and no others."""
    for path in sorted(Path(folder).glob("*.index*.json")):
        if not re.fullmatch(rf"{PICKLE_OR_NOT}\.index(\.[^/]+)?\.json", path.name):
            continue
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{str(path)!r} is no JSON that can be read: {error}.") from None
        names: Any = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or not isinstance(index.get("metadata"), dict):
            raise ValueError(f"{str(path)!r} is no index of weights: `weight_map` and `metadata` must be objects.")
        for name in names.values():
            is_plain = isinstance(name, str) and name == os.path.basename(name)
            if not is_plain or not name.endswith((".safetensors", ".bin")):
                raise ValueError(f"`weight_map` of {str(path)!r} names {name!r}, no weight file of its folder.")


def check_gap(model: Any, missing_keys: set[str]) -> None:
    """Raise a `ValueError` if the file lacks so much that the configuration alone would decide how much is allocated.

    Args:
        model: of which only the weights that are not missing have memory yet.
        missing_keys: weights that the file lacks, or has in another shape.
    """
    sizes = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    lacking = sum(sizes.get(name, 0) for name in missing_keys - model.all_tied_weights_keys.keys())
    if model.config.name_or_path and lacking > max(LARGEST_GAP, sum(sizes.values()) - lacking):
        raise ValueError(
            f"The weights in {model.config.name_or_path!r} do not fit its configuration: {lacking} of "
            f"{sum(sizes.values())} numbers that `text_config` asks for are missing, or of another shape."
        )


__all__ = ["check_gap", "check_sizes", "check_weight_indices"]
