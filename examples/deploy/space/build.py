"""
Collect what the demo needs in one folder, ready to run and to upload as a Hugging Face Space.

    python examples/deploy/space/build.py /tmp/unimc-space
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

SPACE = Path(__file__).parent
ROOT = SPACE.parents[2]


def build(folder: Path) -> None:
    """Write the folder; a Space has no checkout of this repository, so the package and its model come along."""
    shutil.copytree(SPACE, folder, ignore=shutil.ignore_patterns("build.py", "__pycache__"), dirs_exist_ok=True)
    shutil.copy(ROOT / "examples" / "docs" / "draw_layout.py", folder)
    package = folder / "unimc_hf"
    shutil.copytree(ROOT / "unimc_hf", package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to write")
    build(parser.parse_args().folder)
