"""Every path that a page, a script or CI names exists, and the two indexes leave nothing out."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from places import EXAMPLES, ROOT, SCRIPTS

TEXT = {".md", ".py", ".yml", ".yaml", ".toml", ".in", ".sh", ""}
# Not after a slash or a word: `fengshen/examples/unimc` is another repository's.
PATH = re.compile(r"(?<![\w/.-])(?:\./)?((?:examples|modeling_tests)/[\w./*{},-]*)")
TASK = re.compile(r"(examples/written_tasks/\w+/\w+/\w+\.jsonl)#(\w+)")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s]+)\)")


@cache
def files() -> list[Path]:
    """The text files of the checkout: those that git has or would add, else all."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    found = [ROOT / name for name in listed.stdout.splitlines()] or list(ROOT.rglob("*"))
    skipped = {".git", "__pycache__", ".venv", "build", "dist"}
    return [f for f in found if f.is_file() and f.suffix in TEXT and not skipped & set(f.relative_to(ROOT).parts)]


def dead_paths(text: str) -> list[str]:
    # What follows `.*` is a pattern of a test.
    named = {name.partition(".*")[0].rstrip(".,-") for name in PATH.findall(text)}
    return sorted(name for name in named if "{" not in name and not any(ROOT.glob(name)))


def dead_links(page: Path, text: str) -> list[str]:
    return [link for link in LINK.findall(text) if not (page.parent / link.partition("#")[0]).exists()]


def test_every_path_that_is_named_exists() -> None:
    found = {str(file.relative_to(ROOT)): dead_paths(file.read_text(encoding="utf-8")) for file in files()}
    assert len(found) > 150 and {name: dead for name, dead in found.items() if dead} == {}


def test_every_link_goes_somewhere() -> None:
    pages = [file for file in files() if file.suffix == ".md"]
    found = {str(page.relative_to(ROOT)): dead_links(page, page.read_text(encoding="utf-8")) for page in pages}
    assert len(found) > 15 and {name: dead for name, dead in found.items() if dead} == {}


def test_every_written_task_that_is_named_is_in_its_file() -> None:
    named = {match for file in files() for match in TASK.findall(file.read_text(encoding="utf-8"))}
    assert len(named) > 1
    for path, task in named:
        assert f'"task": "{task}"' in (ROOT / path).read_text(encoding="utf-8"), f"{path}#{task}"


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("python {}/evaluate/evaluate.py --help, or modeling_tests/conformance/run.py.", []),
        ("see `{}/gone.py`, and ./{}/gone", ["{}/gone", "{}/gone.py"]),
        ("fengshen/{}/unimc and {}/chinese_model/", []),
        ("{}/models/chinese/train_*.json, {}/models/chinese/gone_*.json", ["{}/models/chinese/gone_*.json"]),
    ],
)
def test_a_path_that_is_gone_is_seen(text: str, dead: list[str]) -> None:
    named = [name.replace("{}", "examples") for name in dead]  # not in full above: this file is looked through as well
    assert dead_paths(text.replace("{}", "examples")) == named


def test_a_link_that_is_gone_is_seen() -> None:
    assert dead_links(ROOT / "README.md", "[a](LICENSE) [b](gone.md#x) [c](https://x.y) [d](#here)") == ["gone.md#x"]


def test_the_index_of_examples_names_every_script_once() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`[\w./]+\.py`\]\((\S+?)\) \|.*examples/(\S+?\.py)\b", index, flags=re.MULTILINE)
    assert all(link == command for link, command in rows)
    scripts = {path: path.read_text(encoding="utf-8") for folder in SCRIPTS for path in folder.glob("**/*.py")}
    assert len(scripts) > 40
    programs = [
        str(path.relative_to(EXAMPLES)) for path, text in scripts.items() if 'if __name__ == "__main__"' in text
    ]
    # The first is copied, the second is started by others, and the third by `build.py`.
    copied, started, collected = "deploy/handler.py", "benchmark/contenders.py", "deploy/space/app.py"
    assert sorted(link for link, _ in rows) == sorted({*programs, copied} - {started, collected})
    others = {path.name for path in scripts} - {Path(name).name for name in (*programs, collected)}
    assert {name for name in others if f"`{name}`" not in index} == set()
    # "`--help` of each script says the rest": none may take it for a file, or start its work.
    helpful = re.compile(r"ArgumentParser\(|\bparse\(__doc__")
    texts = {name: scripts[EXAMPLES / name] for name in programs if EXAMPLES / name in scripts}
    assert {name for name, text in texts.items() if not helpful.search(text)} <= {started, collected}


def test_the_index_of_tests_names_every_file_once() -> None:
    tests = ROOT / "modeling_tests"
    index = (tests / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!\.\.)(\S+\.py)\)", index)
    assert len(linked) == len(set(linked))
    there = {str(path.relative_to(tests)) for path in tests.rglob("*.py")}
    assert there - set(linked) == {"conformance/conftest.py", "conformance/run.py"}
