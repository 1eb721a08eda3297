"""Model and tokenizer of a zero-shot pipeline, brought together: plain checkpoints, other languages, mismatches.

Importing the package puts `complete` into `UniMCZeroShotPipeline`. What is loaded as remote code was saved complete.
"""

from __future__ import annotations

from typing import Any

from ..configuration_unimc import UniMCConfig
from ..modeling_unimc import UniMCForMultipleChoice
from ..tokenization_unimc import YES_NO_WORDS, UniMCTokenizer
from .from_pretrained import from_plain
from .installed_models import model_of_language


def complete(
    model: Any, tokenizer: Any = None, language: str | None = None
) -> tuple[UniMCForMultipleChoice, UniMCTokenizer]:
    """A UniMC model that knows the words for yes and no, and a `UniMCTokenizer` with which it belongs.

    Args:
        model: that was loaded; where none was named, the installed one of `language` is taken instead.
        tokenizer: a `UniMCTokenizer`, a plain fast tokenizer, a name to load one from, or `None` for the model's own.
        language: as in [`UniMCZeroShotPipeline`].

    Raises:
        ValueError: as [`UniMCZeroShotPipeline`] says.
    """
    if model.config.model_type != UniMCConfig.model_type:
        UniMCConfig(text_config=model.config)  # raises with the reason where the family is not supported
        raise ValueError(f"`model` is a {type(model).__name__}; pass a UniMCForMultipleChoice.")
    is_named = not vars(model).pop("is_unnamed", False)  # a user who passes this model on names it
    if language is not None and model.config.language not in (None, language):
        model, tokenizer = model_of_language(model, language, is_named), None
    tokenizer = _tokenizer_of(model, tokenizer)
    if language is not None or model.config.yes_token_id is None:
        if language is None:
            raise ValueError(
                "`language` is needed: this checkpoint does not record its words for yes and no. Pass "
                "language='english' or language='chinese'."
            )
        model.config.yes_token_id, model.config.no_token_id = tokenizer.yes_no_token_ids(language)
        model.config.language = language
    return model, tokenizer


def _tokenizer_of(model: Any, tokenizer: Any) -> UniMCTokenizer:
    """What was passed as a `UniMCTokenizer`, or the model's own; raises where the two do not belong together."""
    if not hasattr(tokenizer, "yes_no_token_ids"):  # not isinstance: remote code has its own copy of the class
        source = getattr(tokenizer, "name_or_path", None) or model.config.name_or_path
        # Of a plain repository, AutoTokenizer gives a plain tokenizer, and for DeBERTa-v2 even a wrong one.
        if isinstance(tokenizer, str) or tokenizer is None or model.config.text_config.model_type == "deberta-v2":
            if not source:
                raise ValueError("`tokenizer` is missing, and `model` was not loaded from a folder that has one.")
            tokenizer = UniMCTokenizer.from_pretrained(source)
        else:
            tokenizer = from_plain(UniMCTokenizer, tokenizer)
    config, differ = model.config, ""
    if len(tokenizer) > config.vocab_size:
        differ = f"{len(tokenizer)} tokens and `model` {config.vocab_size}"
    elif config.yes_token_id is not None and config.language in YES_NO_WORDS:
        recorded, found = (config.yes_token_id, config.no_token_id), tokenizer.yes_no_token_ids(config.language)
        if recorded != found:
            differ = f"the words for yes and no of {config.language!r} at {found} and `model` at {recorded}"
    if differ:
        raise ValueError(f"`tokenizer` has {differ}: they do not belong together.")
    return tokenizer


__all__ = ["complete"]
