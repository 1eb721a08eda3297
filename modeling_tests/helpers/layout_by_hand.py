"""UniMC's format in plain loops, and its scores from transformers' own `...ForMaskedLM`: what all paths must equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from tiny_models import tiny_model, tiny_tokenizer
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel


def lay_out_by_hand(case: dict[str, Any], max_length: int) -> dict[str, list[int]]:
    """Tokens of one example with segment, option and position of each, and the place of every option's `[MASK]`."""
    tokenizer = tiny_tokenizer()

    def ids(text: str) -> list[int]:
        # With spaces the tokenizer cannot take a `[MASK]` of the user for the real one, and the pieces are the same.
        return tokenizer(text.replace("[", "[ ").replace("]", " ]"), add_special_tokens=False)["input_ids"]

    tokens, segments, options, positions, masks = [tokenizer.cls_token_id], [0], [0], [0], []
    for number, option in enumerate(case["options"], start=1):
        block = [tokenizer.mask_token_id, *ids(option)]
        masks.append(len(tokens))
        tokens += block
        segments += [1] * len(block)
        options += [number] * len(block)
        positions += range(1, len(block) + 1)
    tail = [tokenizer.sep_token_id]
    for name in ("question", "text", "text_pair"):
        if case[name] or name == "text":
            tail += [*ids(case[name]), tokenizer.sep_token_id]
    if len(tokens) + len(tail) > max_length:
        tail = [*tail[: max_length - len(tokens) - 1], tokenizer.sep_token_id]
    start = max(positions) + 1
    return {
        "input_ids": tokens + tail,
        "token_type_ids": segments + [1] + [0] * (len(tail) - 1),
        "option_ids": options + [0] * len(tail),
        "position_ids": [*positions, *range(start, start + len(tail))],
        "option_positions": masks,
    }


def scores_by_hand(family: str, layout: dict[str, list[int]]) -> torch.Tensor:
    """(yes, no) of every option, of shape `(num_choices, 2)`, by eager attention over the whole vocabulary."""
    model = plain_masked_lm(family)
    options, positions = layout["option_ids"], layout["position_ids"]
    sees = [[a == b or 0 in (a, b) for b in options] for a in options]
    near = [[abs(p - q) <= getattr(model.config, "local_attention", 0) // 2 for q in positions] for p in positions]
    both = [[a and b for a, b in zip(*rows)] for rows in zip(sees, near)]
    inputs: dict[str, Any] = {"attention_mask": _additive(sees)}
    if family == "modernbert":
        inputs["attention_mask"] = {"full_attention": _additive(sees), "sliding_attention": _additive(both)}
    if family in ("bert", "albert", "megatron-bert", "electra", "ernie"):
        inputs["token_type_ids"] = torch.tensor([layout["token_type_ids"]])
    if family == "mpnet":  # its class adds a bias by the index in the sequence, ours goes by the positions
        index = range(len(positions))
        inputs["attention_mask"] = inputs["attention_mask"] + _mpnet_bias(model, positions) - _mpnet_bias(model, index)
    first = model.config.pad_token_id + 1 if family in ("roberta", "xlm-roberta") else 0
    first = 2 if family == "mpnet" else first
    inputs["position_ids"] = torch.tensor([positions]) + first
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([layout["input_ids"]]), **inputs).logits[0]
    config = tiny_model(family).config
    return logits[layout["option_positions"]][:, [config.yes_token_id, config.no_token_id]]


def _mpnet_bias(model: PreTrainedModel, positions: Sequence[int]) -> torch.Tensor:
    """T5's buckets: one for each of 8 distances either way, then 8 on a log scale up to 128."""

    def bucket(distance: int) -> int:
        far = abs(distance)
        if far >= 8:
            far = min(15, 8 + int(math.log(far / 8) / math.log(16) * 8))
        return far + (16 if distance > 0 else 0)

    table = model.mpnet.encoder.relative_attention_bias.weight
    return torch.stack([torch.stack([table[bucket(q - p)] for q in positions]) for p in positions]).permute(2, 0, 1)[
        None
    ]


def _additive(allowed: list[list[bool]]) -> torch.Tensor:
    return torch.where(torch.tensor([[allowed]]), 0.0, torch.finfo(torch.float32).min)


@cache
def plain_masked_lm(family: str) -> PreTrainedModel:
    """transformers' own class with the weights of `tiny_model`."""
    model = tiny_model(family, "eager")
    plain = MODEL_FOR_MASKED_LM_MAPPING[type(model.config.text_config)](model.config.text_config).eval()
    plain.load_state_dict(model.state_dict())
    if family == "albert":  # the reference's head has PyTorch's epsilon
        plain.predictions.LayerNorm.eps = 1e-5
    return plain
