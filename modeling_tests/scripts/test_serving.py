"""`handler.py` in a saved folder without this package, its limits, and a server around it under load on loopback."""

import asyncio
import functools
import http.client
import importlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from handler import EndpointHandler
from places import EXAMPLES
from tiny_models import WORDS, tiny_model, tiny_tokenizer

from unimc_hf import UniMCDecisionPipeline, UniMCZeroShotPipeline

LABELS = ["sports", "business", "red car"]
DECISION = {"state": "stocks fell", "questions": {"fell": {"type": "noul", "instructions": "fell the stocks"}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("endpoint")
    UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def handler(folder: Path) -> EndpointHandler:
    return EndpointHandler(str(folder))


def test_the_handler_works_from_the_repository_alone(folder: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "deploy" / "handler.py", folder)
    bodies = [
        {"inputs": "stocks fell", "parameters": {"candidate_labels": LABELS, "multi_label": True}},
        {"inputs": ["sky", {"text": "blue"}], "parameters": {"candidate_labels": LABELS}},
        {"inputs": DECISION},
        {"inputs": ["sky", "red"], "parameters": {"questions": DECISION["questions"]}},
    ]
    program = """
import importlib.util, json, sys; sys.modules["unimc_hf"] = None
spec = importlib.util.spec_from_file_location("handler", sys.argv[1] + "/handler.py")  # as Inference Endpoints do
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
handler = module.EndpointHandler(sys.argv[1])
print(json.dumps([handler(body) for body in json.loads(sys.argv[2])]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), json.dumps(bodies)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "HF_MODULES_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, several, decision, decisions = json.loads(done.stdout.strip().splitlines()[-1])
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    decide = UniMCDecisionPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    expected = classify("stocks fell", candidate_labels=LABELS, multi_label=True)
    assert one["labels"] == expected["labels"] and one["scores"] == pytest.approx(expected["scores"], abs=1e-6)
    assert [answer["sequence"] for answer in several] == ["sky", "blue"]
    assert decision["fell"]["noul"] == pytest.approx(decide(DECISION)["fell"]["noul"], abs=1e-6)
    assert [list(answers) for answers in decisions] == [["fell"], ["fell"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "must be a JSON object with `inputs`"),
        ({"input": "sky"}, "must be a JSON object with `inputs`"),
        ({"inputs": 3}, "`inputs` must be a string"),
        ({"inputs": "sky", "parameters": ["a"]}, "`parameters` must be an object"),
        ({"inputs": "sky", "parameters": {"batch_size": 9}}, "got batch_size"),
        ({"inputs": "sky", "parameters": {"candidate_labels": ["a", "a"]}}, "repeats 'a'"),
        ({"inputs": ["sky", None], "parameters": {"candidate_labels": LABELS}}, "must be a string, got NoneType"),
        ({"inputs": ["sky"] * 257, "parameters": {"candidate_labels": LABELS}}, "257 texts.*at most 256"),
        ({"inputs": [DECISION] * 300}, "300 texts or questions"),
        ({"inputs": ["sky"] * 2, "parameters": {"questions": dict.fromkeys(map(str, range(200)))}}, "400 texts"),
        ({"inputs": "sky", "parameters": {"candidate_labels": list(map(str, range(600)))}}, "600 labels.*512"),
        ({"inputs": "sky", "parameters": {"candidate_labels": {"a": ["b"] * 600, "c": ["d"]}}}, "601 labels"),
        ({"inputs": "sky", "parameters": {"candidate_labels": [{"a": ["b"] * 600}]}}, "600 labels"),
        ({"inputs": {"text": "sky", "choice": {"a": ["b"] * 300, "c": ["d"] * 300}}}, "600 labels"),
        ({"inputs": "sky", "parameters": {"candidate_labels": "a," * 600}}, "601 labels"),
        ({"inputs": "sky", "parameters": {"candidate_labels": "a、" * 600}}, "601 labels"),
        ({"inputs": {"text": "sky", "options": ["a"] * 600}}, "600 labels"),
        ({"inputs": {"text": "sky", "candidate_labels": ["a", "b"], "choice": ["a"] * 600}}, "600 labels"),
        ({"inputs": ["a", "b"], "parameters": {"candidate_labels": [["a", "b"], "a，" * 600]}}, "601 labels"),
        ({"inputs": [functools.reduce(lambda inner, _: [inner], range(5000), "a")]}, "nested too deeply"),
        ({"inputs": {"text": "sky", "choice": ["a"] * 600}}, "600 labels"),
        ({"inputs": ["sky"], "parameters": {"candidate_labels": [["a"] * 600]}}, "600 labels"),
        ({"inputs": {"state": "", "questions": {"q": {"criteria": ["a"] * 600}}}}, "600 labels"),
        ({"inputs": "sky" * 200_000, "parameters": {"candidate_labels": LABELS}}, "6000.. characters.*500000"),
        ({"inputs": ["sky"] * 250, "parameters": {"candidate_labels": ["a" * 3000, "b"]}}, "characters to read"),
        ({"inputs": "sky", "parameters": {"question": "what", "candidate_labels": 5}}, "`candidate_labels`"),
        ({"inputs": {"text": "sky", "candidate_labels": {"a": {"b": 5}, "c": None}}}, "`candidate_labels"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_computed(
    handler: EndpointHandler, monkeypatch: pytest.MonkeyPatch, body: object, message: str
) -> None:
    monkeypatch.setattr(handler.classify.model, "forward", lambda **_: pytest.fail("computed before the check"))
    with pytest.raises((TypeError, ValueError), match=message):
        handler(body)


def test_descriptions_are_no_labels(handler: EndpointHandler) -> None:
    described = dict.fromkeys(map(str, range(500)), "what, it is")
    handler._check_limits(["sky"], {"candidate_labels": described})
    criteria = {"sports": ["a game"] * 300, "business": ["money"] * 300}
    handler._check_limits([{"state": "sky", "questions": {"q": {"type": "choice", "criteria": criteria}}}], {})


def test_the_environment_sets_the_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIMC_MAX_TEXTS", "1")
    with pytest.raises(ValueError, match="2 texts or questions; this server takes at most 1"):
        EndpointHandler(str(folder))({"inputs": ["a", "b"], "parameters": {"candidate_labels": LABELS}})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def port(folder: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a running `examples/deploy/serve.py`."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    with soak_module().serving(folder, log) as (free, _):
        yield free


def soak_module() -> Any:
    for name in ("psutil", "starlette", "uvicorn"):
        pytest.importorskip(name)
    return importlib.import_module("soak")


def ask(port: int, method: str = "POST", path: str = "/", body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_no_answer_is_lost_or_mixed_up_under_load(port: int, log: Path) -> None:
    rng = random.Random(0)
    bodies, expected = [], []
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    for i in range(300):
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 20))) for _ in range(rng.randint(1, 3))]
        labels = rng.sample(WORDS, k=rng.randint(2, 6))
        if i % 10 == 9:  # a request that fails does not disturb the others
            bodies.append({"inputs": texts, "parameters": {"candidate_labels": labels[:1] * 2}})
            expected.append(f"repeats '{labels[0]}'")
        else:
            bodies.append({"inputs": texts, "parameters": {"candidate_labels": labels}})
            expected.append(classify(texts, candidate_labels=labels))
    start = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda body: ask(port, body=json.dumps(body).encode()), bodies))
    seconds = time.perf_counter() - start
    print(f"{len(answers)} requests, 32 at a time, in {seconds:.1f} s")
    for (status, text), want in zip(answers, expected, strict=True):
        answer = json.loads(text)
        if isinstance(want, str):
            assert status == 400 and want in answer["error"]
            continue
        assert status == 200
        for got, row in zip(answer, want, strict=True):
            assert got["sequence"] == row["sequence"]
            assert dict(zip(got["labels"], got["scores"])) == pytest.approx(
                dict(zip(row["labels"], row["scores"])), abs=1e-5
            )

    surrogate = json.dumps({"inputs": "sky", "parameters": {"\ud800": 1}}).encode()
    refused = ((b"{broken", 400), (b"[" * 50_000, 400), (b"\xff", 400), (surrogate, 400), (b"x" * 200_000, 413))
    for body, status in refused:
        got, text = ask(port, body=body)
        assert got == status and json.loads(text)["error"]

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)  # the server is reading the body when its client goes away
    assert ask(port, "GET", "/health")[0] == 200
    assert "Traceback" not in log.read_text()


def test_nothing_is_computed_for_a_client_that_has_left() -> None:
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name)
    asked: list[Any] = []
    app = importlib.import_module("serve").make_app(lambda body: asked.append(body) or {}, max_bytes=100)

    async def ask_app(body: str, is_there: bool) -> int:
        messages, sent = [{"type": "http.request", "body": json.dumps(body).encode()}], []

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            if is_there:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await app(scope, receive, send)
        return sent[0]["status"]

    async def both() -> list[int]:
        return [await ask_app("gone", is_there=False), await ask_app("here", is_there=True)]

    assert asyncio.run(both()) == [400, 200]
    assert asked == ["here"]


def test_a_short_soak(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    figures = soak_module().soak(folder, minutes=0.05, pause=0.0005, interval=0.1)
    assert [failure for failure in figures["failures"] if "memory" not in failure] == []  # it is still warming up
    counts = figures["requests"]
    assert counts["honest right"] == counts["honest asked"] > 4 and counts["slow right"] == counts["slow asked"] > 0
    garbage = sum(count for name, count in counts.items() if name.startswith("garbage, "))
    assert counts["garbage refused"] == garbage > 4 and counts["disconnected"] > 4
    assert len(figures["rss_mib_by_minute"]) == 1 and figures["rss_mib_by_minute"][0] > 50


def test_a_soak_sees_what_is_wrong() -> None:
    soak = soak_module()
    assert soak.growth([100, 300, 500, 501, 500, 502, 499, 500]) < 1  # warming up does not count
    assert soak.growth([500 + i for i in range(80)]) == 40
    expected = {"sequence": "sky", "labels": ["a", "b"], "scores": [0.6, 0.4]}
    assert soak.is_same([{"sequence": "sky", "labels": ["b", "a"], "scores": [0.4, 0.6001]}], [expected])
    for other in ({"sequence": "sun"}, {"scores": [0.7, 0.3]}, {"labels": ["b", "a"]}, {"labels": [], "scores": []}):
        assert not soak.is_same({**expected, **other}, expected)
    assert not soak.is_same([expected], [expected, expected]) and not soak.is_same({"error": "no"}, {"it": 1.0})
