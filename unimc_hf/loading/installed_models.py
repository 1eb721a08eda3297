"""Where the models are that come without a download: English inside this package, Chinese in one beside it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..pipeline_unimc import UniMCZeroShotPipeline

DEFAULT_MODEL = str(Path(__file__).parent.parent / "default_model")
# A model folder that pip can install; see examples/chinese_model/README.md.
CHINESE_PACKAGE = "unimc_hf_chinese_research"


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


def model_of_language(model: Any, language: str) -> Any:
    """The installed model of `language`, where transformers loaded the English one because none was named.

    Raises:
        ValueError: if `model` was named: it records its own language; or as [`find_model`].
    """
    if model.config.name_or_path != DEFAULT_MODEL:
        return _of_remote_code(model, language)
    loaded: Any = type(model).from_pretrained(
        find_model(language), dtype="auto" if model.dtype_is_auto else model.dtype
    )
    return loaded.to(model.device)


_of_remote_code = UniMCZeroShotPipeline.model_of_language  # which knows no installed model, and says so

__all__ = ["DEFAULT_MODEL", "find_model", "model_of_language"]
