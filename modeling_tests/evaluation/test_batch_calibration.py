"""Batch calibration: a label that attracts every text loses that, and nothing else changes."""

import pytest

from unimc_hf.evaluation.batch_calibration import batch_calibrate, without_label_means


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
    for before, after in zip(results, calibrated):
        assert after["sequence"] == before["sequence"]
        assert sum(after["scores"]) == pytest.approx(1) and after["scores"] == sorted(after["scores"], reverse=True)
    assert results[0]["labels"][0] == "politics"  # what was passed is left as it was


def test_scores_without_a_preference_stay() -> None:
    scores = [[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]
    assert without_label_means(scores) == [pytest.approx(row) for row in scores]
    # What is multiplied to a label's share in every text does not matter, and no score is too small.
    tilted = [[row[0] * 5, row[1], row[2]] for row in scores]
    assert without_label_means(tilted) == [pytest.approx(row) for row in scores]
    assert without_label_means([[1.0, 0.0], [1.0, 0.0]]) == [[0.5, 0.5], [0.5, 0.5]]


def test_it_says_what_it_cannot_calibrate() -> None:
    assert batch_calibrate([]) == []
    with pytest.raises(ValueError, match="number 1 has others than the first"):
        batch_calibrate([answer("a", x=0.5, y=0.5), answer("b", x=0.5, z=0.5)])
    with pytest.raises(ValueError, match="number 0 has 1.300: leave `multi_label`"):
        batch_calibrate([answer("a", x=0.9, y=0.4)])
