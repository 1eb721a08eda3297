"""The workflow of the public repository runs what `.ci/run` runs, on what `pyproject.toml` promises."""

import re

import yaml
from places import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
PYROOT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def commands(job: str) -> list[str]:
    return [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def test_the_matrix_is_what_the_project_promises() -> None:
    matrix = WORKFLOW["jobs"]["tests"]["strategy"]["matrix"]
    oldest = re.search(r'"transformers>=([\d.]+),<\d+"', PYROOT)[1]
    assert matrix["transformers"] == [f"=={oldest}", ""]
    assert matrix["python"][0] == re.search(r'requires-python = ">=([\d.]+)"', PYROOT)[1]
    assert "transformers${{ matrix.transformers }}" in commands("tests")[1]


def test_its_checks_are_those_of_ci_run() -> None:
    local = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    style = [command for command in commands("style") if not command.startswith("pip ")]
    assert style and set(style) <= set(local)
    conformance = "python modeling_tests/conformance/run.py"
    assert commands("conformance")[-1] == f"{conformance} --transformers oldest newest -q"
    # The gate takes the locked version, not today's newest, so that a release of transformers does not close it.
    local_runs = [line.removeprefix(conformance).split(" --cache")[0] for line in local if line.startswith(conformance)]
    assert local_runs == [" --transformers oldest", ""]
    assert commands("bare-machine") == [".ci/run"]


def test_the_nightly_job_draws_more_cases() -> None:
    steps = [step for step in WORKFLOW["jobs"]["nightly"]["steps"] if "pytest" in step.get("run", "")]
    assert [step["env"] for step in steps] == [{"HYPOTHESIS_PROFILE": "nightly"}]
    assert "schedule" in WORKFLOW["jobs"]["nightly"]["if"] and WORKFLOW[True]["schedule"]  # YAML 1.1 reads `on` as true
