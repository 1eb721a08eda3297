"""`UniMCConfig`: which masked language model is inside, and which two words mean right and wrong. Read first.

A UniMC model adds no parameter to its backbone, so its configuration is the backbone's own configuration
(`text_config`) plus two token ids. A plain masked-LM repository (`"model_type": "bert"`, ...) is read as a UniMC
repository by nesting its `config.json`; nothing has to be converted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig

from .saved_files import write_code

# Encoders whose only sense of order is `position_ids`, so that permuting the options permutes the scores exactly.
ORDER_INVARIANT_MODEL_TYPES = (
    "albert",
    "bert",
    "distilbert",
    "electra",
    "ernie",
    "megatron-bert",
    "modernbert",
    "roberta",
    "xlm-roberta",
)
# Encoders that measure distance by the index in the sequence: supported because published checkpoints use them.
ORDER_SENSITIVE_MODEL_TYPES = ("deberta-v2",)

# A config may come from anywhere, and these decide how many modules and positions are made before the first weight is
# read. Far above every published model.
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
# Scores stay numbers within these, whatever the logits.
CALIBRATION_RANGES = {"softmax_temperature": (1e-3, 1e3), "sigmoid_scale": (1e-3, 1e3), "sigmoid_bias": (-1e3, 1e3)}

# What a repository needs so that `trust_remote_code=True` works where this package is not installed.
AUTO_MAP = {
    "AutoConfig": "configuration_unimc.UniMCConfig",
    "AutoModel": "modeling_unimc.UniMCForMultipleChoice",
    "AutoModelForMultipleChoice": "modeling_unimc.UniMCForMultipleChoice",
    "AutoModelForDecision": "decision.UniMCForDecision",  # what pipeline("decision") loads, from 5.23 on
    "AutoTokenizer": ["tokenization_unimc.UniMCTokenizer", None],
}
CUSTOM_PIPELINES = {
    "unimc-zero-shot": {
        "impl": "pipeline_unimc.UniMCZeroShotPipeline",
        "pt": ["AutoModelForMultipleChoice"],
        "type": "text",
    }
}


class UniMCConfig(PreTrainedConfig):
    r"""
    Configuration of a [`UniMCForMultipleChoice`].

    Attributes that are not listed here are looked up in `text_config`, so `config.hidden_size`,
    `config.vocab_size`, ... are the backbone's.

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the masked language model inside, with its `model_type`. Defaults to a `BertConfig`.
        yes_token_id (`int`, *optional*):
            Vocabulary id of the word that marks a right option. `None` until it is known: a plain checkpoint does
            not record it.
        no_token_id (`int`, *optional*):
            Vocabulary id of the word that marks a wrong option.
        language (`str`, *optional*):
            `"english"` (yes / no) or `"chinese"` (是 / 非): where the two ids come from; informative.
        option_mlm_loss (`str`, *optional*, defaults to `"vocabulary"`):
            Over what the O-MLM loss normalises: `"vocabulary"` (the paper) or `"yes_no"`, the two words only, which
            is cheaper when a training menu has many options.
        softmax_temperature (`float`, *optional*, defaults to 1.0):
            What the pipeline divides *yes* logits by before the softmax over the options (temperature scaling, Guo
            et al. 2017). Above 1, scores are less sure of themselves; which option is best stays.
        sigmoid_scale (`float`, *optional*, defaults to 1.0), sigmoid_bias (`float`, *optional*, defaults to 0.0):
            With `multi_label=True` the pipeline's score is `sigmoid(sigmoid_scale * (yes - no) + sigmoid_bias)`
            (Platt scaling). All three are fitted by [`~unimc_hf.evaluation.calibration.calibrate`].
        prefer_bfloat16 (`bool`, *optional*, defaults to `False`):
            Whether the pipeline may run a model saved in float32 in bfloat16, on CPUs that have instructions for it
            and where its user asks for no `dtype`. For publishers who have measured that the answers stay.

    Raises:
        ValueError: if `text_config` is of a family that UniMC cannot use, is a decoder, or does not use absolute
            position embeddings where it could; if only one of the two token ids is given, both are equal or one
            lies outside the vocabulary; if `option_mlm_loss` is neither of its two values; if temperature and scale
            are not between 0.001 and 1000 or the bias not between -1000 and 1000; if `prefer_bfloat16` is not a bool;
            if `text_config` is larger than any masked language model is, e.g. has more than 1000 layers.

    Example:

    ```python
    >>> from transformers import BertConfig
    >>> from unimc_hf import UniMCConfig

    >>> config = UniMCConfig(BertConfig(vocab_size=30522), yes_token_id=2748, no_token_id=2053, language="english")
    >>> config.hidden_size
    768
    ```
    """

    model_type = "unimc"
    sub_configs = {"text_config": AutoConfig}
    has_no_defaults_at_init = False
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
            text_config = dict(text_config or {})
            _check_sizes(text_config.get)
            text_config = AutoConfig.for_model(text_config.pop("model_type", "bert"), **text_config)
        if not _is_remote_code(type(self)):
            # A `custom_pipelines` entry would shadow the registered task and ask for trust_remote_code.
            kwargs.pop("auto_map", None)
            kwargs.pop("custom_pipelines", None)
        kwargs["tie_word_embeddings"] = getattr(text_config, "tie_word_embeddings", True)
        kwargs.setdefault("pad_token_id", getattr(text_config, "pad_token_id", None))
        # Before `text_config` is there, so that no check of the base class finds the backbone's attributes here.
        super().__init__(**kwargs)
        self.text_config = text_config
        self.yes_token_id = yes_token_id
        self.no_token_id = no_token_id
        self.language = language
        self.option_mlm_loss = option_mlm_loss
        self.softmax_temperature = softmax_temperature
        self.sigmoid_scale = sigmoid_scale
        self.sigmoid_bias = sigmoid_bias
        self.prefer_bfloat16 = prefer_bfloat16
        if self._attn_implementation is not None:
            text_config._attn_implementation = self._attn_implementation
        self._check()

    def _check(self) -> None:
        _check_sizes(lambda name: getattr(self.text_config, name, None))
        family = self.text_config.model_type
        supported = ORDER_INVARIANT_MODEL_TYPES + ORDER_SENSITIVE_MODEL_TYPES
        if family not in supported:
            raise ValueError(
                f"`text_config` has model_type {family!r}, which UniMC does not support. Supported masked language "
                f"models: {', '.join(supported)}."
            )
        if getattr(self.text_config, "is_decoder", False):
            raise ValueError("`text_config.is_decoder` is True: UniMC needs an encoder that sees both sides.")
        embedding_type = getattr(self.text_config, "position_embedding_type", None)
        if embedding_type not in (None, "absolute"):
            raise ValueError(
                f"`text_config.position_embedding_type` is {embedding_type!r}: UniMC options share absolute "
                "positions, so only 'absolute' works."
            )
        for name, dtype in (("dtype", self.dtype), ("text_config.dtype", self.text_config.dtype)):
            if not (dtype is None or isinstance(dtype, torch.dtype)):
                raise ValueError(f"`{name}` must be the name of a dtype of PyTorch, got {dtype!r}.")
        if not (self.language is None or isinstance(self.language, str)):
            raise ValueError(f"`language` must be a string or None, got {self.language!r}.")
        if not isinstance(self.option_mlm_loss, str) or self.option_mlm_loss not in ("vocabulary", "yes_no"):
            raise ValueError(f"`option_mlm_loss` must be 'vocabulary' or 'yes_no', got {self.option_mlm_loss!r}.")
        if not isinstance(self.prefer_bfloat16, bool):
            raise ValueError(f"`prefer_bfloat16` must be True or False, got {self.prefer_bfloat16!r}.")
        for name, (least, most) in CALIBRATION_RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
                raise ValueError(f"`{name}` must be a number from {least:g} to {most:g}, got {value!r}.")
        self.check_yes_no_token_ids(self.yes_token_id, self.no_token_id)

    def check_yes_no_token_ids(self, yes_token_id: int | None, no_token_id: int | None) -> None:
        """Raise a `ValueError` unless both ids are `None` or two different ids of the vocabulary."""
        if yes_token_id is None and no_token_id is None:
            return
        are_integers = all(isinstance(i, int) and not isinstance(i, bool) for i in (yes_token_id, no_token_id))
        if yes_token_id is None or no_token_id is None or not are_integers or yes_token_id == no_token_id:
            raise ValueError(
                "`yes_token_id` and `no_token_id` must be two different token ids, "
                f"got {yes_token_id!r} and {no_token_id!r}."
            )
        for name, value in (("yes_token_id", yes_token_id), ("no_token_id", no_token_id)):
            if not 0 <= value < self.text_config.vocab_size:
                raise ValueError(
                    f"`{name}` is {value}, outside the vocabulary of {self.text_config.vocab_size} tokens."
                )

    @property
    def is_order_invariant(self) -> bool:
        """Whether permuting the options permutes the scores and changes nothing else."""
        return self.text_config.model_type in ORDER_INVARIANT_MODEL_TYPES

    def __setattr__(self, name: str, value: Any) -> None:
        # What is read from `text_config` is written there too, so that `from_pretrained(..., hidden_dropout_prob=0)`
        # does what it says.
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
        write_code(save_directory, self.name_or_path, getattr(self, "_commit_hash", None))
        super().save_pretrained(save_directory, *args, **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `config.json` of a UniMC repository as it is; of a plain masked-LM repository, nested."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if config_dict.get("model_type") != cls.model_type:
            config_dict = nest_config_dict(config_dict)
        return config_dict, kwargs


def nest_config_dict(plain: dict[str, Any]) -> dict[str, Any]:
    """`{"model_type": "bert", ...}` -> `{"text_config": {"model_type": "bert", ...}}`.

    Raises:
        ValueError: if there is no `model_type`, because the backbone cannot be told without it.
    """
    if "model_type" not in plain:
        raise ValueError("`config.json` has no `model_type`: UniMC cannot tell which masked language model this is.")
    nested: dict[str, Any] = {"text_config": plain}
    # `dtype` decides in which precision `from_pretrained` loads, so it must be seen at the top.
    for key in ("dtype", "torch_dtype"):
        if key in plain:
            nested["dtype"] = plain[key]
    return nested


def _check_sizes(get: Callable[[str], Any]) -> None:
    for name, most in LARGEST.items():
        value = get(name)
        if isinstance(value, (int, float)) and not 1 <= value <= most:
            raise ValueError(f"`text_config.{name}` is {value}; it must be from 1 to {most}.")


# What every configuration has: set on this one, whatever `text_config` says.
_OWN_ATTRIBUTES = frozenset(vars(PreTrainedConfig()))


def _is_remote_code(config_class: type) -> bool:
    return config_class.__module__.startswith("transformers_modules")


__all__ = ["UniMCConfig"]
