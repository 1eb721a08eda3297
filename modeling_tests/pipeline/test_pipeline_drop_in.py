"""Called as transformers' own `zero-shot-classification` pipeline is: what its tests ask, in our words, and columns."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tiny_models
from places import ROOT
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline

TEXT, LABELS = "stocks fell sharply", ["sports", "business"]
TEXTS = ["stocks fell sharply", "the team won", "sky"]


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def test_one_label_in_every_way_it_can_be_passed(classify: UniMCZeroShotPipeline) -> None:
    answers = [
        classify(TEXT, candidate_labels="sports"),
        classify(TEXT, ["sports"]),
        classify(TEXT, "sports"),
        classify(TEXT, candidate_labels=["sports"]),
        classify(sequences=TEXT, candidate_labels=["sports"]),
    ]
    for answer in answers:
        assert list(answer) == ["sequence", "labels", "scores"]
        assert (answer["sequence"], answer["labels"]) == (TEXT, ["sports"])
        assert type(answer["scores"][0]) is float and answer == answers[0]
    assert answers[0] == classify(TEXT, "sports", multi_label=True)


def test_one_label_is_calibrated_as_with_multi_label(monkeypatch: pytest.MonkeyPatch) -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    plain = classify(TEXT, "sports")["scores"]
    monkeypatch.setattr(classify.model.config, "sigmoid_bias", 2.0)
    assert classify(TEXT, "sports")["scores"] > plain
    assert classify(TEXT, "sports") == classify(TEXT, "sports", multi_label=True)
    assert classify(TEXT, "sports", calibrated=False)["scores"] == plain


def test_several_labels_in_a_string_and_a_template(classify: UniMCZeroShotPipeline) -> None:
    answer = classify(TEXT, candidate_labels="sports, business")
    assert answer == classify(TEXT, candidate_labels=LABELS) == classify(TEXT, LABELS)
    assert sum(answer["scores"]) == pytest.approx(1.0)
    worded = classify(TEXT, candidate_labels="sports", hypothesis_template="This text is about {}")
    assert worded["labels"] == ["sports"] and worded != classify(TEXT, candidate_labels="sports")


def test_a_list_of_texts_gives_a_list_of_answers(classify: UniMCZeroShotPipeline) -> None:
    for texts in (TEXTS[:1], TEXTS):
        answers = classify(texts, LABELS)
        assert type(answers) is list and [answer["sequence"] for answer in answers] == texts
        assert classify(sequences=texts, candidate_labels=LABELS) == answers


def test_a_text_that_is_too_long_is_cut(classify: UniMCZeroShotPipeline) -> None:
    answer = classify("sky dog " * 1000, LABELS)
    assert answer["num_truncated_tokens"] > 1900


@pytest.mark.parametrize(
    ("inputs", "arguments", "error", "message"),
    [
        ("", {"candidate_labels": "politics"}, ValueError, "`inputs` is an empty text"),
        (None, {"candidate_labels": "politics"}, TypeError, "`inputs` must be a string"),
        (TEXT, {"candidate_labels": ""}, ValueError, "`candidate_labels` is empty"),
        (TEXT, {"candidate_labels": None}, TypeError, "`candidate_labels` is missing"),
        (TEXT, {"candidate_labels": "a", "hypothesis_template": "no place"}, ValueError, "`hypothesis_template`"),
        # Here transformers has an AttributeError, which names nothing.
        (TEXT, {"candidate_labels": "a", "hypothesis_template": None}, TypeError, "`hypothesis_template`"),
        (TEXT, {"candidate_labels": "a", "sequences": TEXT}, TypeError, "`sequences` is another name"),
    ],
)
def test_what_is_empty_or_missing_raises(
    classify: UniMCZeroShotPipeline, inputs: object, arguments: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        classify(inputs, **arguments)


def columns_of(entries: list) -> dict[str, object]:
    """The entries in every kind of list, but for sets."""
    kinds: dict[str, object] = {"tuple": tuple(entries), "array": np.array(entries), "objects": np.array(entries, "O")}
    try:
        import pandas
    except ImportError:
        pass
    else:
        kinds |= {"Series": pandas.Series(entries, index=range(7, 7 + len(entries))), "Index": pandas.Index(entries)}
    try:
        import datasets
    except ImportError:
        pass
    else:
        kinds["Column"] = datasets.Dataset.from_dict({"column": entries})["column"]
    return kinds


def test_columns_serve_as_texts_labels_questions_and_pairs(classify: UniMCZeroShotPipeline) -> None:
    expected = classify(TEXTS, LABELS, question=TEXTS, text_pair=TEXTS[::-1])
    labels, pairs = columns_of(LABELS), columns_of(TEXTS[::-1])
    for kind, texts in columns_of(TEXTS).items():
        got = classify(texts, labels[kind], question=texts, text_pair=pairs[kind])
        assert type(got) is list and got == expected, kind
        menus = columns_of([LABELS] * 3) if kind != "Index" else {}
        for menu_kind, menu in menus.items():
            assert classify(texts, menu) == classify(TEXTS, LABELS), menu_kind
        with pytest.raises(ValueError, match="`question` has 3 entries for 2 texts"):
            classify(TEXTS[:2], LABELS, question=texts)
        with pytest.raises(TypeError, match="`question` is a list"):
            classify(TEXT, LABELS, question=texts)


def test_sets_have_no_order_of_their_own(classify: UniMCZeroShotPipeline) -> None:
    assert classify(set(TEXTS), set(LABELS)) == classify(sorted(TEXTS), sorted(LABELS))
    assert classify(TEXT, frozenset(LABELS)) == classify(TEXT, dict.fromkeys(LABELS).keys()) == classify(TEXT, LABELS)
    assert classify(TEXTS, [set(LABELS)] * 3) == classify(TEXTS, LABELS)
    for name in ("question", "text_pair"):
        with pytest.raises(TypeError, match=f"`{name}` must be a string or a list of strings, got set"):
            classify(TEXTS, LABELS, **{name: set(TEXTS)})
    with pytest.raises(TypeError, match="`candidate_labels` must be a string, got tuple"):
        classify(TEXTS, {("a", "b"), ("c", "d")})
    with pytest.raises(TypeError, match=r"`inputs\[\d\]` must be a string, got int"):
        classify({1, "a"}, LABELS)


def test_the_order_of_a_set_does_not_reach_a_model_that_sees_it() -> None:
    program = """
from tiny_models import tiny_model, tiny_tokenizer
from unimc_hf import UniMCZeroShotPipeline
classify = UniMCZeroShotPipeline(tiny_model("deberta-v2"), tiny_tokenizer(), device="cpu")
print(classify({"sky", "red car", "stocks fell"}, {"sports", "business", "music", "film"}))
"""
    path = os.pathsep.join([os.path.dirname(tiny_models.__file__), str(ROOT), os.environ.get("PYTHONPATH", "")])
    answers = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        ).stdout
        for seed in "12"
    }  # fmt: skip
    assert len(answers) == 1


@pytest.mark.parametrize("labels", [3, b"ab", len, np.array("a"), np.ndarray, object()])
def test_what_is_no_list_raises_as_before(classify: UniMCZeroShotPipeline, labels: object) -> None:
    with pytest.raises(TypeError, match="`candidate_labels` must be a list of strings"):
        classify(TEXT, labels)


def test_nothing_is_printed_but_the_answer() -> None:
    program = """
import unimc_hf; from transformers import pipeline
print(pipeline("unimc-zero-shot")("Stocks fell.", candidate_labels=["sports", "business"]))
"""
    quiet = {"TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"}  # what these tests run with
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        env={name: value for name, value in os.environ.items() if name not in quiet},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == 1 and "'labels': ['business', 'sports']" in done.stdout


def test_other_models_and_warnings_are_as_loud_as_before(tmp_path: object) -> None:
    program = """
import sys, unimc_hf
from transformers import logging, pipeline
from transformers.pipelines import logger
pipeline("unimc-zero-shot")
assert logging.is_progress_bar_enabled()
logger.warning("No model was supplied, defaulted to other and revision main.")
pipeline("unimc-zero-shot", model=sys.argv[1])
"""
    UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu").save_pretrained(tmp_path)
    quiet = {"TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300,
        env={name: value for name, value in os.environ.items() if name not in quiet},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "defaulted to other" in done.stderr and "Loading weights" in done.stderr
