"""Calibration: recovered where it is known, applied by the pipeline, stored with the model, and switched off."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model, tiny_tokenizer
from transformers import pipeline

from unimc_hf import UniMCConfig, UniMCZeroShotPipeline
from unimc_hf.evaluation.calibration import Calibration, ScoredExample, calibrate, fit_calibration, score_data_sets

LABELS = ["red", "blue", "dog"]
EXAMPLE = {"text": "sky", "options": LABELS}


@pytest.fixture
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(copy.deepcopy(tiny_model("bert")), tiny_tokenizer())


def choices(temperature: float, rows: int = 4000) -> list[ScoredExample]:
    """Examples whose labels are drawn from what the model would say at a temperature."""
    rng = np.random.default_rng(0)
    examples = []
    for logits in rng.normal(0, 3, (rows, len(LABELS))):
        log_shares = logits - np.logaddexp.reduce(logits)
        label = rng.choice(len(LABELS), p=Calibration(temperature).softmax(log_shares))
        examples.append(ScoredExample(log_shares, margins=logits, label=int(label)))
    return examples


def single_options(scale: float, bias: float, rows: int = 4000) -> list[ScoredExample]:
    """Examples of one option that is right as often as its calibrated score says."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 3, (rows, 1))
    is_right = rng.random(rows) < Calibration(1.0, scale, bias).sigmoid(margins)[:, 0]
    return [ScoredExample(np.zeros(1), margin, 0 if right else -1) for margin, right in zip(margins, is_right)]


@pytest.mark.parametrize("temperature", [0.5, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    found = fit_calibration({"one": choices(temperature)})
    assert found.softmax_temperature == pytest.approx(temperature, rel=0.05)


def test_a_known_scale_and_bias_are_found() -> None:
    found = fit_calibration({"one": single_options(0.5, -1.0)})
    assert (found.sigmoid_scale, found.sigmoid_bias) == pytest.approx((0.5, -1.0), rel=0.08)


def test_nothing_to_learn_from_raises() -> None:
    with pytest.raises(ValueError, match="`data_sets` holds no examples"):
        calibrate(None, {"empty": []})
    with pytest.raises(ValueError, match="right less often"):
        fit_calibration({"one": single_options(-0.5, 0.0)})


@pytest.mark.parametrize(
    ("margins", "labels"),
    [([3.0, -3.0], [0] * 501 + [1] * 500), ([5.001, 5.0], [0] * 9)],  # right as often as not; as good as equal
)
def test_a_fit_that_no_config_may_hold_raises(margins: list[float], labels: list[int]) -> None:
    examples = [ScoredExample(np.zeros(2), np.array(margins), label) for label in labels]
    with pytest.raises(ValueError, match=r"`data_sets`: .*`sigmoid_(scale|bias)`.* cannot answer"):
        fit_calibration({"one": examples})


def test_a_calibration_that_is_refused_leaves_the_config_as_it_was(classify: UniMCZeroShotPipeline) -> None:
    config = classify.model.config
    with pytest.raises(ValueError, match=r"`sigmoid_scale` must be a number from 0\.001 to 1000"):
        Calibration(softmax_temperature=2.0, sigmoid_scale=0.0003).write_to(config)
    assert (config.softmax_temperature, config.sigmoid_scale) == (1.0, 1.0)


def test_defaults_of_the_pipeline_do_not_count(classify: UniMCZeroShotPipeline) -> None:
    """Labels are looked at when the calibration is fitted, not when examples are scored."""
    for defaults in ({"multi_label": True}, {"top_k": 1, "threshold": 0.9}):
        pipe = UniMCZeroShotPipeline(classify.model, classify.tokenizer, **defaults)
        (row,), (expected,) = (score_data_sets(p, {"a": [EXAMPLE]})["a"] for p in (pipe, classify))
        assert row.log_shares.tolist() == expected.log_shares.tolist()
        assert row.margins.tolist() == expected.margins.tolist() and row.label is None


def test_every_data_set_weighs_the_same(classify: UniMCZeroShotPipeline) -> None:
    best = {text: LABELS.index(classify(text, LABELS)["labels"][0]) for text in ("sky", "the team won")}
    example, other = (
        {"text": text, "text_pair": "", "question": "", "options": LABELS, "label": label}
        for text, label in best.items()
    )
    few, many = {"a": [example], "b": [other]}, {"a": [example] * 9, "b": [other] * 2, "c": []}
    assert calibrate(classify, few) == calibrate(classify, many)
    row = score_data_sets(classify, few)["a"][0]
    as_trained = classify("sky", LABELS, calibrated=False)
    shares = dict(zip(LABELS, np.exp(row.log_shares)))
    assert [shares[label] for label in as_trained["labels"]] == pytest.approx(as_trained["scores"], abs=1e-6)


def test_the_pipeline_applies_it_and_can_leave_it_out(classify: UniMCZeroShotPipeline) -> None:
    plain = {multi: classify("the sky", LABELS, multi_label=multi) for multi in (False, True)}
    Calibration(softmax_temperature=2.0, sigmoid_scale=0.5, sigmoid_bias=-1.0).write_to(classify.model.config)
    for multi, before in plain.items():
        after = classify("the sky", LABELS, multi_label=multi)
        assert after["labels"] == before["labels"]
        assert classify("the sky", LABELS, multi_label=multi, calibrated=False) == before
        if multi:
            margins = [math.log(score / (1 - score)) for score in before["scores"]]
            expected = [1 / (1 + math.exp(-(0.5 * margin - 1))) for margin in margins]
        else:
            roots = [math.sqrt(score) for score in before["scores"]]
            expected = [root / sum(roots) for root in roots]
        assert after["scores"] == pytest.approx(expected, abs=1e-5)


def test_thresholds_and_none_of_these_work_on_the_calibrated_score(classify: UniMCZeroShotPipeline) -> None:
    best = classify("the sky", LABELS, multi_label=True)["scores"][0]
    classify.model.config.sigmoid_bias = -20.0
    assert classify("the sky", LABELS, multi_label=True, threshold=best)["labels"] == []
    assert classify("the sky", LABELS, multi_label=True, threshold=best, calibrated=False)["labels"] != []


def test_it_is_saved_with_the_model(classify: UniMCZeroShotPipeline, tmp_path: Path) -> None:
    Calibration(softmax_temperature=1.7, sigmoid_scale=0.8, sigmoid_bias=-0.3).write_to(classify.model.config)
    classify.save_pretrained(tmp_path)
    again = pipeline("unimc-zero-shot", model=str(tmp_path))
    assert again.model.config.softmax_temperature == 1.7
    assert again("the sky", LABELS) == classify("the sky", LABELS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("softmax_temperature", 0),
        ("softmax_temperature", float("nan")),
        ("softmax_temperature", "2"),
        ("sigmoid_scale", -1.0),
        ("sigmoid_scale", True),
        ("sigmoid_bias", float("inf")),
    ],
)
def test_a_calibration_that_means_nothing_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be a number from"):
        UniMCConfig(**{name: value})


def test_the_switch_takes_no_other_value(classify: UniMCZeroShotPipeline) -> None:
    with pytest.raises(TypeError, match="`calibrated` must be True or False"):
        classify("the sky", LABELS, calibrated="no")
