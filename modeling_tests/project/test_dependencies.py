"""What an installation brings: nothing beyond the declared dependencies is needed, all of it may be used freely, and
CI's lock names a version of everything."""

import ast
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

RUNTIME = ("huggingface-hub", "safetensors", "tokenizers", "torch", "transformers")
# What single functions import when they are called, and the dependency of an extra that brings it.
IN_EXTRAS = {"onnxruntime": "onnxruntime", "scipy": "scikit-learn", "sklearn": "scikit-learn"}

# As SPDX calls them, as classifiers do, and as old metadata does.
PERMITTED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CNRI-Python", "ISC", "MIT", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
    "Apache Software License", "BSD License", "ISC License (ISCL)", "MIT License",
    "Mozilla Public License 2.0 (MPL 2.0)", "Python Software Foundation License",
    "Apache 2.0 License", "BSD",
}  # fmt: skip
# PyTorch's build for CUDA, PyPI's default on Linux, brings NVIDIA's libraries under NVIDIA's terms; others do not.
NVIDIA = ("nvidia-", "cuda-")


@cache
def runtime_closure() -> dict[str, Distribution]:
    """The runtime dependencies and all that these need here, by name."""
    waiting, found, seen = [Requirement(name) for name in RUNTIME], {}, set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = distribution(name)
            needs = map(Requirement, found[name].requires or [])
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return found


@cache
def importable() -> set[str]:
    """Top-level modules of Python and of the runtime closure."""
    files = [file for installed in runtime_closure().values() for file in installed.files or []]
    return {file.parts[0].partition(".")[0] for file in files} | set(sys.stdlib_module_names)


def project() -> dict:
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_declared_dependencies_are_these() -> None:
    assert sorted(Requirement(line).name for line in project()["dependencies"]) == sorted(RUNTIME)


def test_no_module_imports_anything_else() -> None:
    here, later = {}, {}
    for path in sorted((ROOT / "unimc_hf").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        in_functions = {node for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            for name in names:
                (later if node in in_functions else here)[name.partition(".")[0]] = path.name
    assert {name: file for name, file in here.items() if name not in importable()} == {}
    assert set(later) - importable() - {"unimc_hf"} == set(IN_EXTRAS)
    extras = {Requirement(line).name for lines in project()["optional-dependencies"].values() for line in lines}
    assert set(IN_EXTRAS.values()) <= extras


# All that is installed beside the closure is hidden, as if it were not there.
BARE = """
import importlib.util, sys
from importlib.machinery import PathFinder

class Closure(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        spec = super().find_spec(fullname, path, target)
        if spec and path is None and fullname not in allowed:
            places = [spec.origin, *(spec.submodule_search_locations or [])]
            if any("site-packages" in str(place) for place in places):
                return None
        return spec

allowed = {"unimc_hf", *sys.argv[1].split(",")}
sys.meta_path = [Closure if finder is PathFinder else finder for finder in sys.meta_path]
assert importlib.util.find_spec("pytest") is None and importlib.util.find_spec("accelerate") is None

import unimc_hf
from transformers import pipeline
from unimc_hf.command_line.verify import verify_repository

classify = pipeline("unimc-zero-shot")
assert classify("Stocks fell sharply.", candidate_labels=["sports", "business"])["labels"][0] == "business"
answers = pipeline("unimc-decision")("Is it so?", questions={"so": {"type": "noul"}})
assert 0 < answers["so"]["noul"] < 1
collator = unimc_hf.DataCollatorForUniMC(classify.tokenizer)
model = unimc_hf.UniMCForMultipleChoice.from_pretrained(unimc_hf.DEFAULT_MODEL)
model(**collator([{"text": "Stocks fell.", "options": ["sports", "business"], "label": 1}])).loss.backward()
classify.save_pretrained(sys.argv[2])
pipeline("unimc-zero-shot", model=sys.argv[2])
findings, _ = verify_repository(sys.argv[2])
assert findings and not any(finding.is_problem for finding in findings)
"""


def test_all_of_it_works_with_nothing_else_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE, ",".join(importable()), str(tmp_path / "saved")],
        capture_output=True, text=True, timeout=600, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def licences(installed: Distribution) -> list[str]:
    """What the metadata says, the best form of it first."""
    metadata = installed.metadata
    if metadata.get("License-Expression"):
        return [metadata["License-Expression"]]
    classifiers = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or [] if "License ::" in line]
    return classifiers or [metadata.get("License") or "none"]


def is_permitted(expression: str) -> bool:
    """Whether an SPDX expression, or a name, leaves a choice in which everything is permitted."""
    if expression in PERMITTED:  # a classifier's name may hold parentheses
        return True
    parts = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
    return all(any(name.strip() in PERMITTED for name in re.split(r"\s+OR\s+", part)) for part in parts)


def test_licences_of_all_dependencies_are_permitted() -> None:
    found = {name: licences(d) for name, d in runtime_closure().items() if not name.startswith(NVIDIA)}
    assert {"torch", "numpy", "transformers"} <= found.keys() and len(found) > 15
    assert {name: said for name, said in found.items() if not all(map(is_permitted, said))} == {}


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True),
        ("MPL-2.0 AND MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("MIT AND (GPL-3.0-only OR BSD-3-Clause)", True),
        ("MIT AND GPL-3.0-only", False),
        ("GNU Affero General Public License v3", False),
        ("none", False),
    ],
)
def test_what_counts_as_permitted(expression: str, permitted: bool) -> None:
    assert is_permitted(expression) == permitted


def requirements(path: Path) -> list[Requirement]:
    lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def test_the_lock_has_a_version_of_everything_that_ci_installs() -> None:
    lock = requirements(ROOT / ".ci" / "requirements.txt")
    assert all(re.fullmatch(r"==[\w.+!]+", str(pinned.specifier)) for pinned in lock)
    versions = {
        canonicalize_name(pinned.name): str(pinned.specifier).removeprefix("==")
        for pinned in lock
        if pinned.marker is None or pinned.marker.evaluate()
    }
    wanted = [Requirement(line) for line in project()["dependencies"]]
    wanted += [Requirement(line) for lines in project()["optional-dependencies"].values() for line in lines]
    for path in (".ci/requirements.in", "examples/deploy/space/requirements.txt"):
        wanted += requirements(ROOT / path)
    locked = {str(need): versions.get(canonicalize_name(need.name)) for need in wanted}
    assert [need for need, version in locked.items() if not version or version not in Requirement(need).specifier] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r'"torch==([\d.]+)"', readme)) == {versions["torch"]}
