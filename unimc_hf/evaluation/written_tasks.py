"""Tasks in the form of `examples/written_tasks/README.md`, read into examples: whole label sets with their wordings.

One JSON object a line is one task: its labels, other wordings of each, questions, and texts under their right labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .jsonl_examples import Example

KINDS = (
    "topic", "intent", "sentiment", "emotion", "toxicity", "stance", "question_type", "nli", "pair", "reading", "other",
)  # fmt: skip
# Kinds whose options cannot be understood without the question.
KINDS_THAT_ASK = ("nli", "pair", "reading", "stance")


@dataclass(frozen=True)
class WrittenRow:
    """One text and what is right about it.

    Args:
        text, text_pair: the second one is `""` where there is none.
        right: the right labels, of the task's or of `options`; none of the labels may fit, or several.
        question, options: of a row that has its own (kind `reading`), else `""` and empty.
    """

    text: str
    right: tuple[str, ...]
    text_pair: str = ""
    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenTask:
    """A task: `wordings` holds every label's, its name first."""

    name: str
    kind: str
    domain: str
    questions: tuple[str, ...]
    wordings: dict[str, tuple[str, ...]]
    rows: tuple[WrittenRow, ...]


def read_written_tasks(folders: Iterable[str | Path]) -> list[WrittenTask]:
    """The tasks of all `.jsonl` files of folders, in the order of file names and lines.

    Raises:
        ValueError: if a folder has no such file, or naming the file and line of a task that is not in the form.
    """
    tasks = []
    for folder in folders:
        paths = sorted(Path(folder).glob("*.jsonl"))
        if not paths:
            raise ValueError(f"{str(folder)!r} has no file of written tasks (.jsonl).")
        for path in paths:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                try:
                    tasks.append(to_written_task(json.loads(line)))
                except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
                    raise ValueError(f"{path}, line {number}: not a task ({type(error).__name__}: {error}).") from None
    return tasks


def is_written_task(line: Any) -> bool:
    """Whether a JSON object is a whole task and not one example."""
    return isinstance(line, dict) and "options" not in line and ("labels" in line or "items" in line)


def to_written_task(line: dict[str, Any]) -> WrittenTask:
    """A line's task; raises what is wrong with it as Python does."""
    if line["kind"] not in KINDS:
        raise ValueError(f"`kind` is {line['kind']!r}, not one of {', '.join(KINDS)}")
    wordings = {label: (label, *others) for label, others in line.get("labels", {}).items()}
    rows = [WrittenRow(text, (label,)) for label, texts in line.get("texts", {}).items() for text in texts]
    for label, pairs in line.get("pairs", {}).items():
        rows += [WrittenRow(text, (label,), text_pair) for text, text_pair in pairs]
    rows += [WrittenRow(text, tuple(labels)) for text, labels in line.get("several", [])]
    rows += [WrittenRow(text, ()) for text in line.get("none_fits", [])]
    for text, question, options, right in line.get("items", []):
        rows.append(WrittenRow(text, (options[right],), question=question, options=tuple(options)))
    for row in rows:
        if unknown := set(row.right) - set(row.options or wordings):
            raise ValueError(f"{sorted(unknown)} are no labels of the task")
    questions = tuple(filter(None, line["questions"]))
    return WrittenTask(line["task"], line["kind"], line.get("domain", ""), questions, wordings, tuple(rows))


def plain_examples(tasks: Sequence[WrittenTask], none_fits: bool = False) -> list[Example]:
    """The rows as a user would ask them: every label by its name, the task's first question.

    Args:
        tasks: of [`read_written_tasks`].
        none_fits: whether to return the rows that no label fits, whose `label` is a 0 for every option, instead.

    Returns:
        Dicts as of [`read_jsonl`]: `source` is the name of the task, `task` its kind. Rows for which several labels
        are right are left out.
    """
    examples = []
    for task in tasks:
        for row in task.rows:
            if len(row.right) != (0 if none_fits else 1):
                continue
            options = list(row.options or task.wordings)
            examples.append(
                {
                    "text": row.text,
                    "text_pair": row.text_pair,
                    "question": row.question or (task.questions or ("",))[0],
                    "options": options,
                    "label": [0.0] * len(options) if none_fits else options.index(row.right[0]),
                    "task": task.kind,
                    "source": task.name,
                }
            )
    return examples


__all__ = [
    "KINDS",
    "KINDS_THAT_ASK",
    "WrittenRow",
    "WrittenTask",
    "is_written_task",
    "plain_examples",
    "read_written_tasks",
    "to_written_task",
]
