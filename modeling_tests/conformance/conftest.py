"""Applies `not_applicable.py`: what it lists is skipped with its reason, any other skip is a failure."""

from __future__ import annotations

from collections.abc import Generator
from fnmatch import fnmatchcase

import pytest
from not_applicable import NEEDS, NOT_APPLICABLE


def _name(item: pytest.Item) -> str:
    return f"{item.parent.name}::{item.name}"


def pytest_configure(config: pytest.Config) -> None:
    # `filterwarnings` of pyproject.toml does not know the marks that transformers registers in its own conftest.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnknownMarkWarning")
    config.addinivalue_line("filterwarnings", "ignore:.*max_length. is ignored when.*:UserWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for pattern, reason in NOT_APPLICABLE.items():
            if fnmatchcase(_name(item), pattern):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator:
    report = yield
    listed = any(fnmatchcase(_name(item), pattern) for pattern in [*NOT_APPLICABLE, *NEEDS])
    if report.skipped and not hasattr(report, "wasxfail") and not listed and "conformance" in str(item.path):
        report.outcome = "failed"
        report.longrepr = f"{_name(item)} skipped itself but is not in not_applicable.py: {report.longrepr}"
    return report
