"""Every Python snippet of the README runs, in order, offline; its commands and files exist."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE_README = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def snippets(readme: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)


def test_snippets_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(snippets(README)) >= 5
    namespace: dict = {}
    for snippet in snippets(README):
        exec(compile(snippet, "README.md", "exec"), namespace)
    first = namespace["classify"]("Stocks fell sharply.", candidate_labels=["sports", "business"])
    assert first["labels"] == ["business", "sports"]
    assert (tmp_path / "my-unimc" / "pipeline_unimc.py").exists()


def test_snippets_of_the_chinese_one(capsys: pytest.CaptureFixture) -> None:
    (snippet,) = snippets(CHINESE_README)
    exec(compile(snippet, "README.zh.md", "exec"), {})
    printed = [comment.strip() for comment in re.findall(r"\)  # (.+)", snippet)]
    assert capsys.readouterr().out.splitlines() == printed


@pytest.mark.parametrize("readme", [README, CHINESE_README], ids=["english", "chinese"])
def test_files_that_it_names_exist(readme: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme) + re.findall(r"python (examples/\S+\.py)", readme)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["first", "test"])
def test_the_two_commands_are_marked_for_ci(name: str) -> None:
    block = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert block and block[1].count("\n") == 1  # one line each
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_evaluation_table_is_that_of_the_committed_figures() -> None:
    import json

    figures = json.loads((ROOT / "examples" / "evaluation_english.json").read_text(encoding="utf-8"))
    for row in figures["classifiers"].values():
        for data_set in row["data_sets"].values():
            assert f"{data_set['accuracy']:.3f}" in README
