"""The MLM head of any supported family as two steps, for `modeling_unimc`: a transform, and a decoder by rows.

Scoring K options needs two rows of the decoder; for MiniLM all of them would be as much work as three encoder layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

# Where a family keeps (what is applied before the decoder, in order; the decoder). `gelu` is a function there.
_LAYOUTS = (
    (("cls.predictions.transform",), "cls.predictions.decoder"),  # BERT, MegatronBERT, ERNIE, DeBERTa-v2
    (("predictions.dense", "predictions.activation", "predictions.LayerNorm"), "predictions.decoder"),  # ALBERT
    (("lm_head.dense", "gelu", "lm_head.layer_norm"), "lm_head.decoder"),  # RoBERTa, XLM-R, MPNet
    (("generator_predictions",), "generator_lm_head"),  # ELECTRA
    (("vocab_transform", "activation", "vocab_layer_norm"), "vocab_projector"),  # DistilBERT
    (("head",), "decoder"),  # ModernBERT
)


@dataclass(frozen=True)
class MaskedLMHead:
    """The head of one model; `model` is kept to replace the decoder when embeddings are resized."""

    model: Any
    transforms: tuple
    decoder_path: str

    @classmethod
    def find(cls, model: Any) -> MaskedLMHead:
        """The head among the children of `model`; a `ValueError` if it has none of the known layouts."""
        for paths, decoder_path in _LAYOUTS:
            try:
                model.get_submodule(decoder_path)
                transforms = tuple(F.gelu if path == "gelu" else model.get_submodule(path) for path in paths)
            except AttributeError:
                continue
            return cls(model, transforms, decoder_path)
        raise ValueError(
            f"`text_config`: the MLM head of model_type {model.config.text_config.model_type!r} has no layout that "
            f"UniMC knows; its parts are {[name for name, _ in model.named_children()]}."
        )

    @property
    def decoder(self) -> nn.Module:
        """The projection to the vocabulary, tied to the input embeddings in every published checkpoint."""
        return self.model.get_submodule(self.decoder_path)

    def transform(self, hidden_states: Tensor) -> Tensor:
        """`(..., hidden_size)` -> `(..., embedding_size)`."""
        for transform in self.transforms:
            hidden_states = transform(hidden_states)
        return hidden_states

    def decode(self, features: Tensor, token_ids: list[int] | None = None) -> Tensor:
        """`(..., embedding_size)` -> logits of `token_ids` `(..., len(token_ids))`, or of the whole vocabulary."""
        decoder = self.decoder
        if token_ids is None:
            return decoder(features)
        if type(decoder) is not nn.Linear or hasattr(decoder, "_hf_hook"):  # quantised, adapted or offloaded
            return decoder(features)[..., token_ids]
        bias = None if decoder.bias is None else decoder.bias[token_ids]
        return F.linear(features, decoder.weight[token_ids], bias)

    def replace_decoder(self, decoder: nn.Module) -> None:
        """Put another projection in the decoder's place."""
        parent, _, name = self.decoder_path.rpartition(".")
        owner = self.model.get_submodule(parent)
        setattr(owner, name, decoder)
        if getattr(owner, "bias", None) is not None:  # heads that own the bias tie it to the decoder's
            owner.bias = decoder.bias
