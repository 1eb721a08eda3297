"""Checks of a folder from anywhere before its weights are loaded: where an index points, and how much is allocated."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

PICKLE_OR_NOT = r"(model\.safetensors|pytorch_model\.bin)"  # pattern of file names
# Numbers that a model may lack in its file whatever the file has: 1 GiB in float32.
LARGEST_GAP = 2**28


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


__all__ = ["check_gap", "check_weight_indices"]
