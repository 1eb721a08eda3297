"""A contender of `contenders.py` in a process of its own, so that none is in the way of another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What `unimc_hf.training.freed_memory.keep_freed_memory` sets from within, for a program that knows nothing of it.
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}


class Process:
    """A running contender; `environment` is added to that of this process."""

    def __init__(self, name: str, size: str, device: str = "cpu", environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, str(Path(__file__).with_name("contenders.py")), name, size, device]
        self.pipe = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self.matrix_parameters = self._read(name)["matrix_parameters"]

    def _read(self, what: str) -> dict[str, Any]:
        assert self.pipe.stdout is not None
        for line in self.pipe.stdout:
            if line.startswith("{"):  # a library may print to standard output as well
                return json.loads(line)
        raise SystemExit(f"{what} ended without an answer; run contenders.py by hand to see why")

    def __call__(self, texts: list[str], labels: list[str]) -> dict[str, Any]:
        assert self.pipe.stdin is not None
        self.pipe.stdin.write(json.dumps({"texts": texts, "labels": labels}) + "\n")
        self.pipe.stdin.flush()
        return self._read(f"a call with {len(labels)} labels")

    def stop(self) -> None:
        assert self.pipe.stdin is not None
        self.pipe.stdin.close()
        self.pipe.wait()
