"""Where things are in a checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
HELPERS = ROOT / "modeling_tests" / "helpers"
SHARED = ROOT.parent / "shared"  # data and goldens
# The folders of the scripts that tests import.
SCRIPTS = [EXAMPLES / name for name in ("fine_tune", "evaluate", "deploy", "pretrain", "models", "benchmark", "docs")]
# For the `PYTHONPATH` of a process that runs what a test has written.
IMPORTABLE = os.pathsep.join(map(str, (ROOT, HELPERS, *SCRIPTS)))
