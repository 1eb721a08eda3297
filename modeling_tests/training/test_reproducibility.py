"""The same seed gives the same weights, bit by bit; the first steps of the default recipes go as they did."""

import copy
import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loss_trajectory import CUT, MODELS, RECIPES, TRAJECTORIES, differences, digest, trajectory
from places import EXAMPLES, SHARED
from safetensors.torch import load_file
from tiny_models import TEXT_CONFIGS, WORDS, needs_shared, tiny_tokenizer
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from unimc_hf.training.recipes import read_recipe


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with training sources, a backbone, and a recipe like the English one that fits them."""
    folder = tmp_path_factory.mktemp("world")
    rng = random.Random(0)
    for source, task, size in (("news", "topic", 6), ("requests", "intent", 9), ("quiz", "mcqa", 4)):
        with gzip.open(folder / f"{source}.jsonl.gz", "wt", encoding="utf-8") as file:
            for _ in range(100):
                row = {"passage": " ".join(rng.choices(WORDS, k=rng.randint(3, 20))), "question": "what is it about"}
                row |= {"options": rng.sample(WORDS[:60], k=size), "label": rng.randrange(size), "task": task}
                file.write(json.dumps(row) + "\n")
    torch.manual_seed(0)
    config = copy.deepcopy(TEXT_CONFIGS["bert"])
    config.max_position_embeddings = 512
    BertForMaskedLM(config).save_pretrained(folder / "backbone")
    plain = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(tiny_tokenizer().backend_tokenizer),
        **tiny_tokenizer().special_tokens_map,
        model_max_length=512,
    )
    plain.save_pretrained(folder / "backbone")
    recipe = read_recipe(MODELS / "english" / "train_english.json")
    recipe |= {"sources": {"news": 80, "requests": 80, "quiz": 80}, "repeats": {"quiz": 2}, "opinions": 40}
    recipe |= {"development": ["news"], "development_menus": {}, "development_rows": 5, "tokens_per_batch": 256}
    recipe["similarity"] |= {"examples": 30, "phrases": 60, "max_choices": 12, "label_smoothing": 0.1}
    recipe["training_arguments"] |= {"max_steps": 6, "warmup_steps": 1, "learning_rate": 1e-3, "logging_steps": 1}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def test_the_same_seed_gives_the_same_weights(tiny_world: Path) -> None:
    outputs = []
    for hash_seed in ("1", "2"):  # of Python's sets and dicts, which differs from run to run
        output = tiny_world / f"run {hash_seed}"
        command = [
            sys.executable,
            str(EXAMPLES / "pretrain" / "train_multiple_choice.py"),
            str(tiny_world / "recipe.json"),
        ]
        command += ["--data", str(tiny_world), "--backbone", str(tiny_world / "backbone"), "--output", str(output)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        outputs.append(output)
    losses = [json.loads((output / "training.json").read_text())["loss"] for output in outputs]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    files = [(output / "model" / "model.safetensors").read_bytes() for output in outputs]
    assert files[0] == files[1]
    folders = (outputs[0] / "model", tiny_world / "backbone")
    after, before = (
        load_file(folder / "model.safetensors")["bert.encoder.layer.0.output.dense.weight"] for folder in folders
    )
    assert (after.float() - before).abs().max() > 1e-3  # it did learn


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads(TRAJECTORIES.read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_the_trajectory_is_that_of_the_committed_recipe(name: str, committed: dict) -> None:
    message = f"{name} has changed: run `examples/pretrain/loss_trajectory.py --write`, and look at the difference"
    assert committed["trajectories"][name]["recipe_sha256"] == digest(read_recipe(MODELS / name)), message
    assert committed["cut"] == CUT and len(committed["trajectories"][name]["loss"]) == CUT["steps"]


@needs_shared
@pytest.mark.parametrize("name", RECIPES)
def test_the_first_steps_go_as_they_did(name: str, committed: dict) -> None:
    assert differences(trajectory(name, SHARED), committed["trajectories"][name]) == []


def test_a_difference_is_seen() -> None:
    committed = {"examples_seen": 9, "loss": [1.5, 1.4, 1.3]}
    assert differences(copy.deepcopy(committed), committed) == []
    assert differences({"examples_seen": 9, "loss": [1.505, 1.4, 1.3]}, committed) == []
    assert differences({"examples_seen": 9, "loss": [1.5, 1.4, 1.2]}, committed) == ["step 3: loss 1.2, not 1.3"]
    assert differences({"examples_seen": 9, "loss": [1.5, float("nan"), 1.3]}, committed) == [
        "step 2: loss nan, not 1.4"
    ]
    assert len(differences({"examples_seen": 8, "loss": [1.5, 1.4, 1.3]}, committed)) == 1
