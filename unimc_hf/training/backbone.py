"""An encoder, a masked language model or a UniMC model as a UniMC model to train."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..configuration_unimc import UniMCConfig
from ..masked_lm_head import MaskedLMHead
from ..modeling_unimc import UniMCForMultipleChoice
from ..pipeline_unimc import is_fast_in_bfloat16
from ..tokenization_unimc import UniMCTokenizer

# What the families call the dropout of hidden states, and that of attention.
HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "mlp_dropout", "embedding_dropout")
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")


def training_dtype(name: str = "auto") -> str:
    """`"bfloat16"` where the processor multiplies in it, which trains about three times as fast, else `"float32"`.

    Args:
        name: what is not `"auto"` is returned as it is.
    """
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if is_fast_in_bfloat16(torch.device("cpu")) else "float32"


def load_backbone(folder: str, config: dict[str, Any]) -> tuple[UniMCForMultipleChoice, UniMCTokenizer]:
    """The backbone as a UniMC model. Where it has no MLM head, the new one starts close to the identity."""
    text_config = UniMCConfig.from_pretrained(folder).text_config
    dropout = dict.fromkeys(HIDDEN_DROPOUT, config["hidden_dropout_prob"])
    dropout |= dict.fromkeys(ATTENTION_DROPOUT, 0.0)  # with it, attention takes a slower path
    tokenizer = UniMCTokenizer.from_pretrained(folder)
    yes_token_id, no_token_id = tokenizer.yes_no_token_ids(config["language"])
    loaded: Any = UniMCForMultipleChoice.from_pretrained(  # a pair, with the loading info
        folder,
        yes_token_id=yes_token_id,
        no_token_id=no_token_id,
        language=config["language"],
        option_mlm_loss=config["option_mlm_loss"],
        **{name: value for name, value in dropout.items() if hasattr(text_config, name)},
        output_loading_info=True,
        dtype=torch.float32,
    )
    model, info = loaded
    name, dense = _dense_of_head(model)
    if f"{name}.weight" in info["missing_keys"] and dense.in_features == dense.out_features:
        with torch.no_grad():
            dense.weight.copy_(torch.eye(dense.out_features))
            if dense.bias is not None:
                dense.bias.zero_()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(part in name for part in config["frozen"]))
    return model.to(getattr(torch, config["dtype"])), tokenizer


def _dense_of_head(model: UniMCForMultipleChoice) -> tuple[str, nn.Linear]:
    """Name and module of the linear layer that the MLM head applies before its decoder."""
    parts = [part for part in MaskedLMHead.find(model).transforms if isinstance(part, nn.Module)]
    linear = {module for part in parts for module in part.modules() if isinstance(module, nn.Linear)}
    return next((name, module) for name, module in model.named_modules() if module in linear)


__all__ = ["load_backbone", "training_dtype"]
