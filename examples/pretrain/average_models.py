# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
The mean of the weights of several trainings from the same backbone, as a model.

    python examples/pretrain/average_models.py /tmp/unimc/checkpoints/checkpoint-* --output /tmp/unimc/average

Checkpoints of one training or of several: while word embeddings stay and rates are small they end in one basin, where
the mean is often better than each (Wortsman et al. 2022, "Model soups", arXiv 2203.05482). Judge it on development
tasks (`evaluate_tasks.py examples/written_tasks/english/development --model FOLDER`). `--backbone` with `--share 0.08`
moves the encoder that far back towards the one that training started from, which keeps some of what that one knew about
meaning (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903). Memory for two models,
whatever their number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from train_multiple_choice import save
from transformers import AutoModel

from unimc_hf import UniMCForMultipleChoice, UniMCTokenizer


@torch.no_grad()
def average(folders: list[Path]) -> UniMCForMultipleChoice:
    """The first model with the mean of all weights, in float32.

    Raises:
        ValueError: if the models differ in the names or shapes of their weights.
    """
    mean = UniMCForMultipleChoice.from_pretrained(folders[0], dtype=torch.float32)
    weights = dict(mean.named_parameters())
    for count, folder in enumerate(folders[1:], start=2):
        others = dict(UniMCForMultipleChoice.from_pretrained(folder, dtype=torch.float32).named_parameters())
        if {name: weight.shape for name, weight in others.items()} != {n: w.shape for n, w in weights.items()}:
            raise ValueError(f"{folder} has other weights than {folders[0]}.")
        for name, weight in weights.items():
            weight.lerp_(others[name], 1 / count)
    return mean


@torch.no_grad()
def move_towards(model: UniMCForMultipleChoice, backbone: str, share: float) -> None:
    """Interpolate the weights of the encoder with those of the untrained one, a folder or Hub name."""
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be between 0 and 1, got {share}.")
    untrained = dict(AutoModel.from_pretrained(backbone, dtype=torch.float32).named_parameters())
    for name, weight in model.get_backbone().named_parameters():
        weight.lerp_(untrained[name], share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="folders; one that is named twice weighs twice")
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--backbone", help="folder or Hub name of the untrained encoder to move towards")
    parser.add_argument("--share", type=float, default=0.0, help="how far, from 0 to 1")
    arguments = parser.parse_args()
    model = average(arguments.models)
    if arguments.backbone:
        move_towards(model, arguments.backbone, arguments.share)
    save(model, UniMCTokenizer.from_pretrained(arguments.models[0]), arguments.output)


if __name__ == "__main__":
    main()
