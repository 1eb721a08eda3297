# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
The first steps of a recipe of each language on a cut-down mixture: what each step's loss was, to compare with later.

    python examples/pretrain/loss_trajectory.py            # train again and compare with the committed ones
    python examples/pretrain/loss_trajectory.py --write    # after a recipe or its code was changed on purpose

The committed ones are `examples/models/loss_trajectories.json`.

A trajectory is a run of `train_multiple_choice.py` with the recipe's own seed, data, backbone and learning rate of each
step, in which sizes are smaller (`CUT`), so that it takes half a minute. On one machine it is the same run every time.
Other processors round otherwise, for which `TOLERANCE` leaves room. With weights in bfloat16 they would differ by more
than a changed recipe does, so they are float32, and no menus are chosen by a teacher, which runs in bfloat16.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from unimc_hf.training.recipes import read_recipe

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "models"
TRAJECTORIES = MODELS / "loss_trajectories.json"
SHARED = HERE.parents[2] / "shared"
# Where under `--shared` the data and the backbone of a recipe are.
RECIPES = {
    "english/train_english.json": (["data/english/train"], "backbones/all-MiniLM-L6-v2"),
    "chinese/train_chinese.json": (
        ["data/chinese/train", "data/english/train"],
        "backbones/multilingual-e5-small-zh-en",
    ),
}
CUT = {
    "steps": 20,
    "dtype": "float32",
    "tokens_per_batch": 512,
    "rows_per_source": 200,
    "opinions": 300,
    "similarity_examples": 0,
    "others_of_without_texts_of": 1,
}
# Of the loss of a step. Another instruction set (AVX2 instead of AVX512) changes it by less than 0.001, a learning rate
# of 1.2 times the recipe's by up to 0.06.
TOLERANCE = 0.01


def digest(recipe: dict[str, Any]) -> str:
    """Of all that a recipe says, however its file is laid out."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def miniature(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with what `CUT` says, and no evaluation or checkpoints."""
    return {
        **recipe,
        "dtype": CUT["dtype"],
        "tokens_per_batch": CUT["tokens_per_batch"],
        "sources": {source: min(cap, CUT["rows_per_source"]) for source, cap in recipe["sources"].items()},
        "opinions": min(recipe["opinions"], CUT["opinions"]),
        "similarity": {**recipe["similarity"], "examples": CUT["similarity_examples"], "label_smoothing": 0.0},
        "without_texts_of": {
            source: others[: CUT["others_of_without_texts_of"]]
            for source, others in recipe.get("without_texts_of", {}).items()
        },
        "development": [],
        "development_menus": {},
        "training_arguments": {
            **recipe["training_arguments"],
            "max_steps": CUT["steps"],  # fewer than those in which the learning rate grows: the first of the recipe
            "logging_steps": 1,
            "eval_strategy": "no",
            "save_strategy": "no",
        },
    }


def trajectory(name: str, shared: Path) -> dict[str, Any]:
    """Train the miniature of a recipe of `RECIPES` in a process of its own: the loss of every step."""
    recipe, (data, backbone) = read_recipe(MODELS / name), RECIPES[name]
    with tempfile.TemporaryDirectory() as work:
        config = Path(work, "recipe.json")
        config.write_text(json.dumps(miniature(recipe)))
        command = [sys.executable, str(HERE / "train_multiple_choice.py"), str(config), "--output", work]
        command += ["--backbone", str(shared / backbone), "--data", *(str(shared / folder) for folder in data)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-3000:]}")
        training = json.loads(Path(work, "training.json").read_text())
    return {
        "recipe_sha256": digest(recipe),
        "examples_seen": training["examples_seen"],
        "loss": [loss for _, loss in training["loss"]],
    }


def differences(now: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """What has changed beyond `TOLERANCE`, in words."""
    if now["examples_seen"] != committed["examples_seen"] or len(now["loss"]) != len(committed["loss"]):
        return [
            f"{now['examples_seen']} examples in {len(now['loss'])} steps, not {committed['examples_seen']} in "
            f"{len(committed['loss'])}"
        ]
    steps = enumerate(zip(now["loss"], committed["loss"]), start=1)
    return [f"step {i}: loss {a}, not {b}" for i, (a, b) in steps if not abs(a - b) <= TOLERANCE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the committed trajectories")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data and the backbones")
    arguments = parser.parse_args()
    committed = json.loads(TRAJECTORIES.read_text()) if TRAJECTORIES.exists() else {"trajectories": {}}
    changed = False
    for name in arguments.recipes:
        now = trajectory(name, arguments.shared)
        if arguments.write:
            committed["trajectories"][name] = now
            TRAJECTORIES.write_text(
                json.dumps({"cut": CUT, "trajectories": committed["trajectories"]}, indent=1) + "\n"
            )
        found = differences(now, committed["trajectories"][name])
        print(f"{name}: {'; '.join(found) or 'as committed'}")
        changed = changed or bool(found)
    sys.exit(1 if changed else 0)


if __name__ == "__main__":
    main()
