"""Classify a column of a CSV, TSV or JSONL file into another one: rows in input order, in bounded memory.

A line that cannot be read is reported with its number and left out; every other line is classified.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from reprlib import repr as brief
from types import SimpleNamespace
from typing import IO, Any

from tqdm.auto import tqdm

from ..option_inputs import DEFAULT_MAX_LENGTH, check_text
from ..pipeline_inputs import RequestBuilder
from ..pipeline_unimc import scores_in_order

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSONL_SUFFIXES = (".jsonl", ".ndjson")
LABEL, SCORE = "predicted_label", "predicted_score"
MAX_RECORD_CHARACTERS = 2**20  # of a CSV record: the end of a quote is looked for no further than this
LONGEST_PROBE = 10_000  # words


@dataclass
class Row:
    """A record of the input, or what is wrong with it; `line` counts from 1, `end` is its last byte in the file."""

    line: int
    end: int
    record: dict[str, Any]
    error: str = ""


def classify_file(
    classify: Any,
    path: str | Path,
    column: str,
    labels: Any,
    output: str | Path | None = None,
    **arguments: Any,
) -> tuple[int, int]:
    """
    Classify the texts in `column` of a file.

    Every row of the output is a row of the input with `predicted_label` and `predicted_score` (the best label) and
    `score: <label>` for each label. A progress bar shows on a terminal. In a CSV file a quote that is not closed within
    1,048,576 characters is taken for a stray one, and its line alone is left out.

    Args:
        classify ([`UniMCZeroShotPipeline`]): the model.
        path: a `.csv` or `.tsv` file with a header, or a `.jsonl` file of objects; UTF-8.
        column: where the texts are.
        labels: the labels to choose from, a list or whatever else the pipeline takes but groups.
        output: where to write, a file of the same kind; `None`: standard output. The file appears, or is replaced,
            when all rows are done; until then they are in a file with `.unfinished` behind its name.
        **arguments: of the pipeline's call, the same for all rows, e.g. `question`, `multi_label`.

    Returns:
        How many rows were written, and how many lines were broken: each was reported on standard error.

    Raises:
        OSError: if a file cannot be opened.
        ValueError, TypeError: if the kind of file is unknown, `output` is another kind or the same file, there is
            no `column` (in no row of a `.jsonl` file), a column of the input has the name of one of ours,
            `threshold` or `top_k` would leave labels out, or arguments are wrong. Nothing is written then.
    """
    all_scores = "a row has the scores of all labels"
    for name, why in (("threshold", all_scores), ("top_k", all_scores), ("progress_bar", "a file has its own")):
        if arguments.get(name) is not None:
            raise ValueError(f"`{name}` must be left out: {why}.")
        arguments[name] = None  # whatever the pipeline was made with
    builder = RequestBuilder(labels, arguments.get("question"), arguments.get("text_pair"))
    if builder.shared_menu is None or builder.shared_menu[2]:
        raise ValueError(f"`labels` must be one list of labels for all rows, without groups; got {brief(labels)}.")
    if builder.columns:
        raise ValueError(f"`{min(builder.columns)}` must be one string for all rows, not one per row.")
    names = builder.shared_menu[0]
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*DELIMITERS, *JSONL_SUFFIXES):
        raise ValueError(f"`file` must end in {', '.join((*DELIMITERS, *JSONL_SUFFIXES))}, got {path.name!r}.")
    if output is not None:
        if Path(output).suffix.lower() != suffix:
            raise ValueError(f"`output` must end in {suffix}, as `file` does, got {Path(output).name!r}.")
        if Path(output).resolve() == path.resolve():
            raise ValueError("`output` is `file` itself, which would be lost.")
    # Wrong arguments raise here, before anything is written.
    classify(["a"], candidate_labels=labels, **arguments)
    if arguments.get("stride") is not None:  # counts in texts that do not fit only
        num_words = min(arguments.get("max_length") or DEFAULT_MAX_LENGTH, LONGEST_PROBE)
        classify(["a " * num_words], candidate_labels=labels, **arguments)
    arguments["progress_bar"] = False
    score_columns = [f"score: {label}" for label in names]
    added = [LABEL, SCORE, *score_columns]
    num_written = num_broken = num_cut = 0
    waiting: deque[Row] = deque()  # rows that are being classified: a window of the pipeline
    with path.open("rb") as source:
        lines = _NumberedLines(source)
        is_csv = suffix in DELIMITERS
        rows = _csv_rows(lines, DELIMITERS[suffix], column, added) if is_csv else _jsonl_rows(lines, column, added)
        header = next(rows).record if is_csv else {}

        def texts() -> Iterator[str]:
            nonlocal num_broken
            for row in rows:
                if row.error:
                    num_broken += 1
                    bar.write(f"{path}, line {row.line}: {row.error}", file=sys.stderr)
                else:
                    waiting.append(row)
                    yield row.record[column]

        with tqdm(total=path.stat().st_size, unit="B", unit_scale=True, disable=None, desc=path.name) as bar:
            stream = texts()
            first = list(islice(stream, 1))  # raises where no row has the column: before anything is written
            with _open_output(output, is_csv) as target:
                write = _writer(target, DELIMITERS.get(suffix), [*header, *added])
                for result in classify(chain(first, stream), candidate_labels=labels, **arguments):
                    row = waiting.popleft()
                    scores = dict(zip(score_columns, scores_in_order(result, names)))
                    best = {LABEL: result["labels"][0], SCORE: result["scores"][0]}
                    write({**row.record, **best, **scores})
                    num_written += 1
                    num_cut += "num_truncated_tokens" in result
                    bar.update(row.end - bar.n)
                bar.update(lines.end - bar.n)
    if num_broken:
        print(f"{path}: {num_broken} lines are broken and were left out; {num_written} rows written", file=sys.stderr)
    if num_cut:
        print(f"{path}: {num_cut} texts were too long, and their ends were left out", file=sys.stderr)
    return num_written, num_broken


class _NumberedLines:
    """The lines of a file, which can be given back; bytes that are no UTF-8 become lone surrogates."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source, self.given_back = source, deque[tuple[int, int, str]]()
        self.number = self.end = 0

    def __iter__(self) -> _NumberedLines:
        return self

    def __next__(self) -> tuple[int, int, str]:
        """(number, last byte, text with its line end)"""
        if self.given_back:
            return self.given_back.popleft()
        line = self.source.readline()
        if not line:
            raise StopIteration
        self.number += 1
        self.end += len(line)
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # Excel writes one
        return self.number, self.end, line.decode("utf-8", errors="surrogateescape")


def _jsonl_rows(lines: _NumberedLines, column: str, added: list[str]) -> Iterator[Row]:
    num_rows, has_column = 0, False
    for number, end, line in lines:
        if not line.strip():
            continue
        num_rows += 1
        row = Row(number, end, {})
        try:
            row.record = json.loads(line)
            if not isinstance(row.record, dict):
                raise ValueError(f"a JSON object is needed, not {type(row.record).__name__}")
            has_column |= column in row.record
            _check_columns(row.record, column, added)
            check_text(column, row.record[column])
        except (TypeError, ValueError, RecursionError) as error:
            row.error = str(error)
        yield row
    if num_rows and not has_column:
        raise ValueError(f"there is no column {column!r} in any of the rows")


def _csv_rows(lines: _NumberedLines, delimiter: str, column: str, added: list[str]) -> Iterator[Row]:
    """The header as the first row, its names as keys; then the rows.

    A quote that is never closed would take the rest of the file into one field. So where a record is wrong, only its
    first line is given up, and reading goes on with the second.
    """
    header: list[str] = []
    for line in lines:
        if not line[2].strip("\r\n"):
            continue
        taken = [line]
        fields, error = _parse_record(taken, lines, delimiter)
        if not header:
            if error or not fields:
                raise ValueError(f"the header cannot be read: {error}")
            header = fields
            _check_columns(header, column, added)
            if len(set(header)) != len(header):
                raise ValueError(f"the header repeats a column: {header}")
            yield Row(1, taken[-1][1], dict.fromkeys(header))
            continue
        if not error and len(fields) != len(header):
            error = f"{len(fields)} fields where the header has {len(header)}"
        row = Row(line[0], taken[-1][1], dict(zip(header, fields)))
        if error:
            lines.given_back.extendleft(reversed(taken[1:]))
            row.end = line[1]
        else:
            try:
                check_text(column, row.record[column])
            except ValueError as wrong_text:
                error = str(wrong_text)
        row.error = error
        yield row
    if not header:
        raise ValueError("the file is empty; its first line must name the columns")


def _parse_record(taken: list[tuple[int, int, str]], lines: _NumberedLines, delimiter: str) -> tuple[list[str], str]:
    """The fields of the record that starts with `taken`, to which further lines are added, and what is wrong."""

    def of_record() -> Iterator[str]:
        num_characters = len(taken[0][2])
        yield taken[0][2]
        for line in lines:
            taken.append(line)
            yield line[2]
            num_characters += len(line[2])
            if num_characters > MAX_RECORD_CHARACTERS:
                return

    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_CHARACTERS))  # of the process; by default 131,072
    try:
        return next(csv.reader(of_record(), delimiter=delimiter, strict=True), []), ""
    except csv.Error as error:
        return [], str(error)


def _check_columns(names: Iterable[str], column: str, added: list[str]) -> None:
    names = list(names)
    if column not in names:
        raise ValueError(f"there is no column {column!r}; there are {', '.join(map(repr, names))}")
    clash = [name for name in added if name in names]
    if clash:
        raise ValueError(f"there is a column {clash[0]!r} already")


@contextmanager
def _open_output(output: str | Path | None, is_csv: bool) -> Iterator[IO[str]]:
    # What came in goes out: bytes that are no UTF-8 as they were in CSV, lone surrogates as escapes in JSON.
    errors = "surrogateescape" if is_csv else "backslashreplace"
    if output is None:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", errors=errors, newline="", closefd=False) as target:
            yield target
        return
    final = Path(output).resolve()  # where a link leads to
    if final.exists():
        final.open("r+").close()  # a folder, or a file that may not be written, raises now
    unfinished = final.with_name(f"{final.name}.unfinished")
    with unfinished.open("w", encoding="utf-8", errors=errors, newline="") as target:
        yield target
    unfinished.replace(final)


def _writer(target: IO[str], delimiter: str | None, names: list[str]) -> Callable[[dict[str, Any]], Any]:
    if delimiter is None:
        return lambda record: print(json.dumps(record, ensure_ascii=False), file=target)
    # Characters of the line's end are quoted: with "\r\n" also a lone "\r", which a reader would take for an end.
    lines: Any = SimpleNamespace(write=lambda line: target.write(line.removesuffix("\r\n") + "\n"))
    writer = csv.DictWriter(lines, names, delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    return writer.writerow


__all__ = ["classify_file"]
