"""Saved folders to tamper with: fixtures for every test, and the editing of a JSON file in one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline as `save_pretrained` leaves it; tests read it only."""
    folder = tmp_path_factory.mktemp("saved")
    UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to tamper with, in a folder that holds nothing else."""
    return Path(shutil.copytree(saved, tmp_path / "inner" / "repository"))


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Let `change` alter the content of a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
