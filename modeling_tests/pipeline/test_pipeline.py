"""The pipeline as users call it: inputs in every shape, arguments, order, streaming, and clear errors."""

import copy
import itertools
import shutil
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model, tiny_tokenizer
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from unimc_hf import UniMCConfig, UniMCDecisionPipeline, UniMCForMultipleChoice, UniMCZeroShotPipeline

LABELS = ["sports", "business", "red car"]
TEXTS = ["stocks fell sharply", "the team won the game", "sky", ""]


class DataFrame:
    """As those of pandas and polars: what iterating gives are the names of the columns."""

    columns = ("id", "text")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def same(got: dict, expected: dict) -> bool:
    return got["labels"] == expected["labels"] and got["scores"] == pytest.approx(expected["scores"], abs=1e-6)


def test_the_output_contract(classify: UniMCZeroShotPipeline) -> None:
    result = classify("stocks fell", candidate_labels=LABELS)
    assert list(result) == ["sequence", "labels", "scores"]
    assert result["sequence"] == "stocks fell"
    assert sorted(result["labels"]) == sorted(LABELS)
    assert result["scores"] == sorted(result["scores"], reverse=True)
    assert sum(result["scores"]) == pytest.approx(1.0)
    assert all(isinstance(score, float) for score in result["scores"])


def test_all_ways_to_pass_texts_agree(classify: UniMCZeroShotPipeline) -> None:
    expected = [classify({"text": text}, candidate_labels=LABELS) for text in TEXTS]
    dataset = KeyDataset([{"text": text} for text in TEXTS], "text")
    ways = {
        "list": classify(TEXTS, candidate_labels=LABELS),
        "positional": classify(TEXTS, LABELS),
        "tuple": classify(tuple(TEXTS), candidate_labels=LABELS),
        "generator": list(classify((text for text in TEXTS), candidate_labels=LABELS)),
        "iterator": list(classify(iter(TEXTS), candidate_labels=LABELS)),
        "KeyDataset": list(classify(dataset, candidate_labels=LABELS)),
        "dicts": classify([{"text": text} for text in TEXTS], candidate_labels=LABELS),
        "batch_size 1": classify(TEXTS, candidate_labels=LABELS, batch_size=1),
        "batch_size 3": classify(TEXTS, candidate_labels=LABELS, batch_size=3),
        "comma-separated labels": classify(TEXTS, candidate_labels="sports, business, red car"),
    }
    for way, results in ways.items():
        assert len(results) == len(TEXTS), way
        for got, want in zip(results, expected):
            assert same(got, want), way
            assert got["sequence"] == want["sequence"]
    assert classify([], candidate_labels=LABELS) == []


def test_batch_size_is_respected(classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    forward = classify.model.forward
    monkeypatch.setattr(
        classify.model, "forward", lambda **kwargs: sizes.append(len(kwargs["input_ids"])) or forward(**kwargs)
    )
    for batch_size, expected in ((1, [1] * 7), (3, [3, 3, 1]), (None, [7])):
        sizes.clear()
        classify(["sky"] * 7, candidate_labels=LABELS, batch_size=batch_size)
        assert sizes == expected


def test_a_stream_is_read_as_its_results_are_taken(classify: UniMCZeroShotPipeline) -> None:
    taken = []
    stream = (taken.append(i) or f"sky {i}" for i in itertools.count())
    results = classify(stream, candidate_labels=LABELS)
    assert [next(results)["sequence"] for _ in range(3)] == ["sky 0", "sky 1", "sky 2"]
    assert len(taken) <= 1025


def test_long_menus_make_windows_shorter(classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimc_hf.pipeline_unimc.OPTIONS_PER_WINDOW", 7)
    sizes = []
    encode = classify.preprocess
    monkeypatch.setattr(
        classify, "preprocess", lambda rows, **kwargs: sizes.append(len(rows)) or encode(rows, **kwargs)
    )
    results = classify(["sky"] * 7, candidate_labels=LABELS)
    assert sizes == [3, 3, 1] and len(results) == 7


def test_progress_is_shown_when_asked(classify: UniMCZeroShotPipeline, capsys: pytest.CaptureFixture) -> None:
    expected = classify(TEXTS, candidate_labels=LABELS)
    assert capsys.readouterr().err == ""  # no terminal, and soon done
    assert classify(TEXTS, candidate_labels=LABELS, progress_bar=True) == expected
    assert "4/4" in capsys.readouterr().err
    assert list(classify((text for text in TEXTS), candidate_labels=LABELS, progress_bar=True)) == expected
    assert "4 texts" in capsys.readouterr().err
    with pytest.raises(TypeError, match="`progress_bar` must be True or False"):
        classify(TEXTS, candidate_labels=LABELS, progress_bar="yes")


def test_questions_and_pairs_of_its_own_for_every_text(classify: UniMCZeroShotPipeline) -> None:
    questions, pairs = ["what about", None, ""], [None, "the sky", "red"]
    results = classify(TEXTS[:3], candidate_labels=LABELS, question=questions, text_pair=pairs)
    for text, question, pair, result in zip(TEXTS, questions, pairs, results):
        assert same(result, classify(text, candidate_labels=LABELS, question=question, text_pair=pair))
    plain = classify(TEXTS[0], candidate_labels=LABELS)
    assert not same(results[0], plain)
    assert not same(classify(TEXTS[0], candidate_labels=LABELS, text_pair="red"), plain)
    asked = {"text": TEXTS[0], "question": None}  # as without: what is asked of all is asked of it
    assert same(classify(asked, candidate_labels=LABELS, question="what about"), results[0])


def test_dicts_of_the_original_implementation(classify: UniMCZeroShotPipeline) -> None:
    item = {"texta": "stocks fell", "textb": "red", "question": "what", "choice": LABELS, "label": 1, "id": 7}
    untouched = dict(item)
    result = classify(item)
    assert same(result, classify("stocks fell", candidate_labels=LABELS, text_pair="red", question="what"))
    assert item == untouched


def test_descriptions_are_read_but_not_reported(classify: UniMCZeroShotPipeline) -> None:
    described = classify("sky", candidate_labels={"red": "a car", "blue": "the sky"})
    worded = classify("sky", candidate_labels=["red: a car", "blue: the sky"])
    assert set(described["labels"]) == {"red", "blue"}
    assert described["scores"] == pytest.approx(worded["scores"])


def test_hypothesis_template(classify: UniMCZeroShotPipeline) -> None:
    result = classify("sky", candidate_labels=["red", "{blue}"], hypothesis_template="This is {}.")
    worded = classify("sky", candidate_labels=["This is red.", "This is {blue}."])
    assert result["scores"] == pytest.approx(worded["scores"])
    assert set(result["labels"]) == {"red", "{blue}"}


def test_threshold_and_top_k(classify: UniMCZeroShotPipeline) -> None:
    full = classify("sky", candidate_labels=LABELS, multi_label=True)
    middle = full["scores"][1]
    kept = classify("sky", candidate_labels=LABELS, multi_label=True, threshold=middle)
    assert kept["labels"] == full["labels"][:2]
    assert classify("sky", candidate_labels=LABELS, threshold=1.0)["labels"] == []  # none of these
    assert classify("sky", candidate_labels=LABELS, top_k=1)["labels"] == [
        classify("sky", candidate_labels=LABELS)["labels"][0]
    ]
    assert len(classify("sky", candidate_labels=LABELS, top_k=9)["labels"]) == 3
    from_arrays = {"top_k": np.int64(1), "threshold": np.float32(0.25)}
    assert classify("sky", LABELS, **from_arrays) == classify("sky", LABELS, top_k=1, threshold=0.25)


def test_one_label_is_scored_on_its_own(classify: UniMCZeroShotPipeline) -> None:
    alone = classify("sky", candidate_labels=["red"], multi_label=True)
    assert 0.0 < alone["scores"][0] < 1.0
    for labels in ("red", ["red"], {"red": None}, {"red"}):
        assert classify("sky", candidate_labels=labels) == alone
    assert classify("sky", candidate_labels=["red"], calibrated=False) == alone  # this model is not calibrated


def test_what_was_cut_is_reported(classify: UniMCZeroShotPipeline) -> None:
    long, short = classify(["sky " * 300, "sky"], candidate_labels=LABELS, max_length=40)
    assert long["num_truncated_tokens"] == 300 + 1 + 9 - 40 == 270
    assert "num_truncated_tokens" not in short


def test_many_labels_fit_without_asking(classify: UniMCZeroShotPipeline) -> None:
    labels = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"]  # 1,193 tokens
    result = classify("the sky", candidate_labels=labels)
    assert len(result["labels"]) == 400 and "num_truncated_tokens" not in result
    with pytest.raises(ValueError, match="`options` do not fit: 400 options take 1193 tokens"):
        classify("the sky", candidate_labels=labels, max_length=512)


def test_arguments_can_be_set_once(classify: UniMCZeroShotPipeline) -> None:
    preset = UniMCZeroShotPipeline(
        tiny_model("bert"), tiny_tokenizer(), device="cpu", candidate_labels=LABELS, multi_label=True, batch_size=2
    )
    assert same(preset("sky"), classify("sky", candidate_labels=LABELS, multi_label=True))
    assert same(preset("sky", multi_label=False), classify("sky", candidate_labels=LABELS))


@pytest.mark.parametrize(
    ("inputs", "arguments", "error", "message"),
    [
        ("sky", {}, TypeError, "`candidate_labels` is missing"),
        ("sky", {"candidate_labels": []}, ValueError, "`candidate_labels` is empty"),
        ("sky", {"candidate_labels": ""}, ValueError, "`candidate_labels` is empty"),
        ("sky", {"candidate_labels": {}}, ValueError, "`candidate_labels` is empty"),
        ("sky", {"candidate_labels": ["a", "a"]}, ValueError, "`candidate_labels` repeats 'a'"),
        ("sky", {"candidate_labels": ["a", ""]}, ValueError, "`candidate_labels` holds an empty"),
        ("sky", {"candidate_labels": ["a", 1]}, TypeError, "`candidate_labels` must be a string"),
        ("sky", {"candidate_labels": 3}, TypeError, "`candidate_labels` must be a list"),
        ("sky", {"candidate_labels": {"a": 1, "b": "x"}}, TypeError, "candidate_labels"),
        ("sky", {"candidate_labels": [["a", "b"]]}, TypeError, "there is one text"),
        (["sky"], {"candidate_labels": [["a", "b"], ["c", "d"]]}, ValueError, "2 entries for 1 texts"),
        (
            "sky",
            {"candidate_labels": LABELS, "question": ["what"]},
            TypeError,
            "`question` is a list.*there is one text",
        ),
        (["sky"], {"candidate_labels": LABELS, "question": ["a", "b"]}, ValueError, "`question` has 2 entries"),
        (["sky"], {"candidate_labels": LABELS, "question": [3]}, TypeError, "`question`"),
        ("sky", {"candidate_labels": LABELS, "question": 3}, TypeError, "`question`"),
        ("sky", {"candidate_labels": LABELS, "text_pair": b"x"}, TypeError, "`text_pair`"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": "no label"}, ValueError, "exactly one {}"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": "{{}}"}, ValueError, "exactly one {}"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": "{} {}"}, ValueError, "exactly one {}"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": "{0.__class__}"}, ValueError, "exactly one {}"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": "{"}, ValueError, "is not a template"),
        ("sky", {"candidate_labels": LABELS, "hypothesis_template": None}, TypeError, "must be a string"),
        ("sky", {"candidate_labels": LABELS, "threshold": float("nan")}, ValueError, "`threshold`"),
        ("sky", {"candidate_labels": LABELS, "threshold": float("inf")}, ValueError, "`threshold`"),
        ("sky", {"candidate_labels": LABELS, "threshold": "0.5"}, TypeError, "`threshold`"),
        ("sky", {"candidate_labels": LABELS, "top_k": 0}, ValueError, "`top_k`"),
        ("sky", {"candidate_labels": LABELS, "top_k": 1.5}, TypeError, "`top_k`"),
        ("sky", {"candidate_labels": LABELS, "multi_label": "yes"}, TypeError, "`multi_label`"),
        ("sky", {"candidate_labels": LABELS, "batch_size": 0}, ValueError, "`batch_size`"),
        ("sky", {"candidate_labels": LABELS, "max_length": -1}, ValueError, "`max_length`"),
        ("sky", {"candidate_labels": LABELS, "temprature": 2}, TypeError, "unknown arguments: temprature"),
        (None, {"candidate_labels": LABELS}, TypeError, "`inputs`"),
        (3, {"candidate_labels": LABELS}, TypeError, "`inputs`"),
        (DataFrame(), {"candidate_labels": LABELS}, TypeError, "`inputs`.*got DataFrame"),
        ((text for text in TEXTS), {"candidate_labels": LABELS, "max_length": 0}, ValueError, "`max_length`"),
        (["sky", None], {"candidate_labels": LABELS}, TypeError, r"`inputs\[1\]` must be a string"),
        ([["sky"]], {"candidate_labels": LABELS}, TypeError, r"`inputs\[0\]` must be a string"),
        ({"text": None}, {"candidate_labels": LABELS}, TypeError, "`inputs` must be a string"),
        (
            ["sky", {"txt": "sky"}],
            {"candidate_labels": LABELS},
            ValueError,
            r"`inputs\[1\]` is a dict without",
        ),
        ({"txt": "sky"}, {"candidate_labels": LABELS}, ValueError, "without a 'text'"),
        ("a\udc00", {"candidate_labels": LABELS}, ValueError, "lone surrogate"),
        (b"", {"candidate_labels": LABELS}, TypeError, "`inputs` must be a string or a list of strings, got bytes"),
        ({"text": "sky", "candidate_labels": []}, {"candidate_labels": LABELS}, ValueError, "is empty"),
        ({"text": "sky", "task_type": ["x"], "choice": [1]}, {}, TypeError, "`candidate_labels` must be a string"),
    ],
)
def test_wrong_arguments_raise_and_name_themselves(
    classify: UniMCZeroShotPipeline, inputs: object, arguments: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        classify(inputs, **arguments)


def test_members_of_an_enum_are_their_strings(classify: UniMCZeroShotPipeline) -> None:
    words = Enum("words", {"FIRST": LABELS[0], "SECOND": LABELS[1]}, type=str)
    expected = classify("sky", candidate_labels=LABELS[:2])
    assert classify("sky", candidate_labels=list(words)) == expected == classify("sky", dict.fromkeys(words))
    assert all(type(label) is str for label in classify("sky", candidate_labels=list(words))["labels"])
    decide = UniMCDecisionPipeline(classify.model, classify.tokenizer, device="cpu")
    asked = [{"type": "choice", "criteria": dict.fromkeys(names, "red")} for names in (words, LABELS[:2])]
    first, second = (decide({"state": "sky", "questions": {"q": question}}) for question in asked)
    assert first == second and type(first["q"]["choice"]) is str


def test_a_stream_with_fewer_texts_than_questions_raises_at_its_end(classify: UniMCZeroShotPipeline) -> None:
    answers = classify((text for text in ["sky"]), candidate_labels=LABELS, question=["what", "who"])
    with pytest.raises(ValueError, match="`question` has 2 entries for 1 texts"):
        list(answers)


def test_nothing_is_computed_before_every_input_was_checked(
    classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify.model, "forward", lambda **_: pytest.fail("computed before the check"))
    with pytest.raises(TypeError):
        classify(["sky"] * 2000 + [None], candidate_labels=LABELS)


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    labels=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), min_size=2, max_size=5),
)
def test_any_text_gives_scores_or_a_clear_error(text: str, labels: list[str]) -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    try:
        [result] = classify([text], candidate_labels=labels)  # alone, an empty text raises
    except ValueError as error:
        assert "candidate_labels" in str(error)
        assert len(set(labels)) < len(labels) or not all(label.strip() for label in labels)
        return
    assert sorted(result["labels"]) == sorted(labels)
    assert sum(result["scores"]) == pytest.approx(1.0, abs=1e-5)


def test_a_model_that_is_no_unimc_model_is_refused() -> None:
    from tiny_models import TEXT_CONFIGS
    from transformers import BertForMaskedLM

    with pytest.raises(ValueError, match="`model` is a BertForMaskedLM"):
        UniMCZeroShotPipeline(BertForMaskedLM(copy.deepcopy(TEXT_CONFIGS["bert"])), tiny_tokenizer())


def test_the_precision_of_the_packaged_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for is_fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("unimc_hf.pipeline_unimc.is_fast_in_bfloat16", lambda device, is_fast=is_fast: is_fast)
        assert pipeline("unimc-zero-shot").model.dtype == dtype
    monkeypatch.setattr("unimc_hf.pipeline_unimc.is_fast_in_bfloat16", lambda device: True)
    as_saved = pipeline("unimc-zero-shot", dtype="float32")
    assert as_saved.model.dtype == torch.float32
    # What is saved is not rounded, and keeps saying what the rounded one said of itself.
    rounded = pipeline("unimc-zero-shot")
    rounded.model.config.softmax_temperature = 3.0
    sharing = UniMCDecisionPipeline(rounded.model, rounded.tokenizer)
    for classify, folder in ((rounded, tmp_path / "one"), (sharing, tmp_path / "other")):
        classify.save_pretrained(folder)
        weights = UniMCForMultipleChoice.from_pretrained(folder).state_dict()
        assert all(torch.equal(weight, weights[name]) for name, weight in as_saved.model.state_dict().items())
        assert UniMCConfig.from_pretrained(folder).softmax_temperature == 3.0
    with torch.no_grad():  # as if it had been trained
        next(rounded.model.parameters())[0, 0] = 7.0
    rounded.save_pretrained(tmp_path / "trained")
    trained = UniMCForMultipleChoice.from_pretrained(tmp_path / "trained", dtype="auto")
    assert next(trained.parameters())[0, 0] == 7.0


def test_a_model_that_cannot_be_saved_leaves_what_is_there(tmp_path: Path) -> None:
    classify = UniMCZeroShotPipeline(copy.deepcopy(tiny_model("bert")), tiny_tokenizer(), device="cpu")
    classify.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    classify.model = types.SimpleNamespace(config=classify.model.config)  # as an exported one is
    with pytest.raises(AttributeError, match="save_pretrained"):
        classify.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_rounding_on_a_fast_machine_is_the_rounding_of_loading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = copy.deepcopy(tiny_model("modernbert"))
    model.config.prefer_bfloat16 = True
    UniMCZeroShotPipeline(model, tiny_tokenizer(), device="cpu").save_pretrained(tmp_path)
    monkeypatch.setattr("unimc_hf.pipeline_unimc.is_fast_in_bfloat16", lambda device: True)
    rounded, asked_for = (pipeline("unimc-zero-shot", model=str(tmp_path), dtype=d) for d in ("auto", "bfloat16"))
    assert rounded.model.dtype == asked_for.model.dtype == torch.bfloat16
    for (name, one), other in zip(rounded.model.named_buffers(), asked_for.model.buffers(), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other), name  # the frequencies of rotary positions
    assert rounded(TEXTS, LABELS) == asked_for(TEXTS, LABELS)


def test_a_rounded_model_whose_file_is_gone_is_saved_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = copy.deepcopy(tiny_model("bert"))
    model.config.prefer_bfloat16 = True
    UniMCZeroShotPipeline(model, tiny_tokenizer(), device="cpu").save_pretrained(tmp_path / "gone")
    monkeypatch.setattr("unimc_hf.pipeline_unimc.is_fast_in_bfloat16", lambda device: True)
    rounded = pipeline("unimc-zero-shot", model=str(tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    with pytest.warns(UserWarning, match=r"Saved in torch.bfloat16: .* does not load: "):
        rounded.save_pretrained(tmp_path / "saved")
    again = pipeline("unimc-zero-shot", model=str(tmp_path / "saved"), dtype="bfloat16")
    assert again(TEXTS, LABELS) == rounded(TEXTS, LABELS)


def test_scores_are_the_same_to_the_last_bit_in_any_order_of_the_labels() -> None:
    classify = pipeline("unimc-zero-shot", dtype="bfloat16")
    labels = ["sports", "business", "music", "weather", "politics"]
    texts = ["Stocks fell sharply.", "It rains."]
    assert classify(texts, labels) == classify(texts, labels[::-1])
