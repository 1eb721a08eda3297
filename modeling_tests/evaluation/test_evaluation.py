"""The figures against hand calculations, and the reader of the common format."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model, tiny_tokenizer
from transformers import EvalPrediction

from unimc_hf import DEFAULT_MODEL, UniMCZeroShotPipeline
from unimc_hf.evaluation.calibration import calibrate
from unimc_hf.evaluation.classifiers import (
    cosine_classifier,
    majority_classifier,
    unimc_classifier,
    zero_shot_classifier,
)
from unimc_hf.evaluation.jsonl_examples import read_jsonl
from unimc_hf.evaluation.metrics import calibration_error, evaluate, none_fits_auroc, option_metrics
from unimc_hf.evaluation.short_names import short_names, unimc_names
from unimc_hf.evaluation.source_scores import scores_by_source

ROW = {"passage": "sky", "question": "what", "options": ["red", "blue"], "label": 1, "task": "topic", "source": "x"}
EXAMPLES = [{"text": "sky", "text_pair": "", "question": "", "options": ["red", "blue"], "label": i} for i in (0, 1, 1)]


def test_figures_by_hand() -> None:
    result = evaluate(lambda examples: [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], EXAMPLES)
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert result.calibration_error == pytest.approx((0.1 + 0.2 + 0.6) / 3)
    assert result.accuracy_interval[0] <= result.accuracy <= result.accuracy_interval[1]


def test_rows_without_a_label_have_no_score() -> None:
    logits = np.array([[2.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 1.0]])
    both = scores_by_source(["a", "a", "a", "b"])
    figures = both(EvalPrediction(logits, np.array([0, 1, -100, -100])))
    assert figures == {"mean_macro_f1": 1.0, "mean_accuracy": 1.0, "a": 1.0}
    assert both(EvalPrediction(logits, np.array([0, 1, 1, 0])))["mean_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert both(EvalPrediction(logits, np.full(4, -100))) == {}


def test_calibration_error_is_zero_for_honest_scores() -> None:
    confidence = np.full(100, 0.75)
    assert calibration_error(confidence, np.arange(100) < 75) == pytest.approx(0.0)
    assert calibration_error(np.ones(4), np.array([True, True, False, False])) == pytest.approx(0.5)


def test_a_class_is_its_name_not_its_index() -> None:
    shuffled = [EXAMPLES[0], {**EXAMPLES[1], "options": ["blue", "red"], "label": 0}, EXAMPLES[0]]
    assert evaluate(lambda _: [[1.0, 0.0]] * 3, shuffled).macro_f1 == 1.0
    majority = evaluate(majority_classifier, shuffled)  # always red
    assert (majority.accuracy, majority.macro_f1) == (pytest.approx(2 / 3), pytest.approx(0.4))


def test_the_pipeline_as_a_classifier_keeps_the_order_of_the_options() -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    examples = [EXAMPLES[0], {**EXAMPLES[0], "options": ["blue", "red", "dog"]}]
    first, second = unimc_classifier(classify)(examples)
    assert first[0] / first[1] == pytest.approx(second[1] / second[0], rel=0.5)
    assert sum(first) == pytest.approx(1.0) and len(second) == 3
    short = UniMCZeroShotPipeline(classify.model, classify.tokenizer, device="cpu", top_k=1, threshold=0.9)
    assert unimc_classifier(short)(examples) == [first, second]


def test_examples_need_only_what_they_have() -> None:
    """Those of the README have no `text_pair` and no `question`."""
    examples = [{"text": "sky", "options": ["red", "blue"], "label": 1}]
    whole = [{**examples[0], "text_pair": "", "question": ""}]
    model, tokenizer = tiny_model("bert"), tiny_tokenizer()
    for classify in (
        unimc_classifier(UniMCZeroShotPipeline(model, tokenizer, device="cpu")),
        cosine_classifier(model.bert, tokenizer, with_question=True),
        zero_shot_classifier(lambda text, candidate_labels: {"labels": candidate_labels, "scores": [0.0, len(text)]}),
    ):
        assert classify(examples) == classify(whole)


def test_wrong_use_raises() -> None:
    with pytest.raises(ValueError, match="`examples` is empty"):
        evaluate(majority_classifier, [])
    with pytest.raises(ValueError, match="without a `label`"):
        evaluate(majority_classifier, [{**EXAMPLES[0], "label": None}])
    with pytest.raises(ValueError, match="one probability per option"):
        evaluate(lambda _: [[1.0]] * 3, EXAMPLES)


@pytest.mark.parametrize("label", [-1, -100, 2, [0, 1], "blue", 1.0, True, None])
def test_a_label_that_is_no_option_raises_before_the_classifier_is_called(label: object) -> None:
    def classify(_: object, **named: object) -> list:
        raise AssertionError("it was called")

    wrong = [EXAMPLES[0], {**EXAMPLES[0], "label": label}]
    with pytest.raises((TypeError, ValueError), match=r"`label`.* 1"):
        evaluate(classify, wrong)
    with pytest.raises((TypeError, ValueError), match=r"`label`.* 1"):
        option_metrics(wrong, [[0.5, 0.5]] * 2)
    with pytest.raises((TypeError, ValueError), match=r"`label`.* 1"):
        calibrate(classify, {"x": wrong})


def test_an_integer_of_numpy_is_a_label() -> None:
    assert option_metrics([{**EXAMPLES[0], "label": np.int64(1)}], [[0.1, 0.9]])["accuracy"] == 1.0


def test_names_are_short_and_differ() -> None:
    assert short_names(["runs/a/model", Path("runs/b/model")]) == ["a/model", "b/model"]
    assert short_names(["x/news", "y/mail"]) == ["news", "mail"] and short_names([]) == []
    assert unimc_names([DEFAULT_MODEL, "me/small"]) == ["UniMC (inside the package)", "UniMC small"]
    with pytest.raises(ValueError, match="`paths` repeats 'a/model'"):
        short_names(["a/model", "b/model", "./a/model"])


def test_reading(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "passage": "a [SEP] b", "task": "sentiment+topic"}, {"options": ["x"], "passage": None}]
    path = tmp_path / "data.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    first, second, third = read_jsonl(path)
    assert first == {"text": "sky", "text_pair": "", "question": "what", "options": ["red", "blue"], "label": 1,
                     "task": "topic", "source": "x"}  # fmt: skip
    assert (second["text"], second["text_pair"], second["task"]) == ("a", "b", "sentiment")
    assert (third["text"], third["label"], third["source"]) == ("", None, "data")
    assert len(read_jsonl(path, limit=2)) == 2 and read_jsonl(path, limit=2) == read_jsonl(path, limit=2)


def test_reading_rows_in_the_form_of_examples(tmp_path: Path) -> None:
    rows = [
        {"text": "A late goal.", "options": ["sports", "business"], "label": 0},
        {"text": "a [SEP] b", "text_pair": "c", "options": ["x", "y"]},
        {"text": None, "text_pair": None, "options": ["x", "y"]},
        {"passage": "a", "text_pair": "b", "options": ["x", "y"]},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    texts = [(example["text"], example["text_pair"]) for example in read_jsonl(path)]
    assert texts == [("A late goal.", ""), ("a [SEP] b", "c"), ("", ""), ("a", "b")]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"passage": "x"}',
        '{"options": 3}',
        '{"body": "x", "options": ["a", "b"]}',
        '{"text": 5, "options": ["a", "b"]}',
        '{"text": "x", "options": "ab"}',
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line)
    with pytest.raises(ValueError, match="line 2: not an example"):
        read_jsonl(path)


def test_how_well_scores_tell_that_no_label_fits() -> None:
    options = ["a", "b"]
    labels: list = [0, [0, 1], [0, 0], [0.0, 0.0], -100]
    examples = [{"options": options, "label": label} for label in labels]
    scores = [[0.9, 0.1], [0.2, 0.4], [0.5, 0.3], [0.1, 0.1], [1.0, 1.0]]
    # Of the four pairs of a text with a label and one without, the scores order three rightly.
    assert none_fits_auroc(examples, scores) == 0.75
    with pytest.raises(ValueError, match="texts that none fits"):
        none_fits_auroc(examples[:2], scores[:2])
    with pytest.raises(ValueError, match="one number per option"):
        none_fits_auroc(examples, scores[:2])
