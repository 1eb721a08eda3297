# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Short training runs that differ from the recipe in one thing each, compared on tasks that none of them trains on.

    W=examples/written_tasks/english
    python examples/pretrain/ablate.py examples/models/english/ablations_english.json --data train \
        --written $W/train --develop $W/development --backbones backbones --work /tmp/ablations

The file names the recipe, the number of steps, and what each run changes. A run that has a result in the file is not
repeated, so a broken series goes on where it was; delete a result to have it again. The table is written beside it:
every run against the first, with an interval of the paired difference over the tasks. `--written` trains on written
tasks, too (on every second one in a run with `"written": 0.5`), and `--develop` compares on some.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "evaluate"))  # the paired interval is there

from evaluate_tasks import interval

from unimc_hf.training.recipes import read_recipe

TRAIN = Path(__file__).parent / "train_multiple_choice.py"


def changed(recipe: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of the recipe with dotted names (`"augmentation.yes_no"`) set to other values."""
    recipe = json.loads(json.dumps(recipe))
    for name, value in changes.items():
        *path, last = name.split(".")
        part = recipe
        for key in path:
            part = part[key]
        if last not in part:
            raise SystemExit(f"the recipe has no {name}")
        part[last] = value
    return recipe


def some_tasks(folders: list[Path], share: float, output: Path) -> list[Path]:
    """Folders with that share of the written tasks, evenly chosen: themselves, one in `output`, or none."""
    if share in (0, 1):
        return folders if share else []
    files = [file for folder in folders for file in sorted(folder.glob("*.jsonl"))]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines(keepends=True)]
    chosen = [line for i, line in enumerate(lines) if math.floor((i + 1) * share) > math.floor(i * share)]
    output.mkdir(parents=True, exist_ok=True)
    (output / "tasks.jsonl").write_text("".join(chosen), encoding="utf-8")
    return [output]


def run(name: str, spec: dict[str, Any], arguments: argparse.Namespace) -> tuple[dict[str, float], int]:
    """Train one variant; its macro-F1 on the development tasks after the last step, and the examples it saw."""
    variant = spec["runs"][name]
    steps = variant.get("steps", spec["steps"])
    recipe = changed(read_recipe(arguments.file.parent / spec["recipe"]), variant["changes"])
    recipe["training_arguments"] |= {"eval_steps": steps, "save_steps": steps, "warmup_steps": steps // 5}
    # The same mixture, less of it: a short run would only ever see a part, and making it takes its time.
    recipe["sources"] = {source: math.ceil(cap * spec["share"]) for source, cap in recipe["sources"].items()}
    recipe["opinions"] = math.ceil(recipe["opinions"] * spec["share"])
    for part in {"examples", "phrases"} & set(recipe["similarity"]):
        recipe["similarity"][part] = math.ceil(recipe["similarity"][part] * spec["share"])
    folder = arguments.work / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    backbone = arguments.backbones / variant.get("backbone", spec["backbone"])
    command = [sys.executable, str(TRAIN), str(folder / "recipe.json"), "--data", *map(str, arguments.data)]
    command += ["--backbone", str(backbone), "--teacher", str(arguments.backbones / spec["backbone"])]
    command += ["--output", str(folder), "--max_steps", str(steps)]
    written = some_tasks(arguments.written, variant.get("written", 1), folder / "written")
    for option, folders in (("--written", written), ("--develop", arguments.develop)):
        command += [option, *map(str, folders)] if folders else []
    with open(folder / "log", "w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    state = json.loads((folder / "checkpoints" / f"checkpoint-{steps}" / "trainer_state.json").read_text())
    figures = next(entry for entry in reversed(state["log_history"]) if "eval_mean_macro_f1" in entry)
    result = {
        key.removeprefix("eval_"): round(value, 4)
        for key, value in figures.items()
        if key.startswith("eval_") and not key.endswith(("runtime", "per_second", "loss"))
    }
    return result, json.loads((folder / "training.json").read_text())["examples_seen"]


def markdown(spec: dict[str, Any]) -> str:
    """Mean macro-F1 and accuracy of every run that has a result, and the paired difference from the first."""
    done = {name: variant for name, variant in spec["runs"].items() if "result" in variant}
    first = next(iter(done.values()))["result"]
    tasks = [name for name in first if not name.startswith("mean_")]
    lines = [
        f"# Ablations: {spec['steps']} steps from {spec['backbone']}, means over {spec['tasks']} held-out tasks",
        "",
        spec["note"],
        "",
        "| run | examples | macro-F1 | difference | 95 % interval | accuracy | what changes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, variant in done.items():
        result = variant["result"]
        difference = np.array([result[task] - first[task] for task in tasks])
        low, high = interval(difference)
        what = variant.get("why") or ", ".join(f"`{k}` = {json.dumps(v)}" for k, v in variant["changes"].items())
        lines.append(
            f"| {name} | {variant['examples']:,} | {result['mean_macro_f1']:.3f} | {difference.mean():+.3f} | "
            f"{low:+.3f} to {high:+.3f} | {result['mean_accuracy']:.3f} | {what} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON file of the runs; results are written into it")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of the JSONL training sources")
    parser.add_argument("--written", type=Path, nargs="+", default=[], help="folders of written tasks to train on")
    parser.add_argument("--develop", type=Path, nargs="+", default=[], help="folders of written tasks to compare on")
    parser.add_argument("--backbones", type=Path, required=True, help="folder of the backbones' folders")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and logs")
    parser.add_argument("--only", nargs="+", help="names of the runs to do, all that have no result if not given")
    arguments = parser.parse_args()
    for name in json.loads(arguments.file.read_text())["runs"]:
        spec = json.loads(arguments.file.read_text())
        if "result" in spec["runs"][name] or (arguments.only and name not in arguments.only):
            continue
        result, examples = run(name, spec, arguments)
        spec = json.loads(arguments.file.read_text())
        spec["runs"][name] |= {"examples": examples, "result": result}
        spec["tasks"] = len(result) - 2
        arguments.file.write_text(json.dumps(spec, indent=1) + "\n")
        arguments.file.with_suffix(".md").write_text(markdown(spec))
        print(name, result["mean_macro_f1"], flush=True)


if __name__ == "__main__":
    main()
