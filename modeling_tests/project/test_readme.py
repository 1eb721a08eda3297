"""README and documentation: every Python snippet runs, in order, offline, and gives what it says it gives; the
commands and files that a page names exist, and the scripts take the commands' arguments."""

import argparse
import ast
import builtins
import io
import json
import os
import re
import runpy
import shlex
import statistics
import sys
import tokenize
from pathlib import Path
from string import Template
from typing import Any

import pytest
from places import EXAMPLES, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "examples/deploy/space/README.md"]
PAGES += [EXAMPLES / "README.md", ROOT / "modeling_tests/README.md"]
PAGES += sorted((ROOT / ".github").glob("*.md"))
PAGES += sorted((ROOT / "examples/docs").glob("*.md"))
FENCED = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
# A command stands on a line of its own or in the cell of a table.
COMMAND = re.compile(r"(?:^|\| `)python (examples/\S+\.py\b[^`\n]*)(?:$|` \|)", flags=re.MULTILINE)
COMMANDS = sorted({command for page in PAGES for command in COMMAND.findall(page.read_text(encoding="utf-8"))})
per_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def run_snippets(page: Path) -> dict:
    """Run the page's snippets in one namespace, which is returned.

    A comment behind an expression is held to its word where it is a literal (`# 'business'`) or names an error
    (`# ValueError: why`, the words of its message without backticks).
    """
    text, namespace = page.read_text(encoding="utf-8"), {}
    for match in FENCED.finditer(text):
        code = "\n" * text.count("\n", 0, match.start(1)) + match[1]  # so that tracebacks name the page's lines
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
        for statement in ast.parse(code).body:
            comment = comments.get(statement.end_lineno, "")
            name, _, why = comment.partition(": ")
            error = getattr(builtins, name, None)
            if isinstance(statement, ast.Expr):
                expression = compile(ast.Expression(statement.value), str(page), "eval")
                if isinstance(error, type) and issubclass(error, Exception):
                    with pytest.raises(error) as raised:
                        eval(expression, namespace)
                    assert why in str(raised.value).replace("`", ""), f"{page.name}:{statement.lineno}: {raised.value}"
                    continue
                value = eval(expression, namespace)
                try:
                    said = ast.literal_eval(comment)
                except (SyntaxError, ValueError):
                    continue
                assert value == said, f"{page.name}:{statement.lineno}: {value!r}, the page says {comment}"
            else:
                exec(compile(ast.Module([statement], []), str(page), "exec"), namespace)
    return namespace


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@per_page
def test_snippets_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = run_snippets(page)
    if page.name == "README.md" and page.parent == ROOT:
        first = namespace["classify"]("Stocks fell sharply.", candidate_labels=["sports", "business"])
        assert first["labels"] == ["business", "sports"]
        assert (tmp_path / "my-unimc" / "pipeline_unimc.py").exists()


@pytest.mark.parametrize(
    ("snippet", "fails"),
    [
        ("1 + 1  # 2", False),
        ("1 + 1  # 3", True),
        ("int('x')  # ValueError: invalid literal for int", False),
        ("int('x')  # ValueError: no number", True),
        ("int('1')  # ValueError: invalid literal for int", True),
        ("1 + 1  # two", False),
    ],
)
def test_a_comment_is_held_to_its_word(snippet: str, fails: bool, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```python\n{snippet}\n```\n\n```python no-run\nundefined\n```\n")
    if fails:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            run_snippets(page)
    else:
        run_snippets(page)


@per_page
def test_files_that_it_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in re.findall(r"python (examples/\S+\.py)", text) if not (ROOT / name).exists()]
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            missing.append(link)
    assert missing == []


class Parsed(Exception):
    """A script has read its arguments."""


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.endswith("--help")])
def test_commands_parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every script is run as far as its arguments are read."""
    script, *words = shlex.split(Template(command).substitute(W="examples/written_tasks/english", B="encoder"))
    if not re.search(r"\bparse(_\w+)?\(", (ROOT / script).read_text(encoding="utf-8")):
        pytest.skip("has no parser")
    parse_known_args = argparse.ArgumentParser.parse_known_args

    def parse(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        _, unknown = parse_known_args(self, *args, **kwargs)
        assert unknown == []
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises((Parsed, ModuleNotFoundError)) as raised:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    if raised.type is ModuleNotFoundError:
        pytest.skip(f"needs an extra: {raised.value}")


def test_it_is_short_and_stays_in_the_repository() -> None:
    assert README.count("\n") <= 200
    outside = re.compile(r"^(?:\$ )?(?:python|pip|cp|torchrun)\b.*\.\./", flags=re.MULTILINE)
    pages = [*PAGES, *sorted((ROOT / "unimc_hf").rglob("*.md")), *sorted(EXAMPLES.rglob("*.md"))]
    assert {str(page): outside.findall(page.read_text(encoding="utf-8")) for page in pages} == {
        str(page): [] for page in pages
    }


@pytest.mark.parametrize("name", ["first", "test"])
def test_the_two_commands_are_marked_for_ci(name: str) -> None:
    block = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert block and block[1].count("\n") == 1  # one line each
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_evaluation_table_is_that_of_the_committed_figures() -> None:
    figures = json.loads((EXAMPLES / "models" / "english" / "evaluation_english.json").read_text(encoding="utf-8"))
    for row in figures["classifiers"].values():
        for data_set in row["data_sets"].values():
            assert f"{data_set['accuracy']:.3f}" in README


def test_the_figures_of_the_written_tasks_are_those_committed() -> None:
    figures = json.loads((EXAMPLES / "models" / "english" / "tasks_evaluation.json").read_text(encoding="utf-8"))
    ways = ("own", "none", "other", "own, batch-calibrated", "cosine of text")
    own, none, other, calibrated, cosine = (figures["macro_f1"][way] for way in ways)
    said = " ".join(README.split())
    assert f"On {figures['tasks']} [written tasks]" in said
    assert f"{own:.3f} with their own questions, {none:.3f} with none, {other:.3f} with others and" in said
    assert f"{calibrated:.3f} [batch-calibrated]" in said
    assert f"the cosine reaches {cosine:.3f}" in said


def test_the_speed_table_is_that_of_the_committed_figures() -> None:
    figures = json.loads((EXAMPLES / "benchmark" / "results" / "speed.json").read_text(encoding="utf-8"))
    speeds = figures["sizes"]["minilm"]["labels"]
    for name in next(iter(speeds.values())):
        row = " | ".join(f"{contenders[name]['texts_per_second']:.3g}" for contenders in speeds.values())
        assert f"| {row} |" in README


def test_the_triangle_is_that_of_the_committed_figures() -> None:
    page = (EXAMPLES / "docs" / "training.md").read_text(encoding="utf-8")
    figures = json.loads((EXAMPLES / "fine_tune" / "results" / "impossible_triangle.json").read_text(encoding="utf-8"))
    for method, facts in figures["contenders"].items():
        row = f"| {method} | {facts['parameters'] / 1e6:.1f}M |"
        for shots in (0, 16, "all"):
            accuracies = [c["accuracy"] for c in figures["cells"] if c["method"] == method and c["shots"] == shots]
            row += f" {statistics.mean(accuracies):.3f} |" if accuracies else " - |"
        assert row in page


def test_the_chinese_table_is_that_of_the_committed_figures() -> None:
    figures = json.loads((EXAMPLES / "models" / "chinese" / "evaluation_fewclue.json").read_text(encoding="utf-8"))
    published = json.loads((EXAMPLES / "evaluate" / "published_fewclue.json").read_text(encoding="utf-8"))
    page, tasks = (ROOT / "README.zh.md").read_text(encoding="utf-8"), published["tasks"]
    free, research = "UniMC unimc_hf_chinese", "UniMC unimc_hf_chinese_research"
    for setting, name in (("zero-shot", free), ("zero-shot", research), ("few-shot", f"{research}, train")):
        row = [100 * figures[setting][name]["tasks"][task]["accuracy"] for task in tasks]
        for accuracies in (row, published[setting]["UniMC 110M"]):
            cells = [f"{accuracy:.1f}" for accuracy in [*accuracies, statistics.mean(accuracies)]]
            assert f"| {' | '.join(cells)} |" in page
    few_shot = json.loads((EXAMPLES / "models" / "chinese" / "few_shot_fewclue.json").read_text(encoding="utf-8"))
    for cell in few_shot["cells"]:
        assert f"{cell['data_set']} {100 * cell['accuracy']:.1f}" in page
    names = ("tasks_evaluation_research.json", "tasks_evaluation.json")
    parts = [json.loads((EXAMPLES / "models" / "chinese" / name).read_text(encoding="utf-8")) for name in names]
    assert " 对 ".join(f"{part['macro_f1']['own']:.3f}" for part in parts) in page
