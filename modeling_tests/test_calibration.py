"""Calibration: recovered where it is known, applied by the pipeline, stored with the model, and switched off."""

import copy
import math
import random
from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer
from transformers import pipeline

from unimc_hf import UniMCConfig, UniMCZeroShotPipeline
from unimc_hf.calibration_unimc import Calibration, calibrate

LABELS = ["red", "blue", "dog"]


@pytest.fixture
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(copy.deepcopy(tiny_model("bert")), tiny_tokenizer())


class Oracle:
    """A pipeline whose answers come from known logits, and whose labels are drawn so that a calibration is right."""

    def __init__(self, temperature: float, scale: float, bias: float, rows: int = 4000) -> None:
        rng = random.Random(0)
        self.yes = [[rng.gauss(0, 3) for _ in LABELS] for _ in range(rows)]
        self.margin = [[rng.gauss(0, 3) for _ in LABELS] for _ in range(rows)]
        self.single = [self.example(self.draw([y / temperature for y in row], rng)) for row in self.yes]
        self.alone = (scale, bias)

    @staticmethod
    def example(label: int) -> dict:
        return {"text": "sky", "text_pair": "", "question": "", "options": LABELS, "label": label}

    @staticmethod
    def draw(logits: list[float], rng: random.Random) -> int:
        return rng.choices(range(len(logits)), [math.exp(logit) for logit in logits])[0]

    def __call__(self, texts: list[str], calibrated: bool, multi_label: bool = False, **kwargs: object) -> list[dict]:
        assert calibrated is False
        if not multi_label:
            totals = [sum(math.exp(y) for y in row) for row in self.yes]
            return [self.result([math.exp(y) / t for y in row]) for row, t in zip(self.yes, totals)]
        # The right option's margin is made so that the wanted scale and bias explain it.
        scale, bias = self.alone
        rng = random.Random(1)
        rows = []
        for example in self.single:
            margins = []
            for option in range(len(LABELS)):
                while True:
                    margin = rng.gauss(0, 3)
                    right = rng.random() < 1 / (1 + math.exp(-(scale * margin + bias)))
                    if right == (option == example["label"]):
                        margins.append(1 / (1 + math.exp(-margin)))
                        break
            rows.append(self.result(margins))
        return rows

    @staticmethod
    def result(scores: list[float]) -> dict:
        return {"labels": LABELS, "scores": scores}


def test_a_known_temperature_is_found() -> None:
    for temperature in (0.5, 2.5):
        oracle = Oracle(temperature, 1.0, 0.0)
        assert calibrate(oracle, {"one": oracle.single}).softmax_temperature == pytest.approx(temperature, rel=0.08)


def test_a_known_scale_is_found() -> None:
    oracle = Oracle(1.0, 0.5, 0.0)
    assert calibrate(oracle, {"one": oracle.single}).sigmoid_scale == pytest.approx(0.5, rel=0.1)


def test_nothing_to_learn_from_raises() -> None:
    with pytest.raises(ValueError, match="`data_sets` holds no examples"):
        calibrate(None, {"empty": []})
    backwards = Oracle(1.0, -1.0, 0.0, rows=300)
    with pytest.raises(ValueError, match="right less often"):
        calibrate(backwards, {"one": backwards.single})


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
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number"):
        UniMCConfig(**{name: value})


def test_the_switch_takes_no_other_value(classify: UniMCZeroShotPipeline) -> None:
    with pytest.raises(TypeError, match="`calibrated` must be True or False"):
        classify("the sky", LABELS, calibrated="no")
