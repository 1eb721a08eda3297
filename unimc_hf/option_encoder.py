"""What each family of encoders is given, so that options share positions and do not see each other.

Between `option_structure` and `modeling_unimc`. Most families take one mask and position ids; ModernBERT takes a mask
for each of its two kinds of layers, MPNet's bias of relative positions comes with the mask, and DeBERTa-v2, whose
`forward` takes no mask per pair of tokens, is run in stages. So are encoders of BERT's layers, because only the states
at the options are read: of the last layer's tokens nothing is needed but keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .option_attention import NAME as UNIMC_ATTENTION
from .option_attention import option_blocks_if_cheaper
from .option_structure import additive_mask, at_positions, build_attention_mask, build_position_ids

BERT_LAYERS = ("bert", "electra", "ernie", "roberta", "xlm-roberta")
OF_EVERY_LAYER = ("output_hidden_states", "output_attentions")  # what a caller may ask, so that layers are run whole
RECORDS_STATES = "transformers.utils.output_capturing"  # whose hooks stay, and do nothing when none are asked for


def encode(
    backbone: Any,
    input_ids: Tensor | None,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
    option_ids: Tensor,
    option_positions: Tensor,
    inputs_embeds: Tensor | None,
    only_options: bool,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """The states of the encoder at the options, `(batch_size, num_choices, hidden_size)`, and its output.

    Arguments are those of [`UniMCForMultipleChoice.forward`]. With `only_options` the output may be left `None`.
    """
    config = backbone.config
    kwargs = {**kwargs, **{name: getattr(config, name) for name in OF_EVERY_LAYER if kwargs.get(name) is None}}
    position_ids = build_position_ids(option_ids, option_positions, attention_mask)
    if token_type_ids is None:
        # The closing `[SEP]` is the token at the position after the longest option.
        longest = (position_ids * (option_ids > 0)).amax(1, keepdim=True)
        closes = (option_ids == 0) & (position_ids == longest + 1) & attention_mask.bool()
        token_type_ids = ((option_ids > 0) | closes).long()
    inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
    if getattr(config, "type_vocab_size", 0) > 1 and config.model_type != "distilbert":
        inputs["token_type_ids"] = token_type_ids

    if config.model_type == "deberta-v2":
        inputs["position_ids"] = position_ids.clamp(max=config.max_position_embeddings - 1)
        # Its own `forward` gives both stages one mask. Padding is zeroed in the embeddings, so that a score does not
        # depend on batch mates; the reference let it through.
        mask = build_attention_mask(option_ids, attention_mask, torch.bool).squeeze(1)
        embedded = backbone.embeddings(mask=attention_mask, **inputs)
        outputs = backbone.encoder(embedded, mask, **{name: kwargs[name] for name in OF_EVERY_LAYER})
        return at_positions(outputs.last_hidden_state, option_positions), outputs

    # SDPA leaves its fast path when the mask is of another dtype than the activations.
    dtype = backbone.dtype if inputs_embeds is None else inputs_embeds.dtype
    if torch.is_autocast_enabled(option_ids.device.type):
        dtype = torch.get_autocast_dtype(option_ids.device.type)
    if config.model_type == "modernbert":
        inputs["position_ids"] = position_ids
        inputs["attention_mask"] = {
            "full_attention": build_attention_mask(option_ids, attention_mask, dtype),
            "sliding_attention": build_attention_mask(
                option_ids, attention_mask, dtype, position_ids, window=config.local_attention // 2
            ),
        }
    else:
        # These tables start with rows for padding; positions count from the row after them.
        is_offset = config.model_type in ("mpnet", "roberta", "xlm-roberta")
        offset = backbone.embeddings.padding_idx + 1 if is_offset else 0
        # The reference clamps too: a menu may make the sequence longer than the table, never the positions.
        inputs["position_ids"] = (position_ids + offset).clamp(max=config.max_position_embeddings - 1)
        takes_blocks = config._attn_implementation == UNIMC_ATTENTION and config.model_type != "mpnet"
        num_choices = option_positions.shape[1]
        blocks = option_blocks_if_cheaper(option_ids, attention_mask, num_choices, dtype) if takes_blocks else None
        if config.model_type == "mpnet":
            allowed = build_attention_mask(option_ids, attention_mask, torch.bool)
            inputs["attention_mask"] = _mpnet_mask(backbone.encoder, allowed, position_ids, dtype)
        elif blocks is None:
            inputs["attention_mask"] = build_attention_mask(option_ids, attention_mask, dtype)
        else:
            inputs["attention_mask"] = additive_mask(attention_mask.bool()[:, None, None], dtype)
            inputs["option_blocks"] = blocks
        asks_for_more = any(value is not None and value is not False for value in kwargs.values())
        if only_options and not asks_for_more and _runs_in_stages(backbone):
            return _states_at_options(backbone, option_positions, **inputs), None
    outputs = backbone(**inputs, **{**kwargs, "return_dict": True})
    return at_positions(outputs.last_hidden_state, option_positions), outputs


def _runs_in_stages(backbone: Any) -> bool:
    """Whether BERT's layers may be run part by part: nothing hangs on what would not be called as a whole then."""
    if backbone.config.model_type not in BERT_LAYERS or backbone.config._attn_implementation == "eager":
        return False
    wholes = [backbone, backbone.encoder]
    for layer in backbone.encoder.layer:
        wholes += (layer, layer.attention, layer.attention.self)
    return not any(_is_watched(part) or getattr(part, "gradient_checkpointing", False) for part in wholes)


def _is_watched(module: nn.Module) -> bool:
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return hasattr(module, "_hf_hook") or any(hook.__module__ != RECORDS_STATES for hook in hooks)


def _states_at_options(
    backbone: Any, option_positions: Tensor, attention_mask: Tensor, option_blocks: Any = None, **inputs: Any
) -> Tensor:
    """Of the last layer keys and values of every token, and all the rest for the options only."""
    hidden_states = backbone.embeddings(**inputs)
    if hasattr(backbone, "embeddings_project"):  # ELECTRA's embeddings may be smaller
        hidden_states = backbone.embeddings_project(hidden_states)
    attend = ALL_ATTENTION_FUNCTIONS[backbone.config._attn_implementation]
    blocks = {} if option_blocks is None else {"option_blocks": option_blocks}
    layers = backbone.encoder.layer
    for layer in layers:
        queries, attention = hidden_states, layer.attention.self
        if layer is layers[-1]:
            queries = at_positions(hidden_states, option_positions)
            if option_blocks is None:
                attention_mask = at_positions(attention_mask.squeeze(1), option_positions).unsqueeze(1)
        query, key, value = (
            states.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)
            for states in (attention.query(queries), attention.key(hidden_states), attention.value(hidden_states))
        )
        dropout = attention.dropout.p if attention.training else 0.0
        context, _ = attend(attention, query, key, value, attention_mask, dropout=dropout, **blocks)
        attended = layer.attention.output(context.flatten(2), queries)
        hidden_states = layer.output(layer.intermediate(attended), attended)
    return hidden_states


def _mpnet_mask(encoder: Any, allowed: Tensor, position_ids: Tensor, dtype: torch.dtype) -> Tensor:
    """MPNet's bias of relative positions, by `position_ids` in place of the index, where attention is allowed."""
    distances = position_ids.unsqueeze(1) - position_ids.unsqueeze(2)
    bias = encoder.relative_attention_bias(encoder.relative_position_bucket(distances)).permute(0, 3, 1, 2)
    return bias.to(dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def adapt(backbone: Any) -> None:
    """Change in a new encoder what would not go with the masks and positions of [`encode`]."""
    if backbone.config.model_type == "mpnet":
        backbone.encoder.compute_position_bias = _no_position_bias
    if backbone.config.model_type == "deberta-v2" and backbone.encoder.conv is not None:
        backbone.encoder.conv.register_forward_pre_hook(_padding_mask_as_integers)


def _no_position_bias(_: Tensor) -> None:
    # It would be by the index in the sequence; ours comes with the mask.
    return None


def _padding_mask_as_integers(_: nn.Module, inputs: tuple) -> tuple:
    # The convolution computes `1 - mask`, but gets a bool where attention has a mask per pair.
    return *inputs[:2], inputs[2].long()


__all__ = ["adapt", "encode"]
