"""`python -m unimc_hf`: classify texts from the command line and print a table.

python -m unimc_hf "Stocks fell sharply." "The home team won." --labels business sports politics
python -m unimc_hf --file in.csv --column text --labels good bad --output out.csv
python -m unimc_hf                                              # a few examples of every kind of question
unimc verify FOLDER_OR_REPO                                     # is its code this package's? runs none of it

Exit codes: 0; 1 where lines of a file could not be read and were left out; 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import unicodedata
from typing import Any

# What the command shows when it is called without texts: one example of each kind of task.
EXAMPLES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "topic",
        {"text": "Shares of the chip maker fell 7 percent after it cut its sales forecast."},
        {"candidate_labels": ["business", "sports", "science", "politics"]},
    ),
    (
        "sentiment",
        {"text": "Two hours of my life that I will never get back.", "question": "What is the sentiment?"},
        {"candidate_labels": ["it's great", "it's terrible"]},
    ),
    (
        "question",
        {"text": "Where can I change the address of my order?", "question": "What does the customer want?"},
        {"candidate_labels": ["change delivery details", "cancel an order", "ask for a refund", "track a parcel"]},
    ),
    (
        "text pair (inference)",
        {"text": "Two children are sleeping in a tent.", "text_pair": "The children are running."},
        {"candidate_labels": ["entailment", "neutral", "contradiction"]},
    ),
    (
        "several labels",
        {"text": "The new phone has a superb camera, but the battery is empty by noon."},
        {"candidate_labels": ["camera", "battery", "delivery"], "multi_label": True},
    ),
    (
        "label descriptions",
        {"text": "I was charged twice for the same ticket and want my money back."},
        {"candidate_labels": {"billing": "payments, charges and refunds", "technical": "errors and crashes"}},
    ),
]


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m unimc_hf", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", help="texts to classify; none: show examples")
    parser.add_argument("--labels", nargs="+", help="labels to choose from")
    parser.add_argument("--question", help="what is asked about the texts")
    parser.add_argument("--multi-label", action="store_true", help="score every label on its own")
    parser.add_argument("--file", help="classify a column of this .csv, .tsv or .jsonl file instead of texts")
    parser.add_argument("--column", help="the column, or key, that holds the texts of --file")
    parser.add_argument(
        "--output", help="where to write the rows of --file with their labels; default: standard output"
    )
    parser.add_argument("--model", help="folder or Hub name; default: the model inside the package")
    parser.add_argument("--language", choices=("english", "chinese"), help="for checkpoints that do not record it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: see the module's docstring."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["verify"]:
        from .verify import main as verify

        return verify(arguments[1:])
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.file and options.texts:
        parser.error("pass texts or --file, not both")
    if bool(options.file) != bool(options.column) or (options.output and not options.file):
        parser.error("--file and --column go together, and --output goes with them")
    if bool(options.texts or options.file) != bool(options.labels):
        parser.error("texts, or --file, and --labels go together")

    # Imported late, and quiet: `--help` answers at once, and the table is all that is printed.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers import pipeline
    from transformers.utils import logging

    import unimc_hf  # noqa: F401, registers the task

    logging.disable_progress_bar()
    loading = {name: value for name in ("model", "language") if (value := getattr(options, name)) is not None}
    build: Any = pipeline  # its overloads know the tasks of transformers only
    asked = {"question": options.question, "multi_label": options.multi_label}
    if isinstance(sys.stdout, io.TextIOWrapper):  # a console need not know every character
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        classify = build("unimc-zero-shot", **loading)
    except Exception as error:  # a damaged folder fails in as many ways as there are files in it
        print(f"unimc_hf: the model cannot be loaded: {error}", file=sys.stderr)
        return 2
    try:
        if not options.labels:
            rows = [(task, item, classify(item, **settings)) for task, item, settings in EXAMPLES]
            print(format_table([("task", "text", "answer"), *[_example_row(*row) for row in rows]]))
            return 0
        if options.file:
            from .classify_file import classify_file

            _, num_broken = classify_file(
                classify, options.file, options.column, options.labels, options.output, **asked
            )
            return 1 if num_broken else 0
        results = classify(options.texts, candidate_labels=options.labels, **asked)
    except (OSError, TypeError, ValueError) as error:
        print(f"unimc_hf: {error}", file=sys.stderr)
        return 2
    print(format_table([("text", "answer"), *[(result["sequence"], _answer(result)) for result in results]]))
    return 0


def _example_row(task: str, item: dict[str, Any], result: dict[str, Any]) -> tuple[str, str, str]:
    text = " / ".join(item[name] for name in ("text", "text_pair", "question") if name in item)
    return task, text, _answer(result)


def _answer(result: dict[str, Any]) -> str:
    return ", ".join(f"{label} {score:.2f}" for label, score in list(zip(result["labels"], result["scores"]))[:4])


def format_table(rows: list[tuple[str, ...]], widest: int = 76) -> str:
    """Rows as an aligned table, the first one as its head; cells wider than `widest` columns end in an ellipsis."""
    cells = [[_fit(" ".join(cell.split()), widest) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells)]
    lines = ["  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _fit(text: str, widest: int) -> str:
    text = text[: widest + 1]  # no character is narrower than a column
    text = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
    if _width(text) <= widest:
        return text
    while _width(text) > widest - 1:
        text = text[:-1]
    return text + "…"
