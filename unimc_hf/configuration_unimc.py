"""`UniMCConfig`: which masked language model is inside, and which two words mean right and wrong.

A UniMC model adds no parameter to its backbone, so its configuration is the backbone's own (`text_config`) plus two
token ids and how scores are made of them.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from .saved_files import write_code

# Encoders whose only sense of order is `position_ids`, so that permuting the options permutes the scores exactly.
ORDER_INVARIANT_MODEL_TYPES = (
    "albert", "bert", "distilbert", "electra", "ernie", "megatron-bert", "modernbert", "mpnet", "roberta",
    "xlm-roberta",
)  # fmt: skip

# What a repository needs so that `trust_remote_code=True` works where this package is not installed.
AUTO_MAP = {
    "AutoConfig": "configuration_unimc.UniMCConfig",
    "AutoModel": "modeling_unimc.UniMCForMultipleChoice",
    "AutoModelForMultipleChoice": "modeling_unimc.UniMCForMultipleChoice",
    "AutoModelForDecision": "decision.UniMCForDecision",  # what pipeline("decision") loads, from 5.23 on
    "AutoTokenizer": ["tokenization_unimc.UniMCTokenizer", None],
}
_ZERO_SHOT = {"impl": "pipeline_unimc.UniMCZeroShotPipeline", "pt": ["AutoModelForMultipleChoice"], "type": "text"}
CUSTOM_PIPELINES = {"unimc-zero-shot": _ZERO_SHOT}


class UniMCConfig(PreTrainedConfig):
    r"""Configuration of a [`UniMCForMultipleChoice`]. Attributes that are not listed here are those of `text_config`.

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*): of the masked language model inside, with its
            `model_type`. Defaults to a `BertConfig`.
        yes_token_id, no_token_id (`int`, *optional*): vocabulary ids of the words that mark a right and a wrong
            option. `None` until they are known: a plain checkpoint does not record them.
        language (`str`, *optional*): `"english"` (yes / no) or `"chinese"` (是 / 非): where the two ids come from.
        option_mlm_loss (`str`, *optional*, defaults to `"vocabulary"`): over what the O-MLM loss normalises:
            `"vocabulary"` (the paper), or `"yes_no"`, the two words only, which is cheaper where menus are long.
        softmax_temperature (`float`, *optional*, defaults to 1.0): divides *yes* logits before the pipeline's softmax
            over the options (Guo et al. 2017). Above 1, scores are less sure of themselves.
        sigmoid_scale, sigmoid_bias (`float`, *optional*, default to 1.0 and 0.0): with `multi_label=True` a score is
            `sigmoid(sigmoid_scale * (yes - no) + sigmoid_bias)` (Platt scaling; `evaluation/calibration.py` fits it).
        prefer_bfloat16 (`bool`, *optional*, defaults to `False`): whether the pipeline may run a model saved in
            float32 in bfloat16, on CPUs that have instructions for it and where its user asks for no `dtype`.

    Raises:
        ValueError: where the package is installed: if `text_config` is of a family that UniMC cannot use, a decoder, or
            larger than any masked language model; if the token ids are not both `None` or two different ids of the
            vocabulary; if another argument is not of its type or outside its range.
    """

    model_type = "unimc"
    sub_configs = {"text_config": AutoConfig}
    # Trainer gathers every other output of `forward` during evaluation, and these are not predictions.
    keys_to_ignore_at_inference = ["yes_no_logits", "op_loss", "mlm_loss", "hidden_states", "attentions"]

    def __init__(
        self,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        yes_token_id: int | None = None,
        no_token_id: int | None = None,
        language: str | None = None,
        option_mlm_loss: str = "vocabulary",
        softmax_temperature: float = 1.0,
        sigmoid_scale: float = 1.0,
        sigmoid_bias: float = 0.0,
        prefer_bfloat16: bool = False,
        **kwargs: Any,
    ) -> None:
        if not isinstance(text_config, PreTrainedConfig):
            text_config = {"model_type": "bert", **(text_config or {})}
            self.check_backbone(text_config)
            text_config = AutoConfig.for_model(**text_config)
        if not type(self).__module__.startswith("transformers_modules"):
            # Where the package is installed, these would shadow what it registers, and ask for trust_remote_code.
            kwargs.pop("auto_map", None)
            kwargs.pop("custom_pipelines", None)
        kwargs["tie_word_embeddings"] = getattr(text_config, "tie_word_embeddings", True)
        kwargs.setdefault("pad_token_id", getattr(text_config, "pad_token_id", None))
        # Before `text_config` is there, so that no check of the base class finds the backbone's attributes here.
        super().__init__(**kwargs)
        if isinstance(text_config.dtype, str):  # as `save_pretrained` leaves it
            text_config.dtype = getattr(torch, text_config.dtype, text_config.dtype)
        self.text_config = text_config
        self.yes_token_id, self.no_token_id = yes_token_id, no_token_id
        self.language = language
        self.option_mlm_loss = option_mlm_loss
        self.softmax_temperature = softmax_temperature
        self.sigmoid_scale, self.sigmoid_bias = sigmoid_scale, sigmoid_bias
        self.prefer_bfloat16 = prefer_bfloat16
        if self._attn_implementation is not None:
            text_config._attn_implementation = self._attn_implementation
        self.check_settings()

    @staticmethod
    def check_backbone(text_config: PreTrainedConfig | dict[str, Any]) -> None:
        """What the installed package checks of the backbone (`loading/configuration_checks.py`)."""

    def check_settings(self) -> None:
        """What it checks of the finished configuration."""

    def check_yes_no_token_ids(self, yes_token_id: int | None, no_token_id: int | None) -> None:
        """Raise a `ValueError` unless both ids are `None` or two different ids of the vocabulary."""
        ids, vocab_size = (yes_token_id, no_token_id), self.text_config.vocab_size
        if yes_token_id is None and no_token_id is None:
            return
        are_ids = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < vocab_size for i in ids)
        if not are_ids or yes_token_id == no_token_id:
            raise ValueError(
                "`yes_token_id` and `no_token_id` must be two different token ids, none outside the vocabulary of "
                f"{vocab_size} tokens, got {yes_token_id!r} and {no_token_id!r}."
            )

    @property
    def is_order_invariant(self) -> bool:
        """Whether permuting the options permutes the scores and changes nothing else."""
        return self.text_config.model_type in ORDER_INVARIANT_MODEL_TYPES

    def __setattr__(self, name: str, value: Any) -> None:
        # What is read from `text_config` is written there, e.g. by `from_pretrained(..., hidden_dropout_prob=0)`.
        text_config = self.__dict__.get("text_config")
        is_own = name.startswith("_") or name in self.__dict__ or hasattr(type(self), name) or name in _OWN_ATTRIBUTES
        if text_config is None or is_own or not hasattr(text_config, name):
            super().__setattr__(name, value)
        else:
            setattr(text_config, name, value)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what neither the instance nor the class has; `text_config` itself may not be set yet.
        if name.startswith("_") or "text_config" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.__dict__["text_config"], name)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a dict, always with what loading it as remote code needs."""
        return {**super().to_dict(), "auto_map": dict(AUTO_MAP), "custom_pipelines": dict(CUSTOM_PIPELINES)}

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in transformers, and the code beside it. A model saves its configuration before an upload."""
        write_code(save_directory, str(self.name_or_path), getattr(self, "_commit_hash", None))
        super().save_pretrained(save_directory, *args, **kwargs)


# What every configuration has: set on this one, whatever `text_config` says.
_OWN_ATTRIBUTES = frozenset(vars(PreTrainedConfig()))

__all__ = ["UniMCConfig"]
