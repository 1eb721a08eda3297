"""Batch calibration: a label that attracts every text loses that, and nothing else changes."""

import numpy as np
import pytest

from unimc_hf.evaluation.batch_calibration import batch_calibrate, batch_calibrated_probs


def answer(text: str, **scores: float) -> dict:
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return {"sequence": text, "labels": [label for label, _ in ranked], "scores": [score for _, score in ranked]}


def test_a_label_that_attracts_every_text_loses_that() -> None:
    results = [
        answer("the goal", politics=0.6, sport=0.35, music=0.05),
        answer("the song", politics=0.6, sport=0.05, music=0.35),
        answer("the vote", politics=0.9, sport=0.05, music=0.05),
    ]
    assert {result["labels"][0] for result in results} == {"politics"}
    calibrated = batch_calibrate(results)
    assert [result["labels"][0] for result in calibrated] == ["sport", "music", "politics"]
    # By hand: .6 / .7, .35 / .15 and .05 / .15, over their sum.
    assert calibrated[0]["scores"] == pytest.approx([0.6622, 0.2432, 0.0946], abs=1e-4)
    for before, after in zip(results, calibrated):
        assert after["sequence"] == before["sequence"] and sum(after["scores"]) == pytest.approx(1)
    assert results[0]["labels"][0] == "politics"  # what was passed is left as it was


def test_sure_answers_do_not_move_the_others() -> None:
    """The mean is of probabilities: of logarithms, one very sure text would turn its like."""
    sure = [0.999998, 0.95, 0.95, 0.4, 0.4, 0.4]
    probs = batch_calibrated_probs([[p, 1 - p] for p in sure])
    assert probs.argmax(1).tolist() == [0, 0, 0, 1, 1, 1]


def test_repeated_it_makes_labels_equally_probable() -> None:
    probs = np.random.default_rng(0).dirichlet([4.0, 1.0, 0.5], size=200)
    once, often = batch_calibrated_probs(probs), batch_calibrated_probs(probs, num_iterations=50)
    assert np.allclose(often.sum(1), 1) and np.allclose(often.mean(0), 1 / 3, atol=1e-6)
    assert np.abs(probs.mean(0) - 1 / 3).max() > np.abs(once.mean(0) - 1 / 3).max() > 0.01
    assert np.allclose(batch_calibrated_probs(probs * [2, 1, 1] / (1 + probs[:, :1]), 50), often, atol=1e-6)
    assert batch_calibrated_probs([[1.0, 0.0], [1.0, 0.0]]).tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        (answer("a", x=0.5, y=0.5), TypeError, "must be a list of dicts, one for each text, got dict"),
        (iter([answer("a", x=0.5, y=0.5)]), TypeError, "must be a list of dicts"),
        ([answer("a", x=0.5, y=0.5)], ValueError, "at least as many as their 2 labels, got 1"),
        ([answer("a", x=0.5, y=0.5), answer("b", x=0.5, z=0.5)], ValueError, "number 1 has others than the first"),
        ([answer("a", x=0.9, y=0.4)] * 2, ValueError, "number 0 has 1.300: leave `multi_label`"),
        ([answer("a", x=0.9)], ValueError, "two labels or more"),
        ([{**answer("a", x=0.5, y=0.5), "groups": ["g"]}] * 2, ValueError, "must not have groups"),
    ],
)
def test_it_says_what_it_cannot_calibrate(results: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batch_calibrate(results)
    assert batch_calibrate([]) == []
