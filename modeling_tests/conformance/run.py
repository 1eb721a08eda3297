"""Run transformers' own test mixins (`ModelTesterMixin`, `ConfigTester`, `TokenizerTesterMixin`) on the UniMC classes.

    python modeling_tests/conformance/run.py [--cache FOLDER] [pytest arguments]

The mixins are not in the wheel but in the source distribution of the installed version of transformers. It is
downloaded from PyPI once into `--cache` (`~/.cache/unimc_hf`; a `transformers-<version>.tar.gz` already there is
taken as it is) and only its `tests` folder is unpacked. After that the command works offline.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import transformers

HERE = Path(__file__).resolve().parent

# The source distribution leaves out the subfolders of `tests`; these stand for what the three mixins import from them.
NOT_IN_SDIST = {
    "__init__.py": "",
    "exporters/__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/__init__.py": "",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/__init__.py": "",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
    "fixtures/sample_text.txt": "Stocks fell sharply. The team won the game.\n",
}


def prepare_tests(cache: Path) -> Path:
    """The folder to put on PYTHONPATH so that `tests` is transformers' own; downloads and unpacks what is missing."""
    name = f"transformers-{transformers.__version__}"
    folder = cache / name
    if (folder / "tests" / "__init__.py").is_file():  # written last: the folder is complete
        return folder
    sdist = cache / f"{name}.tar.gz"
    if not sdist.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "transformers"]
        subprocess.run([*pip, "--dest", str(cache), f"transformers=={transformers.__version__}"], check=True)
    with tarfile.open(sdist) as archive:
        members = [m for m in archive.getmembers() if m.name.startswith(f"{name}/tests/")]
        archive.extractall(cache, members, filter="data")
    for path, text in reversed(NOT_IN_SDIST.items()):
        file = folder / "tests" / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return folder


def main() -> int:
    """Prepare the mixins and run pytest on this folder; returns pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "unimc_hf", help="see above")
    arguments, pytest_arguments = parser.parse_known_args()
    tests = prepare_tests(arguments.cache.resolve())
    python_path = os.pathsep.join(filter(None, [str(tests), str(HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", str(HERE), *pytest_arguments]
    environment = {"PYTHONPATH": python_path, "HF_HUB_OFFLINE": "1", "RUN_SLOW": "1"}
    return subprocess.call(command, env={**os.environ, **environment})


if __name__ == "__main__":
    sys.exit(main())
