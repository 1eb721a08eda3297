"""`unimc verify`: is the code in a folder or Hub repository that of the installed package, and nothing else?

For a careful user, before `trust_remote_code=True`. Everything is read as bytes or JSON; nothing of the repository is
imported, unpickled or run. The installed package is what is trusted: the repository's own manifest only says which
version it was saved by and whether a file changed since, and may be missing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from huggingface_hub import HfApi, snapshot_download

from ..saved_files import CODE_FILES, CODE_MANIFEST, __version__, sha256

CODE_SUFFIXES = (".py", ".pyc", ".pyd", ".pyw", ".so")
PICKLE_SUFFIXES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
LARGEST_FILE = 100_000_000  # bytes; nothing larger is read, no code and no configuration is near it


class Finding(NamedTuple):
    """What is to say of one file: `status` is `"ok"`, `"note"`, or names what is wrong with it."""

    status: str
    file: str
    reason: str = ""

    @property
    def is_problem(self) -> bool:
        return self.status not in ("ok", "note")

    def __str__(self) -> str:
        # The repository chose the words: none may move the cursor, turn the direction of writing or fill the screen.
        words = [text if text.isprintable() else ascii(text) for text in (self.file[:300], self.reason[:300])]
        return f"{self.status:<9} {words[0]}" + (f": {words[1]}" if words[1] else "")


def verify_repository(folder_or_repo: str, revision: str | None = None) -> tuple[list[Finding], str | None]:
    """
    Compare the code of a saved repository with the installed package. Of a Hub repository only `*.py` and `*.json`
    are downloaded.

    Args:
        folder_or_repo (`str`): a folder, or where there is none of that name, a Hub repository.
        revision (`str`, *optional*): branch, tag or commit of the Hub repository, its main branch if not given.

    Returns:
        The findings, and the commit they are about (`None` for a folder).

    Raises:
        ValueError: for a `revision` of a folder, a folder that Python imports from, or one that holds no model.
        OSError: if the repository cannot be reached or has no such revision.
    """
    if not os.path.isdir(folder_or_repo):
        info = HfApi().model_info(folder_or_repo, revision=revision)
        folder = snapshot_download(folder_or_repo, revision=info.sha, allow_patterns=["*.py", "*.json"])
        return verify_folder(Path(folder), [file.rfilename for file in info.siblings or ()]), info.sha
    if revision is not None:
        raise ValueError(f"`revision` is for Hub repositories, and {folder_or_repo!r} is a folder.")
    if os.path.realpath(folder_or_repo) in map(os.path.realpath, sys.path):
        raise ValueError(
            f"{folder_or_repo!r} is on Python's path (`python -m` puts the current folder there), so its files may "
            "have been imported already. Run the command from another folder."
        )
    return verify_folder(Path(folder_or_repo)), None


def verify_folder(folder: Path, listed: list[str] | None = None) -> list[Finding]:
    """
    The findings about a folder; `listed` names files of the repository that are not downloaded. Where there is neither
    a model nor code, a `ValueError` says so.
    """
    root = folder.resolve()
    package = {name: Path(__file__).parent.parent / name for name in CODE_FILES}
    findings, present = _look_at_files(root, package)
    for name in sorted({*(listed or ())} - present):
        if finding := _judge_by_name(name, package):
            findings.append(finding)

    readable = present - {finding.file for finding in findings if finding.status == "link"}
    needed: set[str] = set()
    for name in sorted(readable):
        if name.lower().endswith(".json") and name != CODE_MANIFEST:
            found, modules = _read_references(root, name, package)
            findings += found
            needed |= modules
    if CODE_MANIFEST in readable:
        findings += _read_manifest(root, readable, needed)
    elif findings:
        findings.append(Finding("note", CODE_MANIFEST, "is not there: saved by an older version, or removed"))
    # A class that the configuration names needs, directly or not, any of them: they are saved together.
    missing = needed.union(CODE_FILES if needed & set(CODE_FILES) else ()) - present
    if not findings and "config.json" not in present:
        raise ValueError(f"{str(folder)!r} has no config.json and no code: there is no model to look at.")
    return findings + [Finding("missing", name, "is needed and not there") for name in sorted(missing)]


def _look_at_files(root: Path, package: dict[str, Path]) -> tuple[list[Finding], set[str]]:
    findings, present = [], set()
    for parent, folders, files in os.walk(root):
        for name in sorted(folders + files):
            path = Path(parent, name)
            relative = path.relative_to(root).as_posix()
            if path.is_symlink() and not _is_harmless_link(path, root):
                findings.append(Finding("link", relative, f"is a link to {os.readlink(path)}; not followed"))
                present.add(relative)
            elif name in files:
                present.add(relative)
                if not path.is_file():
                    findings.append(Finding("link", relative, "is no regular file; not read"))
                elif finding := _judge_by_name(relative, package):
                    findings.append(finding)
                elif relative in package:
                    findings.append(_compare(path, package[relative]))
    return findings, present


def _is_harmless_link(path: Path, root: Path) -> bool:
    """A file's link that stays in the folder, or goes where the Hub's cache keeps its files (`../../blobs`)."""
    target = path.resolve()
    return target.is_file() and (target.is_relative_to(root) or target.parent == root.parent.parent / "blobs")


def _judge_by_name(name: str, package: dict[str, Path]) -> Finding | None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in CODE_SUFFIXES and name not in package:
        return Finding("extra", name, "is no file of the package")
    if suffix in PICKLE_SUFFIXES:
        return Finding("pickle", name, "may run code when something loads it; this package saves safetensors only")
    return None


def _compare(path: Path, own: Path) -> Finding:
    if path.stat().st_size == own.stat().st_size and sha256(path) == sha256(own):
        return Finding("ok", path.name)
    return Finding("differs", path.name, f"from the file of unimc_hf {__version__}")


def _read_json(root: Path, name: str) -> tuple[Any, list[Finding]]:
    try:
        if (size := (root / name).stat().st_size) > LARGEST_FILE:
            raise ValueError(f"{size} bytes are more than {LARGEST_FILE}")
        return json.loads((root / name).read_text(encoding="utf-8")), []
    except (ValueError, RecursionError) as error:
        return None, [Finding("unread", name, f"is no JSON that can be read: {error}")]


def _read_references(root: Path, name: str, package: dict[str, Path]) -> tuple[list[Finding], set[str]]:
    """What a configuration would have loaded: findings for what is not the package's, names of the files that are."""
    content, findings = _read_json(root, name)
    modules: set[str] = set()
    for where, reference in _references(content):
        module = re.fullmatch(r"(\w+)\.\w+", reference, flags=re.ASCII)
        if module and f"{module[1]}.py" in package:
            modules.add(f"{module[1]}.py")
        else:
            findings.append(Finding("elsewhere", name, f"{where} names {reference!r}, which is not of the package"))
    if PurePosixPath(name).name == "adapter_config.json" and isinstance(content, dict):
        base = content.get("base_model_name_or_path")
        findings.append(Finding("elsewhere", name, f"has transformers load {base!r}, with the code of that repository"))
    return findings, modules


def _references(content: Any) -> Iterator[tuple[str, str]]:
    """Every class that a configuration names in `auto_map` or `custom_pipelines`, at whatever depth."""
    stack: list[tuple[Any, str]] = [(content, "")]
    while stack:
        value, where = stack.pop()
        if isinstance(value, str) and where:
            yield where, value
        elif isinstance(value, list):
            stack += [(item, where) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                # Of a pipeline's entry only `impl` is a class of the repository, the others are transformers' own.
                of_transformers = where == "custom_pipelines" and key != "impl" and not isinstance(item, dict)
                inner = "" if of_transformers else where
                stack.append((item, key if key in ("auto_map", "custom_pipelines") else inner))


def _read_manifest(root: Path, readable: set[str], needed: set[str]) -> list[Finding]:
    """Findings about the manifest; the files it names are added to those that are needed."""
    content, findings = _read_json(root, CODE_MANIFEST)
    files = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        return findings + [Finding("manifest", CODE_MANIFEST, "names no files")]
    version = content.get("version")
    if version != __version__:
        findings.append(Finding("note", CODE_MANIFEST, f"says version {version!r}; {__version__} is installed"))
    for name, digest in files.items():
        # The name decides what would be opened: a plain file name, or it is not opened.
        if not re.fullmatch(r"\w+\.py", name, flags=re.ASCII):
            findings.append(Finding("manifest", CODE_MANIFEST, f"names {name!r}, which is no plain file name"))
            continue
        needed.add(name)
        if name in readable and (root / name).stat().st_size <= LARGEST_FILE and sha256(root / name) != digest:
            findings.append(Finding("manifest", name, f"is not what {CODE_MANIFEST} lists: changed after it was saved"))
    return findings


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Exit code 0: nothing but the package's own code; 1: something else; 2: could not be checked."""
    parser = argparse.ArgumentParser(
        prog="unimc verify",
        description="Compare the code in a folder or Hub repository with the installed package, and run none of it.",
    )
    parser.add_argument("folder_or_repo", help="folder, or name of a Hub repository")
    parser.add_argument("--revision", help="branch, tag or commit of the Hub repository")
    options = parser.parse_args(arguments)
    try:
        findings, commit = verify_repository(options.folder_or_repo, options.revision)
    except Exception as error:  # those of the network libraries have no base class in common
        print(f"unimc verify: {error}", file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    problems = sum(finding.is_problem for finding in findings)
    same = sum(finding.status == "ok" for finding in findings)
    if problems:
        print(f"Do not trust it unread: {same} code files are those of unimc_hf {__version__}, {problems} problems.")
    elif not same:
        print("There is no code, and nothing points to any: a plain model, which runs none.")
    else:
        print(f"All {same} code files are those of unimc_hf {__version__}, and nothing points to others.")
    if commit:
        print(f"This is commit {commit}; pass revision={commit!r} to load the same.")
    return int(problems > 0)
