# /// script
# dependencies = ["unimc_hf[ray]"]
# ///
"""
Classify files that are larger than memory, on as many workers and machines as there are, with Ray Data.

    python examples/deploy/batch_inference_ray.py reviews.jsonl --output classified.jsonl --labels good bad --workers 2

Reads JSONL, CSV or parquet, one file or several, and writes one file of the same format: the rows in their order, each
with two more columns, `labels` (best first) and `scores` (JSON lists in CSV). `text` is classified; `text_pair`,
`question` and `candidate_labels` count where a row has them. Only a few blocks are in memory at a time. A worker that
dies is replaced and what it had in hand is done again. On a cluster, `--output` is a path of the machine that starts
this.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import ray
from ray.data.datasource import FileBasedDatasource
from transformers import pipeline

import unimc_hf
from unimc_hf.pipeline_inputs import RequestBuilder

# The fields of a row that the pipeline reads, and the columns that its answer becomes.
FIELDS = ("text", "text_pair", "question", "candidate_labels")
ANSWER = ("labels", "scores")
CHECKED = ("candidate_labels", "question", "hypothesis_template")
# What a worker has in hand, and what is done again if it dies; Ray's own 128 MiB would be hours of work.
BYTES_PER_BLOCK = 256 * 1024
ROWS_PER_BLOCK = 512


class NumberedLines(FileBasedDatasource):
    """The lines of JSONL files as they are, and where each stands; Ray's `read_json` guesses types, changing values."""

    def _read_stream(self, f: Any, path: str) -> Iterator[pa.Table]:
        rows: list[dict[str, str]] = []
        for number, line in enumerate(io.TextIOWrapper(f, encoding="utf-8"), start=1):
            if line.strip():
                rows.append({"line": line.strip(), "where": f"{path}, line {number}"})
            if len(rows) == ROWS_PER_BLOCK:
                yield pa.Table.from_pylist(rows)
                rows = []
        if rows:
            yield pa.Table.from_pylist(rows)


class Classifier:
    """A worker: loads the model once, then answers one table of rows after the other.

    Args:
        model: folder or Hub name.
        arguments: of the pipeline's calls.
        suffix: of the files: what the tables hold.
    """

    def __init__(self, model: str, arguments: dict[str, Any], suffix: str) -> None:
        self.classify: Any = pipeline("unimc-zero-shot", model=model)
        self.arguments = arguments
        self.suffix = suffix

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the answers: new columns, or for JSONL longer lines."""
        rows = [_parse(**row) for row in table.to_pylist()] if self.suffix == ".jsonl" else table.to_pylist()
        inputs = [{name: row[name] for name in FIELDS if row.get(name)} for row in rows]
        results = self.classify([{"text": "", **row} for row in inputs], **self.arguments)
        answers = {name: [result[name] for result in results] for name in ANSWER}
        if self.suffix == ".jsonl":
            answered = [{**row, **dict(zip(ANSWER, answer))} for row, answer in zip(rows, zip(*answers.values()))]
            return pa.table({"line": [json.dumps(row, ensure_ascii=False) for row in answered]})
        for name, kind in zip(ANSWER, (pa.string(), pa.float64())):
            if self.suffix == ".csv":
                column = pa.array([json.dumps(value, ensure_ascii=False) for value in answers[name]], pa.string())
            else:
                column = pa.array(answers[name], pa.list_(kind))
            table = table.append_column(name, column)
        return table


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError(f"{where}: not an object with a `text`.")
    _check_columns(row, where)
    return row


def _check_columns(names: Collection[str], where: str | Path) -> None:
    """Raise unless there is a text, and the answer would take no column's place."""
    if "text" not in names:
        raise ValueError(f"{where}: there is no column `text`; there are {', '.join(names)}.")
    for name in ANSWER:
        if name in names:
            raise ValueError(f"{where}: there is a column `{name}` already, which is the answer's.")


def classify_files(
    files: Sequence[Path],
    output: Path,
    model: str,
    arguments: dict[str, Any],
    workers: int = 1,
    gpus_per_worker: float = 0,
    worker_class: type[Classifier] = Classifier,
) -> int:
    """
    Classify files and write the answers in the order of the rows; Ray must have been started.

    Args:
        files: of one format, `.jsonl`, `.csv` or `.parquet`.
        output: of the same format. It appears when all is done.
        model: folder or Hub name of a UniMC model.
        arguments: of the pipeline's calls, e.g. `{"candidate_labels": ["good", "bad"]}`.
        workers: processes with a model each, of one CPU each.
        gpus_per_worker: e.g. .5 to share one.
        worker_class: for tests.

    Returns:
        How many rows there were.

    Raises:
        ValueError, TypeError: naming the argument or a file's column, before a worker starts; or the first row that
            is none.
    """
    suffixes = {path.suffix for path in (*files, output)}
    if len(suffixes) != 1 or not suffixes <= set(WRITERS):
        raise ValueError(f"`files` and `output` must all end in one of {', '.join(WRITERS)}; got {sorted(suffixes)}.")
    for path in files:
        if not path.is_file():
            raise ValueError(f"`files` names {path}, which is no file.")
        if path.suffix != ".jsonl":
            _check_columns(_column_names(path), path)
    RequestBuilder(**{name: value for name, value in arguments.items() if name in CHECKED})
    suffix = output.suffix

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = BYTES_PER_BLOCK
    answered = read(files, suffix).map_batches(
        worker_class,
        fn_constructor_args=(model, arguments, suffix),
        batch_size=ROWS_PER_BLOCK,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus_per_worker,
    )
    unfinished = output.with_name(f"{output.name}.unfinished")
    tables = answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
    rows = WRITERS[suffix](tables, unfinished)
    unfinished.replace(output)
    return rows


def read(files: Sequence[Path], suffix: str) -> ray.data.Dataset:
    """The rows of the files, block by block."""
    paths = [str(path.resolve()) for path in files]
    free = {"num_cpus": 0}  # reading is little work, and must not wait for a CPU that a worker keeps
    if suffix == ".jsonl":
        return ray.data.read_datasource(NumberedLines(paths), **free)
    if suffix == ".parquet":
        return ray.data.read_parquet(paths, **free)
    names = _column_names(files[0])
    # Everything stays the text that it is: 007 is no 7.
    as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return ray.data.read_csv(paths, convert_options=as_text, **free)


def _column_names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_schema(path).names
    with pyarrow.csv.open_csv(path) as reader:
        return reader.schema.names


def write_lines(tables: Iterable[pa.Table], path: Path) -> int:
    """JSONL, block by block; the number of rows."""
    rows = 0
    with open(path, "w", encoding="utf-8") as file:
        for table in tables:
            file.writelines(f"{line}\n" for line in table["line"].to_pylist())
            rows += len(table)
    return rows


def write_tables(writer_class: Any, tables: Iterable[pa.Table], path: Path) -> int:
    """CSV or parquet, block by block; the number of rows."""
    rows, writer = 0, None
    try:
        for table in tables:
            writer = writer or writer_class(str(path), table.schema)
            writer.write_table(table)
            rows += len(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise ValueError("`files` hold no rows.")
    return rows


WRITERS = {
    ".jsonl": write_lines,
    ".csv": lambda tables, path: write_tables(pyarrow.csv.CSVWriter, tables, path),
    ".parquet": lambda tables, path: write_tables(pyarrow.parquet.ParquetWriter, tables, path),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="JSONL, CSV or parquet files, in this order")
    parser.add_argument("--output", type=Path, required=True, help="file for the rows with their answers")
    parser.add_argument("--labels", nargs="+", help="labels to choose from, where the rows bring no candidate_labels")
    parser.add_argument("--question", help="what is asked about the texts, where the rows bring no question")
    parser.add_argument("--multi-label", action="store_true", help="score every label on its own")
    parser.add_argument("--top-k", type=int, help="keep the best k labels")
    parser.add_argument("--model", default=unimc_hf.DEFAULT_MODEL, help="folder or Hub name")
    parser.add_argument("--workers", type=int, default=1, help="processes with a model each")
    parser.add_argument("--gpus-per-worker", type=float, default=0)
    options = parser.parse_args()
    arguments = {
        "candidate_labels": options.labels,
        "question": options.question,
        "multi_label": options.multi_label,
        "top_k": options.top_k,
    }
    ray.init(include_dashboard=False)
    rows = classify_files(
        options.files, options.output, options.model, arguments, options.workers, options.gpus_per_worker
    )
    print(f"{rows} rows in {options.output}")


if __name__ == "__main__":
    main()
