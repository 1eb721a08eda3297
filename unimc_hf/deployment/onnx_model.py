"""An exported UniMC model on onnxruntime, behind the same pipeline. Needs the extra `onnx`.

`examples/deploy/export_onnx.py` writes the files. Nothing here runs PyTorch's network: tokenizer, batches, calibration
and answers are the pipeline's own, and only the forward pass is another.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..configuration_unimc import UniMCConfig
from ..modeling_unimc import UniMCOutput
from ..pipeline_unimc import UniMCZeroShotPipeline
from ..tokenization_unimc import UniMCTokenizer

INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids", "option_ids", "option_positions")


class OnnxUniMC(torch.nn.Module):
    """
    Stands where the pipeline expects a model: same inputs, `yes_no_logits` as output.

    Args:
        folder: with `config.json` and the exported file.
        file_name: of the exported file.
        providers: execution providers of onnxruntime, the CPU's if not given.
        session_options: an `onnxruntime.SessionOptions`.

    Raises:
        FileNotFoundError: if the folder has no such file.
    """

    input_modalities = "text"

    def __init__(
        self,
        folder: str | os.PathLike,
        file_name: str = "model.onnx",
        providers: list[str] | None = None,
        session_options: Any = None,
    ) -> None:
        import onnxruntime

        super().__init__()
        path = Path(folder) / file_name
        if not path.is_file():
            raise FileNotFoundError(
                f"`folder` {str(folder)!r} has no {file_name}; examples/deploy/export_onnx.py writes it."
            )
        self.config = UniMCConfig.from_pretrained(folder)
        self.name_or_path = str(folder)
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.session = onnxruntime.InferenceSession(
            path, sess_options=session_options, providers=providers or ["CPUExecutionProvider"]
        )

    def can_generate(self) -> bool:
        """No; the pipeline's `repr` asks."""
        return False

    def forward(self, **inputs: torch.Tensor) -> UniMCOutput:
        """`yes_no_logits`, float32 of shape `(batch_size, num_choices, 2)`; inputs as those of the model."""
        feed = {name: inputs[name].numpy() for name in INPUT_NAMES}
        return UniMCOutput(yes_no_logits=torch.from_numpy(self.session.run(["yes_no_logits"], feed)[0]))


def onnx_pipeline(folder: str | os.PathLike, file_name: str = "model.onnx", **kwargs: Any) -> UniMCZeroShotPipeline:
    """The pipeline of an exported folder; `kwargs` are those of [`OnnxUniMC`] and defaults for the calls."""
    session = {name: kwargs.pop(name) for name in ("providers", "session_options") if name in kwargs}
    model: Any = OnnxUniMC(folder, file_name, **session)
    return UniMCZeroShotPipeline(model, UniMCTokenizer.from_pretrained(folder), device="cpu", **kwargs)


__all__ = ["OnnxUniMC", "onnx_pipeline"]
