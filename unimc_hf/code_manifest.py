"""The list of code files that goes beside saved code: names, SHA-256 and the version of the package they come from.

It says what was saved, so that a later change shows. It is no proof of origin, because whoever changes a file can
change its line here too: `verify_code` compares with the installed package instead.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from .version import __version__

CODE_MANIFEST = "code_manifest.json"


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_code_manifest(folder: str | os.PathLike) -> None:
    """Write `code_manifest.json` for the package's files that are in a folder; nothing where there are none."""
    own = {path.name for path in Path(__file__).parent.glob("*.py")}
    files = {path.name: sha256(path) for path in sorted(Path(folder).glob("*.py")) if path.name in own}
    if files:
        content = json.dumps({"package": "unimc_hf", "version": __version__, "sha256": files}, indent=2)
        (Path(folder) / CODE_MANIFEST).write_text(content + "\n", encoding="utf-8")
