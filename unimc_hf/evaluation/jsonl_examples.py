"""The common JSONL format of multiple-choice data, read into the examples that the collator and the pipeline take.

A row is `{"passage": str, "question": str, "options": [str, ...], "label": int, "task": str, "source": str}`, one
JSON object a line, the file gzipped or not; or, as in examples, it has `text` and maybe `text_pair` instead of
`passage`. A line may also be a whole task in the form of `written_tasks`.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from ..option_inputs import check_menu, check_optional_text

Example = dict[str, Any]

# Paraphrase rows join their two texts by this; here they become `text` and `text_pair`.
TEXT_SEPARATOR = " [SEP] "


def read_jsonl(path: str | Path, limit: int | None = None, seed: int = 0) -> list[Example]:
    """Examples of a `.jsonl` or `.jsonl.gz` file.

    Args:
        path: the file; `FILE#SOURCE` for the rows of one source, or task, alone.
        limit: at most so many rows, a random sample in file order.
        seed: of the sample.

    Returns:
        Dicts with `text`, `text_pair`, `question` (`""` where there is none), `options`, `label`, `task`, `source`.

    Raises:
        ValueError: if a line is no JSON object, has neither `text` nor `passage`, or no list of different `options`,
            with the number of the line; if the file has no such source.
    """
    from .written_tasks import is_written_task, plain_examples, to_written_task  # which knows the form of our examples

    source = ""
    if "#" in str(path) and not Path(path).exists():
        path, _, source = str(path).rpartition("#")
    examples: list[Example] = []
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if is_written_task(row):
                    examples += plain_examples([to_written_task(row)])
                else:
                    examples.append(_to_example(row, default_source=Path(path).name.partition(".")[0]))
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise ValueError(f"{path}, line {number}: not an example ({type(error).__name__}: {error}).") from None
    if source:
        examples = [example for example in examples if example["source"] == source]
        if not examples:
            raise ValueError(f"{path} has no source {source!r}.")
    if limit is not None and limit < len(examples):
        examples = [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), limit))]
    return examples


def _to_example(row: dict[str, Any], default_source: str) -> Example:
    if "text" in row:
        text, text_pair = check_optional_text("text", row["text"]), ""
    elif "passage" in row:
        text, _, text_pair = (row["passage"] or "").partition(TEXT_SEPARATOR)
    else:
        raise ValueError("it has neither `text` nor `passage`")
    return {
        "text": text,
        "text_pair": check_optional_text("text_pair", row.get("text_pair")) or text_pair,
        "question": row.get("question") or "",
        "options": list(check_menu("options", row["options"])),
        "label": row.get("label"),
        "task": (row.get("task") or "other").partition("+")[0],
        "source": row.get("source") or default_source,
    }


__all__ = ["Example", "read_jsonl"]
