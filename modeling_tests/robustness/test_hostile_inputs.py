"""A few hostile inputs for every surface; `python modeling_tests/nightly.py` runs more than 100,000."""

from collections import Counter
from typing import Any

import pytest
from hostile_inputs import ANSWERED, check_pipeline, check_tokenizer
from hostile_programs import SURFACES
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", SURFACES)
def test_an_answer_or_an_error_that_names_the_argument(name: str) -> None:
    if name == "server":
        pytest.importorskip("starlette")
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=max(60, settings.default.max_examples), derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(SURFACES[name].cases)
    def check(case: Any) -> None:
        outcomes[SURFACES[name].check(case)] += 1

    check()
    assert any(outcome.startswith(ANSWERED) for outcome in outcomes), outcomes


@pytest.mark.parametrize("piece", ["a ", "\u0301", "[MASK]", "\ud800"])
def test_a_megabyte_of_text(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    outcome = check_pipeline((text, False, {"candidate_labels": ["red", "blue"]}))
    assert outcome == ("ValueError `inputs" if piece == "\ud800" else ANSWERED)


@pytest.mark.parametrize("size", [1, 10_000])
def test_one_label_and_ten_thousand(size: int) -> None:
    labels = [f"label {i}" for i in range(size)]
    assert check_pipeline(("sky", False, {"candidate_labels": labels, "multi_label": True})) == ANSWERED
    assert check_tokenizer({"text": ["sky"], "options": labels, "max_length": None}) == ANSWERED
    if size > 1:
        assert check_pipeline(("sky", False, {"candidate_labels": labels})) == ANSWERED
