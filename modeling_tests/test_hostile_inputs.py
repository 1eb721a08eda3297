"""A few hostile inputs for every surface; `python modeling_tests/nightly.py` runs more than 100,000."""

from collections import Counter
from typing import Any

import pytest
from hostile_inputs import ANSWERED
from hostile_programs import SURFACES
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", SURFACES)
def test_an_answer_or_an_error_that_names_the_argument(name: str) -> None:
    if name == "server":
        pytest.importorskip("starlette")
    outcomes: Counter[str] = Counter()

    @settings(derandomize=True, suppress_health_check=list(HealthCheck))
    @given(SURFACES[name].cases)
    def check(case: Any) -> None:
        outcomes[SURFACES[name].check(case)] += 1

    check()
    assert any(outcome.startswith(ANSWERED) for outcome in outcomes), outcomes
