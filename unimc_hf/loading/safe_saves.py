"""A save over an older model: that weights go first and come last, so that what was interrupted does not load.

A save that was killed, or ran out of disk, leaves a folder without weights, and never a mix of two models. Importing
the package puts these functions into `UniMCForMultipleChoice` and `UniMCZeroShotPipeline`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import create_repo, split_torch_state_dict_into_shards

from ..modeling_unimc import UniMCForMultipleChoice
from .untrusted_files import PICKLE_OR_NOT


def save_model(
    model: UniMCForMultipleChoice, save_directory: Any, is_main_process: bool = True, *args: Any, **kwargs: Any
) -> None:
    """As in transformers; weights that are there are removed first."""
    make_room(save_directory, model, is_main_process, **kwargs)
    super(UniMCForMultipleChoice, model).save_pretrained(save_directory, is_main_process, *args, **kwargs)


def make_room(
    folder: str | os.PathLike,
    model: Any,
    is_main_process: bool = True,
    variant: str | None = None,
    push_to_hub: bool = False,
    max_shard_size: int | str = "50GB",
    **kwargs: Any,
) -> None:
    """Remove the weights that a `save_pretrained` of `model` with these arguments would replace: none where it writes
    an adapter, or where another process writes.

    Not before the repository to push to is known to be there: `repo_id`, `token` and `private` are of this.

    Raises:
        TypeError, ValueError: if `max_shard_size` is no size; nothing is removed then.
    """
    if isinstance(max_shard_size, bool) or not isinstance(max_shard_size, (int, str)):
        got = type(max_shard_size).__name__
        raise TypeError(f"`max_shard_size` must be an integer or a string like '5GB', got {got}.")
    try:
        split_torch_state_dict_into_shards({}, max_shard_size=max_shard_size)
    except ValueError as error:
        raise ValueError(f"`max_shard_size` is no size: {error}") from None
    # The first is set by transformers' `add_adapter`, the second by peft itself.
    if not is_main_process or getattr(model, "_hf_peft_config_loaded", False) or hasattr(model, "peft_config"):
        return
    if push_to_hub:
        repo_id = kwargs.get("repo_id") or Path(folder).name
        create_repo(repo_id, token=kwargs.get("token"), private=kwargs.get("private"), exist_ok=True)
    infix = re.escape(f".{variant}") if variant else ""
    index = rf"{PICKLE_OR_NOT}\.index{infix}\.json"
    weights = rf"(model|pytorch_model){infix}(-\d{{5}}-of-\d{{5}})?\.(safetensors|bin)"
    for pattern in (index, weights):  # an index before its shards
        for path in sorted(Path(folder).glob("*")):
            if re.fullmatch(pattern, path.name):
                path.unlink(missing_ok=True)  # another process may be saving, too


__all__ = ["make_room", "save_model"]
