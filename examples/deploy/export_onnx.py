# /// script
# dependencies = ["unimc_hf[onnx]"]
# ///
"""
Export a UniMC model to ONNX, with any number of texts, tokens and options, and check that it answers the same.

    pip install ".[onnx]"
    python examples/deploy/export_onnx.py /tmp/unimc-onnx
    python examples/deploy/export_onnx.py /tmp/unimc-onnx --int8

Without `--model` it is the model inside the package. `unimc_hf.deployment.onnx_model.onnx_pipeline` reads the folder.
`--int8` also writes `model.int8.onnx`, whose matrices are 8-bit integers; how much of the answers changes is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import pipeline

import unimc_hf
from unimc_hf import UniMCForMultipleChoice, UniMCTokenizer
from unimc_hf.deployment.onnx_model import INPUT_NAMES, onnx_pipeline
from unimc_hf.pipeline_unimc import scores_in_order

TEXTS = ["Stocks fell sharply.", "The home team won in extra time.", "It will rain all week. " * 30]
LABELS = [["sports", "business"], ["weather forecast", "business", "sports news", "music"]]


class OnlyScores(torch.nn.Module):
    """The forward pass with its inputs in an order, and one output."""

    def __init__(self, model: UniMCForMultipleChoice) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(INPUT_NAMES, inputs))).yes_no_logits


def export(model: UniMCForMultipleChoice, tokenizer: UniMCTokenizer, folder: Path) -> None:
    """Write `model.onnx`, `config.json` and the tokenizer's files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    # Sizes that differ from each other and from 1, so that none is taken for a constant.
    batch = tokenizer(TEXTS, options=LABELS[1], padding=True, return_tensors="pt")
    size, length = torch.export.Dim.DYNAMIC, torch.export.Dim.DYNAMIC
    shapes = {name: {0: size, 1: length} for name in INPUT_NAMES}
    torch.onnx.export(
        OnlyScores(model.float()).eval(),
        tuple(batch[name] for name in INPUT_NAMES),
        folder / "model.onnx",
        input_names=list(INPUT_NAMES),
        output_names=["yes_no_logits"],
        dynamic_shapes=(tuple(shapes.values()),),
        dynamo=True,
        external_data=False,
    )
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def quantize(folder: Path) -> None:
    """Write `model.int8.onnx`: weights as 8-bit integers, activations quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "model.onnx", folder / "model.int8.onnx", weight_type=QuantType.QInt8)


def largest_difference(model: str, folder: Path, file_name: str) -> float:
    """Of any score between PyTorch and the exported file, for texts and menus of several lengths."""
    ours, exported = pipeline("unimc-zero-shot", model=model), onnx_pipeline(folder, file_name)
    largest = 0.0
    for labels in LABELS:
        for expected, got in zip(ours(TEXTS, labels), exported(TEXTS, labels)):
            pairs = zip(scores_in_order(expected, labels), scores_in_order(got, labels))
            largest = max(largest, *(abs(a - b) for a, b in pairs))
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--model", default=unimc_hf.DEFAULT_MODEL, help="folder or Hub name of a UniMC model")
    parser.add_argument("--int8", action="store_true", help="also write the quantised file")
    arguments = parser.parse_args()
    model = UniMCForMultipleChoice.from_pretrained(arguments.model)
    export(model, UniMCTokenizer.from_pretrained(arguments.model), arguments.folder)
    files = ["model.onnx"]
    if arguments.int8:
        quantize(arguments.folder)
        files.append("model.int8.onnx")
    for file_name in files:
        print(f"{file_name}: scores differ by {largest_difference(arguments.model, arguments.folder, file_name):.1e}")


if __name__ == "__main__":
    main()
