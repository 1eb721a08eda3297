"""What is saved beside the weights: all code that a model needs where this package is not installed.

With a manifest of SHA-256: it shows a later change, unless who made it changed the manifest too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from transformers.utils import cached_file

__version__ = "0.1.0"

CODE_FILES = (
    "configuration_unimc.py", "pipeline_inputs.py", "pipeline_unimc.py", "token_batches.py", "decision_requests.py",
    "decision.py", "option_inputs.py", "tokenization_unimc.py", "option_structure.py", "option_attention.py",
    "option_encoder.py", "masked_lm_head.py", "option_losses.py", "modeling_unimc.py", "saved_files.py",
)  # fmt: skip
CODE_MANIFEST = "code_manifest.json"


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_code(folder: str | os.PathLike, origin: str = "", revision: str | None = None) -> None:
    """Write the code files and their manifest.

    Of remote code, transformers fetch only the files that the loaded class imports: the others are copied from
    `origin`, the folder or Hub repository that the saved object came from. An `OSError` says that they are gone.
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
