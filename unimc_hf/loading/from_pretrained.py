"""Loading where the package is installed: a plain masked-LM repository is read as a UniMC one, and files are checked.

Importing the package puts these functions into `UniMCConfig`, `UniMCTokenizer` and `UniMCForMultipleChoice`. The code
that travels with a saved model does without: what it is saved with is UniMC's already, and was trusted with its code.
"""

from __future__ import annotations

import os
from typing import Any

from transformers import AutoTokenizer, BertTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import cached_file

from ..configuration_unimc import UniMCConfig
from ..modeling_unimc import UniMCForMultipleChoice
from ..tokenization_unimc import UniMCTokenizer
from .untrusted_files import check_weight_indices

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
# Arguments of the model's `from_pretrained` that are the configuration's where a plain one is nested.
CONFIG_ARGUMENTS = ("yes_token_id", "no_token_id", "language")


def get_config_dict(
    cls: type[UniMCConfig], pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `config.json` of a UniMC repository as it is; of a plain masked-LM repository, nested.

    Raises:
        ValueError: as [`nest_config_dict`].
    """
    config_dict, kwargs = super(UniMCConfig, cls).get_config_dict(pretrained_model_name_or_path, **kwargs)
    is_plain = config_dict.get("model_type") != cls.model_type
    return nest_config_dict(config_dict) if is_plain else config_dict, kwargs


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


def load_model(
    cls: type[UniMCForMultipleChoice],
    pretrained_model_name_or_path: str | os.PathLike | None,
    *model_args: Any,
    **kwargs: Any,
) -> Any:
    """As in transformers; the repository, or a `config` that is passed, may also be a plain masked LM's.

    Raises:
        ValueError: for `weights_only=False`, which would let a pickle run code; if an index of weights names files
            outside its folder; if weights of the encoder, or of a saved UniMC model any weights, are missing and
            `output_loading_info=True` does not ask to be told instead.
    """
    if not kwargs.get("weights_only", True):
        raise ValueError("`weights_only` must be True: a pickle would run its code otherwise.")
    if pretrained_model_name_or_path is not None:
        check_weight_indices(os.path.join(pretrained_model_name_or_path, kwargs.get("subfolder") or ""))
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig) and config.model_type != UniMCConfig.model_type:
        own = {name: kwargs.pop(name) for name in CONFIG_ARGUMENTS if name in kwargs}
        kwargs["config"] = cls.config_class(**nest_config_dict(config.to_dict()), **own)
    with_info = kwargs.pop("output_loading_info", False)
    model, info = _load_saved_model(cls, pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs)
    # The architectures of a plain model stand in `text_config`, and a plain encoder has no head.
    needed = "" if model.config.architectures else f"{model.base_model_prefix}."
    missing = sorted(key for key in info["missing_keys"] if key.startswith(needed))
    if missing and pretrained_model_name_or_path is not None and not with_info:
        raise ValueError(
            f"The weights in {model.config.name_or_path!r} do not fit its configuration: {len(missing)} are missing, "
            f"e.g. `{missing[0]}`. Is a file damaged, or of another model?"
        )
    return (model, info) if with_info else model


_load_saved_model: Any = UniMCForMultipleChoice.from_pretrained.__func__  # type: ignore[attr-defined]


def from_plain(cls: type[UniMCTokenizer], tokenizer: PreTrainedTokenizerFast) -> UniMCTokenizer:
    """The `UniMCTokenizer` with the vocabulary, normaliser and special tokens of a plain fast tokenizer.

    Raises:
        ValueError: if it is not a fast tokenizer, or lacks `[CLS]`, `[SEP]`, `[MASK]` or `[PAD]`.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"`tokenizer` is a {type(tokenizer).__name__}; UniMC needs a fast tokenizer.")
    for name in ("cls_token", "sep_token", "mask_token", "pad_token"):
        if getattr(tokenizer, name, None) is None:
            raise ValueError(f"`tokenizer` has no {name}, which the UniMC layout needs.")
    names = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces")
    settings = {name: getattr(tokenizer, name) for name in names}
    converted = cls(tokenizer_object=tokenizer.backend_tokenizer, **settings, **tokenizer._special_tokens_map)
    converted.name_or_path = tokenizer.name_or_path
    return converted


def load_tokenizer(
    cls: type[UniMCTokenizer], pretrained_model_name_or_path: str | os.PathLike, *inputs: Any, **kwargs: Any
) -> UniMCTokenizer:
    """Load a saved `UniMCTokenizer`, or turn the one of a plain masked-LM repository into one.

    Raises:
        ValueError: as [`from_plain`].
    """
    hub = {name: value for name, value in kwargs.items() if name in HUB_ARGUMENTS}
    saved_as = get_tokenizer_config(pretrained_model_name_or_path, **hub).get("tokenizer_class")
    if saved_as == "UniMCTokenizer":
        return super(UniMCTokenizer, cls).from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs)
    if kwargs.pop("_from_auto", None):
        # AutoTokenizer was led here by the model: asking it again would not end.
        return from_plain(cls, PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, **kwargs))
    has_only_vocab_txt = saved_as is None and _has_only_vocab_txt(pretrained_model_name_or_path, **hub)
    # The published DeBERTa-v2 checkpoints have BERT's word pieces, which their model_type does not tell.
    loader: Any = BertTokenizer if has_only_vocab_txt else AutoTokenizer
    return from_plain(cls, loader.from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs))


def _has_only_vocab_txt(pretrained_model_name_or_path: str | os.PathLike, **hub: Any) -> bool:
    def has(name: str) -> bool:
        found = cached_file(pretrained_model_name_or_path, name, _raise_exceptions_for_missing_entries=False, **hub)
        return found is not None

    return has("vocab.txt") and not any(map(has, ("tokenizer.json", "spiece.model", "spm.model")))


__all__ = ["from_plain", "get_config_dict", "load_model", "load_tokenizer", "nest_config_dict"]
