# /// script
# dependencies = ["unimc_hf", "psutil", "starlette", "uvicorn"]
# ///
"""
Classification without a break through `examples/deploy/serve.py` on loopback, among clients that misbehave.

    pip install psutil starlette uvicorn
    python examples/benchmark/soak.py --minutes 30 --output examples/benchmark/results/soak.json

Honest clients ask one request after the other and compare every answer with that of a pipeline in this process; a slow
one does so byte by byte. Beside them one client goes away at every stage of a request, and one sends garbage. The
figures say how many requests were answered, and the server's memory (RSS) by minute. The exit code is 1 if an honest
request got no or a wrong answer, if garbage was not refused, if the server logged a failure, or if memory grew: the
median of its last quarter may be 16 MiB above that of its second (the first is for warming up). Over 30 minutes that
finds a leak of about 1 MiB a minute.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
from transformers import pipeline
from workload import make_labels, make_texts

from unimc_hf import DEFAULT_MODEL, UniMCDecisionPipeline

SERVE = Path(__file__).parents[1] / "deploy" / "serve.py"
LARGEST_GROWTH_MIB = 16
MAX_BYTES = 100_000
PATIENCE = 300  # seconds that a client waits
TOLERANCE = 2e-3  # of a score; where the model runs in bfloat16, another process may round otherwise


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[tuple[int, subprocess.Popen]]:
    """A running server of the model in `folder`, which logs to a file: its port and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(SERVE), str(folder), "--port", str(port), "--max-bytes", str(MAX_BYTES)]
    with open(log, "w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while not is_up(port):
            if server.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()}")
            time.sleep(0.2)
        yield port, server
    finally:
        server.terminate()
        server.wait(timeout=60)


def is_up(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False


# -- what is asked, and what is right ---------------------------------------------------------------------------------


def make_requests(folder: Path, count: int = 48) -> list[tuple[bytes, Any]]:
    """Bodies of several kinds, and the answers of pipelines in this process."""
    classify = pipeline("unimc-zero-shot", model=str(folder))
    decide = UniMCDecisionPipeline(classify.model, classify.tokenizer, device=classify.device)
    rng, texts, labels = random.Random(0), make_texts(3 * count), make_labels(40)
    requests = []
    for i in range(count):
        inputs: Any = texts[3 * i : 3 * i + rng.randint(1, 3)]
        menu = rng.sample(labels, k=rng.randint(2, 20))
        if i % 4 == 3:
            topic = {"type": "choice", "instructions": "What is it about?", "criteria": dict.fromkeys(menu)}
            parameters: dict[str, Any] = {"questions": {"topic": topic, "is new": {"type": "noul"}}}
            answer = decide(inputs, **parameters)
        else:
            inputs = inputs if i % 4 else inputs[0]
            parameters = {"candidate_labels": menu, "multi_label": i % 4 == 2}
            answer = classify(inputs, **parameters)
        requests.append((json.dumps({"inputs": inputs, "parameters": parameters}).encode(), answer))
    return requests


def is_same(answer: Any, expected: Any) -> bool:
    """Whether an answer is the expected one, but for rounding and the order of labels of nearly the same score."""
    if isinstance(expected, dict) and {"labels", "scores"} <= expected.keys():
        answer, expected = (
            {**row, "labels": dict(zip(row["labels"], row["scores"])), "scores": None} for row in (answer, expected)
        )
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(is_same(answer[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(is_same, answer, expected))
    return abs(answer - expected) <= TOLERANCE if isinstance(expected, float) else answer == expected


# -- the clients ------------------------------------------------------------------------------------------------------


def http_request(body: bytes, length: int | None = None) -> bytes:
    """A whole request as bytes; `length` is what it says of the body, if that is to be a lie."""
    size = len(body) if length is None else length
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


def exchange(port: int, request: bytes, pause: float | None = None) -> tuple[int, bytes]:
    """Status and content of what the server answers to bytes; 0 if it only closes the connection.

    With `pause`, bytes are sent one at a time and the answer is read in small pieces, with so many seconds between.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            if pause is None:
                connection.sendall(request)
            else:
                for byte in request:
                    connection.sendall(bytes([byte]))
                    time.sleep(pause)
        except OSError:  # refused before its end; the answer says why
            pass
        answer = b""
        try:
            while piece := connection.recv(65536 if pause is None else 64):
                answer += piece
                time.sleep(pause or 0)
        except ConnectionError:
            pass
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else 0, content


class Clients:
    """Threads that ask until they are stopped, and what they saw."""

    def __init__(self, port: int, requests: Sequence[tuple[bytes, Any]], pause: float) -> None:
        self.port, self.requests, self.pause = port, requests, pause
        self.stopped = threading.Event()
        self.counts: list[Counter[str]] = []
        self.failures: list[str] = []
        self.seconds: list[float] = []
        self.threads: list[threading.Thread] = []

    def start(self, client: Callable[[random.Random, Counter[str]], None]) -> None:
        """Run `client` again and again in a thread of its own, with numbers and counts of its own."""
        rng, count = random.Random(len(self.threads)), Counter[str]()

        def run() -> None:
            while not self.stopped.is_set():
                try:
                    client(rng, count)
                except Exception as error:  # e.g. no answer in time
                    self.failures.append(f"{client.__name__}: {error!r}")

        self.counts.append(count)
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def stop(self) -> Counter[str]:
        """Let every client end its request; what happened how often."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return sum(self.counts, Counter())

    def honest(self, rng: random.Random, count: Counter[str]) -> None:
        start = time.perf_counter()
        self._ask(rng, count, "honest")
        self.seconds.append(time.perf_counter() - start)

    def slow(self, rng: random.Random, count: Counter[str]) -> None:
        self._ask(rng, count, "slow", self.pause)

    def _ask(self, rng: random.Random, count: Counter[str], name: str, pause: float | None = None) -> None:
        body, expected = rng.choice(self.requests)
        count[f"{name} asked"] += 1
        status, content = exchange(self.port, http_request(body), pause)
        if status == 200 and is_same(json.loads(content), expected):
            count[f"{name} right"] += 1
        else:
            self.failures.append(f"{name}: {status} {content[:200]!r} for {body[:200]!r}")

    def disconnecting(self, rng: random.Random, count: Counter[str]) -> None:
        """Goes away in the head, in the body, or after it, quietly or with a reset."""
        request = http_request(rng.choice(self.requests)[0])
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request[: rng.choice([20, len(request) - 5, len(request)])])
            time.sleep(rng.random() * self.pause)
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        count["disconnected"] += 1
        time.sleep(self.pause)

    def garbage(self, rng: random.Random, count: Counter[str]) -> None:
        """Must be refused: with an error, or where it is no HTTP by closing the connection."""
        kind = rng.choice(["no HTTP", "no JSON", "no request", "too long"])
        if kind == "no HTTP":
            request = b"\r\n" + rng.randbytes(200) + b"\r\n\r\n"
        elif kind == "no JSON":
            request = http_request(rng.randbytes(rng.randint(1, 300)))
        elif kind == "no request":
            bodies = [None, 3, [], {"inputs": None}, {"inputs": ["a", 5]}, {"inputs": "a", "parameters": {"\ud800": 1}}]
            request = http_request(json.dumps(rng.choice(bodies)).encode())
        else:
            request = http_request(b" " * (2 * MAX_BYTES))
        status, content = exchange(self.port, request)
        count[f"garbage, {kind}"] += 1
        has_reason = kind == "no HTTP" or "error" in json.loads(content)
        if status in ((0, 400) if kind == "no HTTP" else (413,) if kind == "too long" else (400,)) and has_reason:
            count["garbage refused"] += 1
        else:
            self.failures.append(f"garbage, {kind}: {status} {content[:200]!r}")
        time.sleep(self.pause)


# -- the run ----------------------------------------------------------------------------------------------------------


def growth(rss: Sequence[float]) -> float:
    """The median of the last quarter of a series above that of its second quarter."""
    quarter = max(1, len(rss) // 4)
    return statistics.median(rss[-quarter:]) - statistics.median(rss[quarter : 2 * quarter] or rss)


def soak(
    folder: Path, minutes: float, honest_clients: int = 4, pause: float = 0.05, interval: float = 1.0
) -> dict[str, Any]:
    """
    Ask the server of a model for some minutes.

    Args:
        folder: of a saved model.
        minutes: how long.
        honest_clients: how many ask as fast as they are answered; there are also one slow one and two others.
        pause: seconds between two bytes of the slow client, and two requests of those that misbehave.
        interval: seconds between two looks at the server's memory.

    Returns:
        The figures; `failures` is empty if all was well.
    """
    requests = make_requests(folder)
    with tempfile.TemporaryDirectory() as work, serving(folder, Path(work, "log")) as (port, server):
        clients = Clients(port, requests, pause)
        for _ in range(honest_clients):
            clients.start(clients.honest)
        for client in (clients.slow, clients.disconnecting, clients.garbage):
            clients.start(client)
        start, memory = time.monotonic(), psutil.Process(server.pid)
        rss: list[float] = []
        by_minute: dict[int, list[float]] = {}
        try:
            while (passed := time.monotonic() - start) < 60 * minutes and server.poll() is None:
                rss.append(memory.memory_info().rss / 2**20)
                by_minute.setdefault(int(passed // 60), []).append(rss[-1])
                time.sleep(interval)
        finally:
            counts = clients.stop()
        failures = clients.failures
        if not is_up(port):
            failures.append("the server does not answer any more")
        log = Path(work, "log").read_text()
    failures += [f"the server's log: {line}" for line in log.splitlines() if "Traceback" in line or "ERROR" in line]
    if growth(rss) > LARGEST_GROWTH_MIB:
        failures.append(f"memory grew by {growth(rss):.1f} MiB")
    return {
        "minutes": minutes,
        "requests": dict(sorted(counts.items())),
        "requests_per_second": round(counts["honest right"] / (60 * minutes), 1),
        "median_ms": round(1000 * statistics.median(clients.seconds or [0])),
        "slowest_ms": round(1000 * max(clients.seconds, default=0)),
        "rss_mib_by_minute": [round(statistics.median(values), 1) for values in by_minute.values()],
        "growth_mib": round(growth(rss), 1),
        "largest_growth_mib": LARGEST_GROWTH_MIB,
        "failures": failures[:50],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the one in the package by default")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--honest-clients", type=int, default=4)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # As a user saves it: with the code beside the weights.
        pipeline("unimc-zero-shot", model=arguments.model).save_pretrained(folder)
        figures = soak(Path(folder), arguments.minutes, arguments.honest_clients)
    print(json.dumps(figures, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")
    sys.exit(1 if figures["failures"] else 0)


if __name__ == "__main__":
    main()
