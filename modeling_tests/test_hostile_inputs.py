"""A few hostile inputs for every surface; `python modeling_tests/nightly.py` runs more than 100,000."""

import pytest
from hostile_programs import SURFACES
from hypothesis import HealthCheck, given, settings


@pytest.mark.parametrize("name", SURFACES)
def test_an_answer_or_an_error_that_names_the_argument(name: str) -> None:
    surface = SURFACES[name]
    if name == "server":
        pytest.importorskip("starlette")
    settings(suppress_health_check=list(HealthCheck))(given(surface.cases)(surface.check))()
