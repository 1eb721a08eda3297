"""What is saved beside the weights, and in which order: last step of the flow, after `modeling_unimc`.

- Code: `CODE_FILES` is the one list of what a saved model needs where this package is not installed. Saving a model, a
  tokenizer or a pipeline writes all of them, with a manifest of their SHA-256. The manifest says what was saved, so
  that a later change shows; it is no proof of origin, because whoever changes a file can change its line too.
- Weights: they are written last, and old ones are removed before anything else. So a save that was killed, or ran out
  of disk, leaves a folder without weights: it does not load, and never as a mix of the old model and the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from huggingface_hub import create_repo
from transformers.utils import cached_file

__version__ = "0.1.0"

CODE_FILES = (
    "configuration_unimc.py",
    "pipeline_inputs.py",
    "pipeline_unimc.py",
    "token_batches.py",
    "decision_requests.py",
    "decision.py",
    "option_inputs.py",
    "tokenization_unimc.py",
    "option_structure.py",
    "option_attention.py",
    "option_encoder.py",
    "masked_lm_head.py",
    "option_losses.py",
    "modeling_unimc.py",
    "saved_files.py",
)
CODE_MANIFEST = "code_manifest.json"
PICKLE_OR_NOT = r"(model\.safetensors|pytorch_model\.bin)"


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_code(folder: str | os.PathLike, origin: str = "", revision: str | None = None) -> None:
    """Write the code files and their manifest.

    Args:
        folder: that is saved to.
        origin: folder or Hub repository that the saved object came from. As remote code, transformers put only those
            files beside this one that the loaded class imports; the others are there.
        revision: of the repository.

    Raises:
        OSError: if a file is neither here nor at the origin any more.
    """
    target, here = Path(folder), Path(__file__).parent
    target.mkdir(parents=True, exist_ok=True)
    for name in CODE_FILES:
        source = here / name
        if not source.is_file():
            source = Path(str(cached_file(origin, name, revision=revision or "main")))
        if source.resolve() != (target / name).resolve():
            shutil.copyfile(source, target / name)
    digests = {name: sha256(target / name) for name in sorted(CODE_FILES)}
    content = json.dumps({"package": "unimc_hf", "version": __version__, "sha256": digests}, indent=2)
    (target / CODE_MANIFEST).write_text(content + "\n", encoding="utf-8")


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
    infix = re.escape(f".{variant}") if variant else ""
    indices = re.compile(rf"{PICKLE_OR_NOT}\.index{infix}\.json")
    weights = re.compile(rf"(model|pytorch_model){infix}(-\d{{5}}-of-\d{{5}})?\.(safetensors|bin)")
    if os.path.isdir(folder):
        names = sorted(os.listdir(folder))
        for pattern in (indices, weights):  # an index before its shards
            for name in filter(pattern.fullmatch, names):
                Path(folder, name).unlink(missing_ok=True)  # another process may be saving, too


def check_complete(model: Any, missing_keys: Collection[str]) -> None:
    """Raise a `ValueError` if weights are missing that cannot be meant to be: only a plain encoder has no head."""
    is_saved_unimc = bool(model.config.architectures)  # those of a plain model stand in `text_config`
    missing = sorted(k for k in missing_keys if is_saved_unimc or k.startswith(f"{model.base_model_prefix}."))
    if missing:
        raise ValueError(
            f"The weights in {model.config.name_or_path!r} do not fit its configuration: {len(missing)} are missing, "
            f"e.g. `{missing[0]}`. Is a file damaged, or of another model?"
        )


__all__ = ["CODE_FILES", "CODE_MANIFEST", "check_complete", "make_room", "sha256", "write_code"]
