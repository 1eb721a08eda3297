"""The documented command builds the API reference, and it has every public name that the pages use."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from test_readme import FENCED, PAGES

import unimc_hf

pytest.importorskip("pdoc", reason="needs pdoc: pip install pdoc")

PAGE = (ROOT / "examples" / "docs" / "README.md").read_text(encoding="utf-8")


def test_it_is_built_and_complete(tmp_path: Path) -> None:
    command = re.search(r"<!-- command: api -->\n```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    assert command and "/tmp/unimc-api" in command[1]
    # The page's `python` is the one that runs the tests, activated or not.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    line = command[1].replace("/tmp/unimc-api", str(tmp_path))
    subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=ROOT, env=environment, check=True)

    html = (tmp_path / "unimc_hf.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'id="([\w.]+)"', html))
    assert {name for name in unimc_hf.__all__ if name != "__version__"} <= shown
    assert "UniMCZeroShotPipeline.__call__" in shown  # where the arguments are explained
    assert "drop labels that score lower" in html

    code = "\n".join(snippet for page in PAGES for snippet in FENCED.findall(page.read_text(encoding="utf-8")))
    modules = set(re.findall(r"from unimc_hf\.([\w.]+) import", code))
    pages = {name: tmp_path / "unimc_hf" / f"{name.replace('.', '/')}.html" for name in modules}
    assert pages and [name for name, page in pages.items() if not page.exists()] == []
