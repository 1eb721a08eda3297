"""Checks of a configuration, of whose file nothing is known, before anything is allocated for it.

Importing the package puts them into `UniMCConfig`. The code that travels with a saved model does without: it trusts the
folder that it came with.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedConfig

from ..configuration_unimc import ORDER_INVARIANT_MODEL_TYPES, UniMCConfig

# Encoders that measure distance by the index in the sequence: supported because published checkpoints use them.
ORDER_SENSITIVE_MODEL_TYPES = ("deberta-v2",)
# Scores stay numbers within these, whatever the logits.
CALIBRATION_RANGES = {"softmax_temperature": (1e-3, 1e3), "sigmoid_scale": (1e-3, 1e3), "sigmoid_bias": (-1e3, 1e3)}
# A config decides by these how many modules and positions are made before the first weight is read. Far above every
# published model.
LARGEST = {
    "hidden_size": 100_000,
    "inner_group_num": 1_000,
    "intermediate_size": 1_000_000,
    "max_position_embeddings": 10_000_000,
    "num_attention_heads": 10_000,
    "num_hidden_groups": 1_000,
    "num_hidden_layers": 1_000,
    "vocab_size": 10_000_000,
}


def check_backbone(text_config: PreTrainedConfig | dict[str, Any]) -> None:
    """Raise a `ValueError` unless this is a masked language model of a supported family, and of a size they have."""

    def get(name: str) -> Any:
        return text_config.get(name) if isinstance(text_config, dict) else getattr(text_config, name, None)

    for name, most in LARGEST.items():
        value = get(name)
        if isinstance(value, (int, float)) and not 1 <= value <= most:
            raise ValueError(f"`text_config.{name}` is {value}; it must be from 1 to {most}.")
    supported = ORDER_INVARIANT_MODEL_TYPES + ORDER_SENSITIVE_MODEL_TYPES
    if get("model_type") not in supported:
        raise ValueError(
            f"`text_config` has model_type {get('model_type')!r}, which UniMC does not support. Supported masked "
            f"language models: {', '.join(supported)}."
        )
    if get("is_decoder"):
        raise ValueError("`text_config.is_decoder` is True: UniMC needs an encoder that sees both sides.")
    if get("position_embedding_type") not in (None, "absolute"):
        raise ValueError(
            f"`text_config.position_embedding_type` is {get('position_embedding_type')!r}, but must be 'absolute'."
        )


def check_calibration(settings: Any) -> None:
    """Raise a `ValueError` unless each of the numbers of [`UniMCConfig`] that calibrate scores is in its range."""
    for name, (least, most) in CALIBRATION_RANGES.items():
        value = getattr(settings, name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"`{name}` must be a number from {least:g} to {most:g}, got {value!r}.")


def check_settings(config: UniMCConfig) -> None:
    """Raise a `ValueError` unless a finished configuration fits together, and all is of its type and in its range."""
    check_backbone(config.text_config)
    for name, dtype in (("dtype", config.dtype), ("text_config.dtype", config.text_config.dtype)):
        if not isinstance(dtype, torch.dtype | None):
            raise ValueError(f"`{name}` must be the name of a dtype of PyTorch, got {dtype!r}.")
    if not isinstance(config.language, str | None):
        raise ValueError(f"`language` must be a string or None, got {config.language!r}.")
    if not isinstance(config.option_mlm_loss, str) or config.option_mlm_loss not in ("vocabulary", "yes_no"):
        raise ValueError(f"`option_mlm_loss` must be 'vocabulary' or 'yes_no', got {config.option_mlm_loss!r}.")
    if not isinstance(config.prefer_bfloat16, bool):
        raise ValueError(f"`prefer_bfloat16` must be True or False, got {config.prefer_bfloat16!r}.")
    check_calibration(config)
    config.check_yes_no_token_ids(config.yes_token_id, config.no_token_id)


__all__ = ["check_backbone", "check_calibration", "check_settings"]
