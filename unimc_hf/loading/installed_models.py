"""Where the models are that come without a download: English inside this package, Chinese in one beside it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from ..modeling_unimc import UniMCForMultipleChoice

DEFAULT_MODEL = str(Path(__file__).parent.parent / "default_model")


class _Unnamed(str):
    """The name of a model that no user wrote: `DEFAULT_MODEL` itself may be passed to `pipeline`, too."""


UNNAMED_MODEL = _Unnamed(DEFAULT_MODEL)
# A model folder that pip can install; see examples/chinese_model/README.md.
CHINESE_PACKAGE = "unimc_hf_chinese"


def find_model(language: str) -> str:
    """The folder of the installed model of a language, `"english"` or `"chinese"`.

    Raises:
        ValueError: if there is no model of that language, or if it is not installed; says how to get it.
    """
    if language == "english":
        return DEFAULT_MODEL
    if language != "chinese":
        raise ValueError(f"`language` must be 'english' or 'chinese', got {language!r}.")
    spec = find_spec(CHINESE_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "model.safetensors").is_file():
            return folder
    raise ValueError(
        f"language='chinese': the Chinese model is not installed. It is a package of its own, {CHINESE_PACKAGE}: "
        "`pip install ./examples/chinese_model` in a checkout of unimc_hf with its weights. Or pass `model`, a folder "
        "or the Hub name of a Chinese UniMC model, e.g. 'IDEA-CCNL/Erlangshen-UniMC-RoBERTa-110M-Chinese'."
    )


def model_of_language(model: Any, language: str, is_named: bool) -> Any:
    """The installed model of `language`, where transformers loaded the English one because none was named.

    Raises:
        ValueError: if `model` was named: it records its own language; or as [`find_model`].
    """
    if is_named:
        raise ValueError(
            f"`language` is {language!r}, but `model` records the words for yes and no of {model.config.language!r}: "
            "leave `language` out."
        )
    with _without_progress_bar():
        loaded: Any = type(model).from_pretrained(
            find_model(language), dtype="auto" if model.dtype_is_auto else model.dtype
        )
    return loaded.to(model.device)


class PipelineModel:
    """What `pipeline` loads models with: `UniMCForMultipleChoice`, silently where it is the one inside the package.

    A model that nobody named gets an attribute `is_unnamed`, for `pipeline_parts.complete`.
    """

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, *args: Any, **kwargs: Any) -> UniMCForMultipleChoice:
        """As [`UniMCForMultipleChoice.from_pretrained`]."""
        if name != DEFAULT_MODEL:
            return UniMCForMultipleChoice.from_pretrained(name, *args, **kwargs)
        with _without_progress_bar():
            model = UniMCForMultipleChoice.from_pretrained(DEFAULT_MODEL, *args, **kwargs)
        model.is_unnamed = isinstance(name, _Unnamed)
        return model


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """For a file of this computer that is read in a moment."""
    # Not `disable_progress_bar`, which is for downloads too: enabling those again may be against their user's will.
    was_active = transformers_logging.is_progress_bar_enabled()
    transformers_logging._tqdm_active = False
    try:
        yield
    finally:
        transformers_logging._tqdm_active = was_active


def accept_default_model() -> None:
    """Drop the one warning of `pipeline` that the model inside the package was taken, because none was named.

    It is there for models that change on the Hub; this one changes with the package's version only.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return f"defaulted to {DEFAULT_MODEL} " not in record.getMessage()

    logging.getLogger("transformers.pipelines").addFilter(is_other)


__all__ = [
    "DEFAULT_MODEL",
    "UNNAMED_MODEL",
    "PipelineModel",
    "accept_default_model",
    "find_model",
    "model_of_language",
]
