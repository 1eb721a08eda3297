"""One pipeline for many callers: threads, processes forked from the one that made it, and calls of its tokenizer."""

import copy
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from places import IMPORTABLE
from tiny_models import WORDS, tiny_model, tiny_tokenizer

from unimc_hf import UniMCDecisionPipeline, UniMCTokenizer, UniMCZeroShotPipeline

THREADS = 16
CALLS = 10  # of each thread
PIPELINES = (UniMCZeroShotPipeline, UniMCDecisionPipeline)


def close_to(value: Any) -> Any:
    """What equals `value` but for the last digits of its numbers."""
    if isinstance(value, dict):
        return {key: close_to(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [close_to(entry) for entry in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def fresh_tokenizer() -> UniMCTokenizer:
    """With nothing that an earlier call has made and kept."""
    return copy.deepcopy(tiny_tokenizer())


def make_call(seed: int) -> Callable[[Any, Any], Any]:
    """One of the ways to ask, with texts and labels of its own; takes the two pipelines."""
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(rng.randint(1, 4))]
    labels = rng.sample(WORDS, k=rng.randint(2, 6))
    menus = [rng.sample(WORDS, k=rng.randint(2, 6)) for _ in texts]
    question = {"type": "choice", "instructions": "what", "criteria": dict.fromkeys(labels)}
    return [
        lambda classify, decide: classify(texts[0], candidate_labels=labels, question="what is it"),
        lambda classify, decide: classify(texts, candidate_labels=menus, text_pair=[text[::-1] for text in texts]),
        lambda classify, decide: classify(texts, candidate_labels=labels, multi_label=True, threshold=0.5),
        lambda classify, decide: classify(texts, candidate_labels=labels, max_length=30, top_k=2, batch_size=1),
        lambda classify, decide: list(classify(iter(texts), candidate_labels=labels, hypothesis_template="a {}")),
        lambda classify, decide: decide(texts, questions={"it": question}),
    ][seed % 6]


@pytest.mark.parametrize("family", ["bert", "modernbert", "deberta-v2"])
def test_every_thread_gets_its_own_answers(family: str) -> None:
    tokenizer = fresh_tokenizer()
    pipelines = [kind(tiny_model(family), tokenizer, device="cpu") for kind in PIPELINES]
    start = Barrier(THREADS)

    def ask(thread: int) -> list[Any]:
        start.wait()
        return [make_call(thread * CALLS + i)(*pipelines) for i in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for row in pool.map(ask, range(THREADS)) for answer in row]

    alone = [kind(tiny_model(family), fresh_tokenizer(), device="cpu") for kind in PIPELINES]
    cut = 0
    for seed, answer in enumerate(answers):
        assert answer == close_to(make_call(seed)(*alone)), f"call {seed}"
        cut += "num_truncated_tokens" in str(answer)
    assert cut > 0


def test_other_uses_of_the_tokenizer_disturb_no_call() -> None:
    # Truncation and padding are settings of the tokenizer's backend, which each plain call changes for all.
    tokenizer = fresh_tokenizer()
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tokenizer, device="cpu")
    texts, labels = [" ".join(WORDS[:20]), " ".join(WORDS[20:60])], ["sports", "business"]
    expected = classify(texts, candidate_labels=labels)
    start = Barrier(8)

    def ask(thread: int) -> list[Any]:
        start.wait()
        if thread % 2:
            return [classify(texts, candidate_labels=labels) for _ in range(20)]
        for i in range(60):
            limit = 4 + (thread + i) % 9
            try:
                tokenizer(texts, truncation=True, padding="max_length", max_length=limit)
            except RuntimeError as error:  # what transformers says when two plain calls meet
                assert "borrowed" in str(error)
        return []

    with ThreadPoolExecutor(8) as pool:
        answers = [answer for row in pool.map(ask, range(8)) for answer in row]
    assert len(answers) == 80
    assert all(answer == close_to(expected) for answer in answers)


FORK = """
import multiprocessing, sys
import torch
from tiny_models import WORDS, tiny_model, tiny_tokenizer
from unimc_hf import UniMCZeroShotPipeline

def ask_anew(index):
    global classify
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    return ask(index)

def ask(index):
    return classify(TEXTS[index:], candidate_labels=[WORDS[index], WORDS[-index], "sports"])

TEXTS = [" ".join(WORDS[i:] + WORDS[:i])[:300] for i in range(40)]  # enough of them for several threads
assert torch.get_num_threads() == 2
classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
expected = [ask(index) for index in range(1, 9)]
with multiprocessing.get_context("fork").Pool(3) as pool:
    answers = pool.map_async(ask, range(1, 9), chunksize=1).get(timeout=float(sys.argv[1]))
with multiprocessing.get_context("fork").Pool(3) as pool:  # one that is made there has the same parent
    answers += pool.map_async(ask_anew, range(1, 9), chunksize=1).get(timeout=float(sys.argv[1]))
for answer, want in zip(answers, 2 * expected, strict=True):
    for got, row in zip(answer, want, strict=True):
        assert got["labels"] == row["labels"]
        assert max(abs(a - b) for a, b in zip(got["scores"], row["scores"])) < 1e-5
assert ask(1) == expected[0] and torch.get_num_threads() == 2  # nothing has changed in the parent
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_processes_answer() -> None:
    # Without care they wait for ever: the threads with which the parent has computed are not in the child.
    done = subprocess.run(
        [sys.executable, "-c", FORK, "300"],
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": IMPORTABLE},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
