"""
Hostile inputs in numbers that are too many for every test run: more than 100,000 cases in about 20 minutes.

    python modeling_tests/nightly.py                     # all surfaces
    python modeling_tests/nightly.py --surfaces pipeline server --scale 0.1 --seed 7

Prints for every surface how many cases there were, how they ended, and the slowest. A case that breaks a promise is
printed, shrunk, with how to run it again, and the exit code is 1; one that hangs ends the run with its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import conftest  # noqa: F401  offline and quiet, before transformers is imported
from hostile_inputs import Surface
from hostile_programs import SURFACES
from hypothesis import given, seed, settings

# Cases of each surface, by what a case costs and how much user text goes through there.
CASES = {
    "pipeline": 30_000,
    "tokenizer": 20_000,
    "collator": 15_000,
    "decision": 12_000,
    "handler": 8_000,
    "server": 8_000,
    "command line": 4_000,
    "files": 6_000,
    "model": 8_000,
    "config": 4_000,
}
LONGEST = 120  # seconds until a case counts as one that hangs


def run(surface: Surface, amount: int, first: int) -> tuple[Counter, float, str]:
    """How the cases ended, the seconds of the slowest, and the traceback of one that failed."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0

    def check(case: Any) -> None:
        nonlocal slowest
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        start = time.perf_counter()
        outcome = "failed"
        try:
            outcome = surface.check(case)
        finally:
            slowest = max(slowest, time.perf_counter() - start)
            outcomes[outcome] += 1
            faulthandler.cancel_dump_traceback_later()

    profile = settings(settings.get_profile("nightly"), max_examples=amount, database=None, print_blob=True)
    try:
        seed(first)(profile(given(surface.cases)(check)))()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return outcomes, slowest, traceback.format_exc()
    return outcomes, slowest, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", nargs="+", choices=list(SURFACES), default=list(SURFACES))
    parser.add_argument("--scale", type=float, default=1.0, help="factor of the number of cases")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the cases; the time if not given")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    failures, total, start = [], 0, time.perf_counter()
    for name in options.surfaces:
        begin = time.perf_counter()
        outcomes, slowest, failure = run(SURFACES[name], max(1, round(CASES[name] * options.scale)), options.seed)
        total += outcomes.total()
        seconds = time.perf_counter() - begin
        print(f"{name}: {outcomes.total()} cases in {seconds:.0f} s, the slowest {slowest:.1f} s", flush=True)
        for outcome, count in outcomes.most_common():
            print(f"    {count:>7} {outcome}")
        if failure:
            failures.append(name)
            print(failure, flush=True)
    print(f"{total} cases in {time.perf_counter() - start:.0f} s; {len(failures)} surfaces failed: {failures}")
    return int(bool(failures))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
