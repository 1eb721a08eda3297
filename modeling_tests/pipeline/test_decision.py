"""Typed questions about a state: our pipeline, and transformers' own `decision` pipeline with a UniMC model in it."""

import copy
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import FAMILIES, tiny_model, tiny_tokenizer
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

import unimc_hf
from unimc_hf import UniMCDecisionPipeline, UniMCZeroShotPipeline
from unimc_hf.decision_requests import DecisionQuestion, parse_request

needs_stock = pytest.mark.skipif(
    not hasattr(transformers, "AutoModelForDecision"), reason="transformers has a decision pipeline from 5.23 on"
)
QUESTIONS = {
    "topic": {
        "type": "choice",
        "instructions": "what is the text about",
        "criteria": {"sports": "a game or a team", "business": None, "music": {"play": "a song"}},
    },
    "mood": {"type": "score", "instructions": "good or bad", "criteria": ["terrible", "it is good", "great"]},
    "fell": {"type": "noul", "instructions": "fell the stocks"},
    "rose": {"type": "noul", "criteria": {"true": "stocks rose", "false": None}},
}
REQUEST = {"state": "stocks fell sharply", "questions": QUESTIONS}


@pytest.fixture(scope="module")
def decide() -> UniMCDecisionPipeline:
    return UniMCDecisionPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decision")
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    classify.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "softmax_temperature": 2.5}))
    return path


def close(got: object, expected: object) -> bool:
    if isinstance(expected, dict):
        return list(got) == list(expected) and all(close(got[key], expected[key]) for key in expected)
    return got == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected)


def test_answers_are_those_of_the_zero_shot_pipeline(decide: UniMCDecisionPipeline) -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")

    def shares(labels: object, question: str = "") -> dict:
        result = classify("stocks fell sharply", candidate_labels=labels, question=question)
        return dict(zip(result["labels"], result["scores"]))

    answers = decide(REQUEST)
    assert list(answers) == list(QUESTIONS)
    topic = shares({"sports": "a game or a team", "business": None, "music": "play: a song"}, "what is the text about")
    assert answers["topic"]["probabilities"] == pytest.approx(topic, abs=1e-6)
    assert answers["topic"]["choice"] == max(topic, key=topic.__getitem__)
    levels = QUESTIONS["mood"]["criteria"]
    mood = shares(levels, "good or bad")
    assert list(answers["mood"]["probabilities"].values()) == pytest.approx([mood[level] for level in levels], abs=1e-6)
    assert answers["mood"]["legend"] == dict(zip("012", levels))
    assert answers["fell"] == {"type": "noul", "noul": pytest.approx(shares(["yes", "no"], "fell the stocks")["yes"])}
    described = shares({"yes": "stocks rose", "no": None})
    assert answers["rose"]["noul"] == pytest.approx(described["yes"], abs=1e-6)


@needs_stock
def test_the_stock_pipeline_gives_the_same_answers(folder: Path) -> None:
    stock, ours = (pipeline(task, model=str(folder), device="cpu") for task in ("decision", "unimc-decision"))
    assert type(stock) is transformers.DecisionPipeline
    expected = ours(REQUEST)
    assert close(stock(REQUEST), expected)
    assert close(stock(json.dumps(REQUEST)), expected)
    assert close(stock([REQUEST, REQUEST])[1], expected)
    uncalibrated = ours(REQUEST, calibrated=False)
    assert uncalibrated["fell"]["noul"] != pytest.approx(expected["fell"]["noul"], abs=1e-4)


@needs_stock
def test_the_side_on_which_the_tokenizer_pads_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.padding_side = "left"
    UniMCZeroShotPipeline(tiny_model("bert"), tokenizer, device="cpu").save_pretrained(tmp_path)
    expected = pipeline("unimc-decision", model=str(tmp_path), device="cpu")(REQUEST)
    monkeypatch.setattr("unimc_hf.token_batches.TOKENS_PER_BATCH", {"cpu": 20})  # questions of other lengths apart
    assert close(pipeline("decision", model=str(tmp_path), device="cpu")(REQUEST), expected)


@needs_stock
def test_the_answer_format_is_the_stock_one() -> None:
    from transformers.decision.template_utils import DecisionConfig, parse_questions

    rng = random.Random(0)
    questions = {
        "two": {"type": "choice", "criteria": {"a": None, "b": "text"}},
        "one": {"type": "choice", "criteria": {"a": None}},
        "many": {"type": "choice", "criteria": dict.fromkeys("gfedcba")},
        "levels": {"type": "score", "criteria": ["low", {"a": "middle"}, "high", "top"]},
        "level": {"type": "score", "criteria": ["low"]},
        "noul": {"type": "noul", "criteria": {"false": "never"}},
    }
    ours = parse_request({"state": "", "questions": questions}).questions
    for mine, theirs in zip(ours, parse_questions(questions, DecisionConfig()), strict=True):
        for _ in range(20):
            logits = torch.tensor([rng.gauss(0, 2) for _ in mine.options])
            probabilities = logits.softmax(-1).tolist()
            assert close(mine.answer(probabilities), theirs.answer(probabilities))


@pytest.mark.parametrize("family", FAMILIES)  # also the one whose scores depend on the order
def test_the_order_of_the_options_never_matters(family: str) -> None:
    decide = UniMCDecisionPipeline(tiny_model(family), tiny_tokenizer(), device="cpu")
    names = ["red car", "blue", "the sky", "music", "a dog"]
    expected = decide("the sky is blue", {"q": {"type": "choice", "criteria": dict.fromkeys(names)}})["q"]
    for order in (names[::-1], names[2:] + names[:2]):
        got = decide("the sky is blue", {"q": {"type": "choice", "criteria": dict.fromkeys(order)}})["q"]
        assert list(got["probabilities"]) == order
        assert got == expected  # to the last bit
    equal = DecisionQuestion("q", "choice", "", ("b", "a"), (None, None), ("b", "a"))
    assert equal.answer([0.5, 0.5])["choice"] == "a"  # not the first one


def test_all_ways_to_pass_requests_agree(decide: UniMCDecisionPipeline) -> None:
    states = ["stocks fell", {"text": "the team won", "place": ["car", 3]}, ""]
    requests = [{"state": state, "questions": QUESTIONS} for state in states]
    expected = [decide(request) for request in requests]
    dataset = KeyDataset([{"request": request} for request in requests], "request")
    for way in (
        decide(requests),
        decide([json.dumps(request) for request in requests]),
        list(decide(iter(requests))),
        list(decide(dataset)),
        decide(states, QUESTIONS),
        decide(states, questions=QUESTIONS, batch_size=2),
    ):
        assert all(close(got, want) for got, want in zip(way, expected, strict=True))
    assert close(decide("text: the team won\nplace: car\n3", QUESTIONS), expected[1])
    two = [{"state": "sky", "questions": {"a": QUESTIONS["fell"]}}, REQUEST]
    assert [list(answers) for answers in decide(two)] == [["a"], list(QUESTIONS)]


@pytest.mark.parametrize("task", ["unimc-decision", pytest.param("decision", marks=needs_stock)])
def test_questions_go_through_the_model_together(task: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = pipeline(task, model=str(folder), device="cpu")
    sizes: list[int] = []
    forward = decide.model.forward
    monkeypatch.setattr(
        decide.model, "forward", lambda **kwargs: sizes.append(len(kwargs["input_ids"])) or forward(**kwargs)
    )
    request = {"state": "the sky", "questions": {f"q{i}": list(QUESTIONS.values())[i % 4] for i in range(40)}}
    together = decide(request)
    assert len(sizes) <= 2 and sum(sizes) == 40
    monkeypatch.setattr("unimc_hf.token_batches.TOKENS_PER_BATCH", {"cpu": 200})
    assert close(decide(request), together)
    assert 4 < len(sizes) < 24 and sum(sizes) == 80


@pytest.mark.parametrize("task", ["unimc-decision", pytest.param("decision", marks=needs_stock)])
def test_a_state_that_was_cut_is_reported(task: str, folder: Path) -> None:
    decide = pipeline(task, model=str(folder), device="cpu")
    answers = decide({"state": "sky " * 400, "questions": QUESTIONS})
    assert all(answer["num_truncated_tokens"] > 300 for answer in answers.values())
    assert "num_truncated_tokens" not in decide(REQUEST)["fell"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("no json", "The request is not JSON"),
        ({"state": "sky"}, "A request is a dict"),
        ([REQUEST, {"state": "sky", "questions": {}}], "`questions` must be a dict of at least one"),
        ({**REQUEST, "assets": {"img": "x.png"}}, "reads text only"),
        ({**REQUEST, "assets": torch.ones(2)}, "reads text only"),
        ({"state": "a\udc00", "questions": QUESTIONS}, "`state` holds a lone surrogate"),
        ({"state": {"a": object()}, "questions": QUESTIONS}, "`state` holds a object"),
    ],
)
def test_wrong_requests_raise(decide: UniMCDecisionPipeline, request_: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decide(request_)


def test_every_wrong_question_is_listed(decide: UniMCDecisionPipeline) -> None:
    wrong = {
        "no dict": ("what", "`type` must be one of choice, score, noul, got 'what'"),
        "no type": ({"instructions": "what"}, "`type` must be one of"),
        "a list": ({"type": ["choice"]}, "`type` must be one of"),
        "unknown": ({"type": "noul", "criterion": 3}, "unknown criterion"),
        "no options": ({"type": "choice"}, "`criteria` must be a dict of options"),
        "no levels": ({"type": "score", "criteria": {}}, "`criteria` must be a list of levels"),
        "maybe": ({"type": "noul", "criteria": {"maybe": "x"}}, "may describe 'true' and 'false'"),
        "twice": ({"type": "score", "criteria": ["low", "low"]}, "`criteria` repeats 'low'"),
        "empty": ({"type": "choice", "criteria": {" ": None, "a": None}}, "`criteria` holds an empty option"),
        "number": ({"type": "score", "criteria": ["low", 3]}, r"`criteria[1]` must be a string"),
        "key": ({"type": "choice", "criteria": {1: "x", "b": "y"}}, "`criteria` must be a string, got int"),
        "asked": ({"type": "noul", "instructions": 5}, "`instructions` must be a string"),
    }
    questions = {name: question for name, (question, _) in wrong.items()} | {"right": QUESTIONS["fell"]}
    with pytest.raises(ValueError) as raised:
        decide({"state": "sky", "questions": questions})
    lines = str(raised.value).splitlines()
    assert len(lines) == len(wrong)
    for line, (name, (_, message)) in zip(lines, wrong.items()):
        assert line.startswith(f"Question {name!r}: ") and message in line
    with pytest.raises(ValueError, match="Question 'a'"):  # before the stream is read
        decide(iter(["sky"]), questions={"a": {}})
    with pytest.raises(TypeError, match="unknown arguments: multi_label"):
        decide(REQUEST, multi_label=True)


def test_chinese_models_read_chinese_words_for_true_and_false() -> None:
    request = {"state": "天", "questions": {"q": {"type": "noul", "criteria": {"true": "蓝"}}}}
    assert parse_request(request, "chinese").questions[0].option_texts == ("是: 蓝", "否")
    assert parse_request(request, "english").questions[0].option_texts == ("yes: 蓝", "no")


def test_the_default_model_decides() -> None:
    decide = pipeline("unimc-decision")
    assert decide.model.name_or_path == unimc_hf.DEFAULT_MODEL
    questions = {
        "topic": {"type": "choice", "criteria": {"billing": "payments and refunds", "delivery": "parcels"}},
        "refund": {"type": "noul", "instructions": "Does the customer want a refund?"},
        "tone": {"type": "score", "instructions": "How satisfied is the customer?", "criteria": ["unhappy", "happy"]},
    }
    unhappy = "I was charged twice for my order and want a refund."
    happy = "The parcel came early, thank you, I love it!"
    first, second = decide([unhappy, happy], questions)
    assert (first["topic"]["choice"], second["topic"]["choice"]) == ("billing", "delivery")
    assert first["refund"]["noul"] > 0.5 > second["refund"]["noul"]
    assert first["tone"]["score"] < second["tone"]["score"]


@needs_stock
def test_the_stock_pipeline_without_this_package(folder: Path, tmp_path: Path) -> None:
    program = """
import json, sys; sys.modules["unimc_hf"] = None
from transformers import pipeline
decide = pipeline("decision", model=sys.argv[1], trust_remote_code=True, device="cpu")
print(json.dumps(decide(sys.argv[2])))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), json.dumps(REQUEST)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "HF_MODULES_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = pipeline("unimc-decision", model=str(folder), device="cpu")(REQUEST)
    assert close(json.loads(done.stdout.strip().splitlines()[-1]), expected)
