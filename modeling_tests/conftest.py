"""Offline for every test, and quiet; what is in `helpers/` and the scripts of `examples/` can be imported."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from places import SCRIPTS

sys.path += map(str, SCRIPTS)  # last: an installed package of the same name wins

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from saved_folders import folder, saved  # noqa: F401  (fixtures; transformers reads the lines above first)

settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("default", max_examples=25, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
