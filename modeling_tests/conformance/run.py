"""Run transformers' own test mixins (`ModelTesterMixin`, `ConfigTester`, `TokenizerTesterMixin`) on the UniMC classes.

    python modeling_tests/conformance/run.py [--cache FOLDER] [pytest arguments]
    python modeling_tests/conformance/run.py --transformers oldest newest [--cache FOLDER] [pytest arguments]

The mixins are not in the wheel but in the source distribution of the installed version of transformers. It is
downloaded from PyPI once into `--cache` (`~/.cache/unimc_hf`; a `transformers-<version>.tar.gz` already there is
taken as it is) and only its `tests` folder is unpacked. After that the first command works offline.

The second runs them once for each version it names: `oldest` and `newest` are the ends of the range in
`pyproject.toml`, and `5.15.0` is itself. Each has an environment of its own, made below `--cache` once, with that
transformers and what it needs in other versions; all else, PyTorch too, is that of the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import transformers

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]

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


def requirement(version: str) -> str:
    """What pip is to install for `oldest`, `newest` or a version."""
    supported = re.search(r'"(transformers>=([\d.]+),<\d+)"', (PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    if supported is None:
        raise ValueError("pyproject.toml has no range like 'transformers>=5.10.1,<6'.")
    return {"newest": supported[1], "oldest": f"transformers=={supported[2]}"}.get(version, f"transformers=={version}")


def prepare_environment(cache: Path, version: str) -> Path:
    """The Python of an environment with that transformers, which sees all other packages of this one."""
    folder = cache / f"environment-{version}"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    own_packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    here = sysconfig.get_path("purelib")
    # As the last of its path, so that what is installed in the environment comes first.
    Path(own_packages, "outer.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--upgrade", "--disable-pip-version-check"]
    subprocess.run([*pip, requirement(version)], check=True)
    return python


def run_installed(cache: Path, pytest_arguments: list[str]) -> int:
    """The mixins of the installed version; returns pytest's exit code."""
    tests = prepare_tests(cache)
    print(f"transformers {transformers.__version__}", flush=True)
    python_path = os.pathsep.join(filter(None, [str(tests), str(PROJECT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "pytest", str(HERE), *pytest_arguments]
    environment = {"PYTHONPATH": python_path, "HF_HUB_OFFLINE": "1", "RUN_SLOW": "1"}
    return subprocess.call(command, env={**os.environ, **environment})


def main() -> int:
    """Run what the command line asks for; returns the first exit code of pytest that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "unimc_hf", help="see above")
    parser.add_argument("--transformers", nargs="+", metavar="VERSION", help="oldest, newest or e.g. 5.15.0; see above")
    arguments, pytest_arguments = parser.parse_known_args()
    cache = arguments.cache.resolve()
    if not arguments.transformers:
        return run_installed(cache, pytest_arguments)
    os.environ.pop("PIP_CONSTRAINT", None)  # CI's lock names one version, and other ones are asked for here
    codes = []
    for version in arguments.transformers:
        python = prepare_environment(cache, version)
        command = [str(python), str(Path(__file__).resolve()), "--cache", str(cache), *pytest_arguments]
        codes.append(subprocess.call(command))
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main())
