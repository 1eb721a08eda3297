"""Check the written tasks and write the table of their README: `python examples/written_tasks/write_counts.py`."""

from __future__ import annotations

import argparse
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unimc_hf.evaluation.written_tasks import KINDS, WrittenTask, read_written_tasks

HERE = Path(__file__).parent
SPLITS = ("train", "development", "evaluation")
CHINESE = re.compile("[\u4e00-\u9fff]")


def read_splits(language: str) -> dict[str, list[WrittenTask]]:
    """The tasks of every split of a language."""
    return {split: read_written_tasks([HERE / language / split]) for split in SPLITS}


def faults(splits: dict[str, list[WrittenTask]]) -> list[str]:
    """What is wrong: names and texts that repeat, labels without wordings or texts, domains in two splits."""
    found = []
    names = Counter(task.name for tasks in splits.values() for task in tasks)
    found += [f"{name}: the name repeats" for name, count in names.items() if count > 1]
    for task in (task for tasks in splits.values() for task in tasks):
        right = Counter(label for row in task.rows if len(row.right) == 1 for label in row.right)
        for label, words in task.wordings.items():
            if len(words) < 3:
                found.append(f"{task.name}: label {label!r} needs two other wordings")
            if not right[label]:
                found.append(f"{task.name}: label {label!r} has no text")
        texts = Counter((row.text, row.text_pair, row.question) for row in task.rows)
        found += [f"{task.name}: repeats {text[0][:60]!r}" for text, count in texts.items() if count > 1]
        if task.kind != "reading" and len(task.wordings) < 2:
            found.append(f"{task.name}: fewer than two labels")
    trained = {task.domain for task in splits["train"]}
    for split in SPLITS[1:]:
        found += [
            f"{task.name}: its domain {task.domain!r} is trained on" for task in splits[split] if task.domain in trained
        ]
    return found


def length(text: str) -> int:
    """Words, or characters of Chinese."""
    return len(CHINESE.findall(text)) or len(text.split())


def counts(language: str, splits: dict[str, list[WrittenTask]]) -> list[str]:
    """The lines of the table."""
    unit = "characters" if language == "chinese" else "words"
    lines = [f"| {language} | tasks | texts | {unit}, median | labels, median (most) | {' | '.join(KINDS)} |"]
    lines.append("|---" * (len(KINDS) + 5) + "|")
    for split, tasks in splits.items():
        sizes = [len(task.wordings) for task in tasks if task.wordings]
        median = statistics.median(length(row.text) for task in tasks for row in task.rows)
        kinds = Counter(task.kind for task in tasks)
        cells = [split, len(tasks), sum(len(task.rows) for task in tasks), f"{median:g}"]
        cells += [f"{statistics.median(sizes):g} ({max(sizes)})", *(kinds[kind] for kind in KINDS)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    several, none = (
        sum(
            any(len(row.right) == 0 if n == 0 else len(row.right) > 1 for row in task.rows)
            for tasks in splits.values()
            for task in tasks
        )
        for n in (2, 0)
    )
    return [
        *lines,
        "",
        f"{several} tasks have texts for which several labels are right, {none} have some that none fits.",
    ]


def table(languages: Sequence[str]) -> str:
    """The counts of all languages, as the README has them."""
    return "\n\n".join("\n".join(counts(language, read_splits(language))) for language in languages)


def main() -> None:
    languages = [path.name for path in sorted(HERE.iterdir()) if (path / SPLITS[0]).is_dir()]
    for language in languages:
        for fault in faults(read_splits(language)):
            raise SystemExit(f"{language}: {fault}")
    readme = HERE / "README.md"
    start, end = "<!-- counts -->\n", "\n<!-- end of counts -->"
    before, _, rest = readme.read_text(encoding="utf-8").partition(start)
    readme.write_text(before + start + table(languages) + end + rest.partition(end.strip())[2], encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
