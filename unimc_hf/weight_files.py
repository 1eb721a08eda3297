"""The weight files of a folder: which go before new ones are saved, where an index may point, what may be missing.

Saving writes code, tokenizer and configuration first and weights last. So when the old weights are removed before
anything else, a save that was killed, or ran out of disk, leaves a folder without weights: it does not load, and never
as a mix of the old model and the new one. It also leaves no old file that would be preferred to new shards.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from huggingface_hub import create_repo

# Numbers that a model may lack in its file whatever the file has: 1 GiB in float32.
LARGEST_GAP = 2**28
_PICKLE_OR_NOT = r"(model\.safetensors|pytorch_model\.bin)"


def remove_weights(folder: str | os.PathLike, variant: str | None = None) -> None:
    """Remove the weights of a folder that saving with this `variant` would replace; an index before its shards."""
    infix = re.escape(f".{variant}") if variant else ""
    indices = re.compile(rf"{_PICKLE_OR_NOT}\.index{infix}\.json")
    weights = re.compile(rf"(model|pytorch_model){infix}(-\d{{5}}-of-\d{{5}})?\.(safetensors|bin)")
    if os.path.isdir(folder):
        names = sorted(os.listdir(folder))
        for pattern in (indices, weights):
            for name in filter(pattern.fullmatch, names):
                Path(folder, name).unlink(missing_ok=True)  # another process may be saving, too


def make_room(folder: str | os.PathLike, variant: str | None = None, push_to_hub: bool = False, **kwargs: Any) -> None:
    """Remove the weights that a save would replace, but not before the repository to push to is known to be there.

    Args:
        folder: that `save_pretrained` writes to.
        variant, push_to_hub: as `save_pretrained` takes them.
        kwargs: its other arguments, of which `repo_id`, `token` and `private` are read.
    """
    if push_to_hub:
        repo_id = kwargs.get("repo_id") or Path(folder).name
        create_repo(repo_id, token=kwargs.get("token"), private=kwargs.get("private"), exist_ok=True)
    remove_weights(folder, variant)


def check_weight_indices(folder: str | os.PathLike) -> None:
    """Raise a `ValueError` unless every index of a folder, if it is one, names files of that folder and no others."""
    for path in sorted(Path(folder).glob("*.index*.json")):
        if not re.fullmatch(rf"{_PICKLE_OR_NOT}\.index(\.[^/]+)?\.json", path.name):
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


def check_complete(model: Any, missing_keys: Collection[str]) -> None:
    """Raise a `ValueError` if weights are missing that cannot be meant to be: only a plain encoder has no head."""
    is_saved_unimc = bool(model.config.architectures)  # those of a plain model stand in `text_config`
    missing = sorted(k for k in missing_keys if is_saved_unimc or k.startswith(f"{model.base_model_prefix}."))
    if missing:
        raise ValueError(
            f"The weights in {model.config.name_or_path!r} do not fit its configuration: {len(missing)} are missing, "
            f"e.g. `{missing[0]}`. Is a file damaged, or of another model?"
        )


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


__all__ = ["check_complete", "check_gap", "check_weight_indices", "make_room", "remove_weights"]
