"""Which checkpoint a broken run can go on from."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from transformers.utils import logging

logger = logging.get_logger(__name__)


def last_complete_checkpoint(folder: str | Path) -> str:
    """The checkpoint of the highest step that was written to its end.

    Raises:
        ValueError: if `folder` has none.
    """
    step_of = {path: path.name.removeprefix("checkpoint-") for path in Path(folder).glob("checkpoint-*")}
    checkpoints = [path for path, step in step_of.items() if step.isdigit()]
    for checkpoint in sorted(checkpoints, key=lambda path: int(step_of[path]), reverse=True):
        if _is_complete(checkpoint):
            return str(checkpoint)
        logger.warning(f"{checkpoint} was not written to its end; it is passed over.")
    raise ValueError(f"`resume_from_checkpoint` is True, but {folder} has no complete checkpoint.")


def _is_complete(checkpoint: Path) -> bool:
    try:  # Trainer writes its state last
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return all(zipfile.is_zipfile(path) for path in checkpoint.glob("*.pt*"))


__all__ = ["last_complete_checkpoint"]
