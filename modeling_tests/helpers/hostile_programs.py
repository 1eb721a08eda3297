"""The hostile inputs of programs: the handler of an endpoint, a server around it, the command line, and its files."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from handler import EndpointHandler
from hostile_inputs import (
    ANSWERED,
    PYTHON_SURFACES,
    Surface,
    check_answer,
    check_decision_answers,
    classify,
    error_kind,
)
from hostile_values import (
    NASTY,
    as_json,
    bodies,
    junk,
    mostly,
    rarely,
    repeated,
    scalars,
    some_of,
    texts,
    unicode,
    words,
)
from hypothesis import strategies as st

from unimc_hf.command_line.classify_file import classify_file
from unimc_hf.command_line.table import main


@cache
def handler() -> EndpointHandler:
    with tempfile.TemporaryDirectory() as folder:
        classify().save_pretrained(folder)
        return EndpointHandler(folder)


def check_handler(case: Any) -> str:
    try:
        answer = handler()(case)
    except (ValueError, TypeError) as error:
        return error_kind(error)
    check_body(answer)
    return ANSWERED


def check_body(content: Any) -> None:
    """What a server may answer: zero-shot results or decisions."""
    for answer in content if isinstance(content, list) else [content]:
        if isinstance(answer.get("scores"), list):
            check_answer(answer, whole=False)
        else:
            check_decision_answers(answer)


raw_bodies = rarely(
    bodies.map(as_json).map(lambda body: body.encode("utf-8", errors="surrogatepass")),
    st.one_of(
        st.tuples(bodies.map(as_json), st.integers(0, 60)).map(lambda cut: cut[0][: cut[1]].encode("utf-8", "replace")),
        st.binary(max_size=40),
        st.sampled_from([b"", b"null", b"\xff\xfe{\0}\0"]),
        repeated([(b"[", 100_000), (b'{"inputs":', 9_000), (b"9", 5_000), (b"x", 200_001)]),
    ),
    4,
)


def check_server(case: bytes) -> str:
    from serve import make_app  # needs starlette

    status, body = asyncio.run(_post(make_app(handler(), max_bytes=200_000), case))
    content = json.loads(body, parse_constant=lambda name: 1 / 0)
    if status == 200:
        check_body(content)
        return ANSWERED
    assert status in (400, 413) and list(content) == ["error"] and content["error"], (status, body[:300])
    return f"status {status}"


async def _post(app: Any, body: bytes) -> tuple[int, bytes]:
    """One request to an ASGI application, in pieces, without a socket."""
    pieces = [body[i : i + 50_000] for i in range(0, len(body), 50_000)] or [b""]
    sent: list[dict] = []

    async def receive() -> dict:
        if not pieces:  # the client is there and waits for its answer
            await asyncio.sleep(60)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 0), "client": ("127.0.0.1", 0),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


# The operating system gives no NUL in arguments; bytes that are no UTF-8 become lone surrogates.
command_words = texts.map(lambda text: text.replace("\0", ""))
command_lines = st.builds(
    lambda *parts: [word for part in parts for word in part],
    st.lists(command_words, max_size=3),
    st.lists(command_words, max_size=4).map(lambda words: ["--labels", *words]) | st.just([]),
    st.one_of(st.just([]), command_words.map(lambda word: ["--question", word])),
    st.sampled_from([[], ["--multi-label"], ["--language", "english"], ["--language", "klingon"], ["--model"]]),
    rarely(st.just([]), st.tuples(st.just("--file"), command_words, st.just("--column"), command_words).map(list), 6),
)


def check_command_line(case: list[str]) -> str:
    # A console that knows ASCII only: the most that a terminal can refuse.
    out, err = (io.TextIOWrapper(io.BytesIO(), "ascii", errors) for errors in ("strict", "backslashreplace"))
    with (
        mock.patch("transformers.pipeline", lambda *_, **__: classify()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(case)
        except SystemExit as stopped:  # of argparse
            code = stopped.code
    out.flush(), err.flush()
    printed, complaint = out.buffer.getvalue(), err.buffer.getvalue()
    assert (code == 0 and printed) or (code == 2 and complaint), (code, printed, complaint)
    return ANSWERED if code == 0 else "exit code 2"


cells = st.one_of(words, st.sampled_from(NASTY), unicode).map(lambda text: text.encode("utf-8", "surrogatepass"))
csv_lines = st.one_of(
    st.tuples(cells, cells).map(lambda row: b",".join(b'"' + cell.replace(b'"', b'""') + b'"' for cell in row)),
    st.lists(cells, max_size=3).map(b",".join),
    st.binary(max_size=20),
)
json_lines = st.one_of(
    st.fixed_dictionaries({"text": mostly(texts)}, optional={"id": scalars}).map(as_json).map(str.encode),
    some_of(text=junk, id=junk).map(as_json).map(lambda line: line.encode("utf-8", "surrogatepass")),
    st.binary(max_size=20),
    st.just(b"\xef\xbb\xbf{}"),
    repeated([(b"[", 50_000), (b'{"text":', 5_000), (b"9", 5_000)]),
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\n\n"])
files = st.one_of(
    st.tuples(st.just(".csv"), st.just(b"text,id\n"), st.lists(csv_lines, max_size=6), line_ends),
    st.tuples(st.just(".jsonl"), st.just(b""), st.lists(json_lines, max_size=6), line_ends),
    st.tuples(st.sampled_from([".csv", ".tsv"]), st.binary(max_size=20), st.lists(csv_lines, max_size=2), line_ends),
)


def check_file(case: tuple) -> str:
    suffix, head, lines, line_end = case
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        source, target = Path(folder, f"in{suffix}"), Path(folder, f"out{suffix}")
        content = head + line_end.join(lines)
        source.write_bytes(content)
        try:
            num_written, num_broken = classify_file(classify(), source, "text", ["red", "blue"], target)
        except (ValueError, TypeError) as error:
            assert type(error) is ValueError and not target.exists()
            assert re.match("there is no column|the file is empty|the header|there is a column", str(error)), error
            return "ValueError, nothing written"
        rows = list(_rows(target))
    assert len(rows) == num_written and num_written + num_broken <= 1 + content.count(b"\n")
    for row in rows:
        scores = [float(row["score: red"]), float(row["score: blue"])]
        assert abs(sum(scores) - 1) < 1e-5 and row["predicted_label"] == ("red", "blue")[scores[0] < scores[1]]
    return f"{ANSWERED}, {'some' if num_broken else 'no'} lines broken"


def _rows(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        if path.suffix == ".jsonl":
            yield from map(json.loads, lines.read().split("\n")[:-1])
        else:
            yield from csv.DictReader(lines, delimiter="," if path.suffix == ".csv" else "\t", strict=True)


SURFACES = {
    **PYTHON_SURFACES,
    "handler": Surface(bodies, check_handler),
    "server": Surface(raw_bodies, check_server),
    "command line": Surface(command_lines, check_command_line),
    "files": Surface(files, check_file),
}
