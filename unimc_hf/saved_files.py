"""What is saved beside the weights, and in which order: last step of the flow, after `modeling_unimc`.

- Code: `CODE_FILES` is the one list of what a saved model needs where this package is not installed. Every save writes
  all of it with a manifest of SHA-256, so that a later change shows; who changes a file can change its line too.
- Weights: they are written last, and old ones are removed before anything else. So a save that was killed, or ran out
  of disk, leaves a folder that does not load, and never a mix of the old model and the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import create_repo
from transformers.utils import cached_file

__version__ = "0.1.0"

CODE_FILES = (
    "configuration_unimc.py", "pipeline_inputs.py", "pipeline_unimc.py", "token_batches.py", "decision_requests.py",
    "decision.py", "option_inputs.py", "tokenization_unimc.py", "option_structure.py", "option_attention.py",
    "option_encoder.py", "masked_lm_head.py", "option_losses.py", "modeling_unimc.py", "saved_files.py",
)  # fmt: skip
CODE_MANIFEST = "code_manifest.json"
PICKLE_OR_NOT = r"(model\.safetensors|pytorch_model\.bin)"


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_code(folder: str | os.PathLike, origin: str = "", revision: str | None = None) -> None:
    """Write the code files and their manifest.

    Args:
        folder: that is saved to.
        origin, revision: folder or Hub repository that the saved object came from: for remote code, transformers fetch
            only those files that the loaded class imports, and the others are there.

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

    Arguments are those of `save_pretrained`; of `kwargs`, `repo_id`, `token` and `private` are read.
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


__all__ = ["CODE_FILES", "CODE_MANIFEST", "make_room", "sha256", "write_code"]
