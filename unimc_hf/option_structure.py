"""Positions and attention of the options, from the small integers that the tokenizer emits; for `option_encoder`.

Worked example, two options of one token each (`M` is `[MASK]`, `S` is `[SEP]`):

    input_ids     [CLS]  M  red  M  blue  S  sky  S
    option_ids      0    1   1   2   2    0   0   0
    position_ids    0    1   2   1   2    3   4   5

and `red` may attend to everything but `M blue`, `blue` to everything but `M red`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def find_options(
    input_ids: Tensor | None, token_type_ids: Tensor | None, option_ids: Tensor | None, option_positions: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Fill in what the caller left out: `option_ids` and `option_positions` as in [`UniMCForMultipleChoice.forward`].

    Raises:
        ValueError: if `option_ids` is missing together with one of the first two, or if an example has no option.
    """
    if option_ids is None:
        if input_ids is None or token_type_ids is None:
            raise ValueError("Pass `option_ids`, or both `input_ids` and `token_type_ids` to derive them from.")
        in_block = (token_type_ids == 1) & (token_type_ids.cumsum(1) < token_type_ids.sum(1, keepdim=True))
        # The first token of the block is a `[MASK]` by construction, so its id need not be known here.
        first = (token_type_ids == 1).int().argmax(1, keepdim=True)
        starts = in_block & (input_ids == input_ids.gather(1, first))
        option_ids = torch.where(in_block, starts.long().cumsum(1), 0)
    if option_positions is None:
        numbers = torch.arange(1, int(option_ids.max()) + 1, device=option_ids.device)
        is_option = option_ids.unsqueeze(1) == numbers.view(1, -1, 1)  # (batch_size, num_choices, length)
        option_positions = is_option.int().argmax(2)
    if not torch.compiler.is_compiling() and not bool((option_positions > 0).any(1).all()):
        raise ValueError("An example has no option: `option_positions` is 0 (or `option_ids` is) throughout a row.")
    return option_ids, option_positions


def shift_options(count: int, option_ids: Tensor, option_positions: Tensor) -> tuple[Tensor, Tensor]:
    """The structure with `count` more tokens in front: soft prompts, at position 0 like `[CLS]`, and seen by all."""
    moved = torch.where(option_positions > 0, option_positions + count, 0)
    return torch.nn.functional.pad(option_ids, (count, 0)), moved


def build_position_ids(option_ids: Tensor, option_positions: Tensor, attention_mask: Tensor) -> Tensor:
    """Position of every token, `int64` of shape `(batch_size, sequence_length)`.

    `[CLS]` is 0, every option restarts at 1, and the text goes on from the longest option.
    """
    index = torch.arange(option_ids.shape[1], device=option_ids.device).expand_as(option_ids)
    in_option = option_ids > 0
    starts = option_positions.gather(1, (option_ids - 1).clamp(min=0))
    in_option_position = torch.where(in_option, index - starts + 1, 0)
    longest = in_option_position.amax(1, keepdim=True)
    last_option = torch.where(in_option, index, 0).amax(1, keepdim=True)
    is_text = (index > last_option) & attention_mask.bool()
    return torch.where(is_text, longest + is_text.long().cumsum(1), in_option_position)


def build_attention_mask(
    option_ids: Tensor,
    attention_mask: Tensor,
    dtype: torch.dtype,
    position_ids: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """Who may attend to whom, of shape `(batch_size, 1, sequence_length, sequence_length)`, row = query.

    A token of an option sees its own option and all that is outside the options; every other token sees everything;
    nobody sees padding. With `window`, tokens see no further than that many positions either way.

    Args:
        option_ids, attention_mask, position_ids: of shape `(batch_size, sequence_length)`.
        dtype: `torch.bool` for True = may attend; a float dtype for the additive mask, 0 or `finfo.min`.
        window: largest distance in `position_ids`.
    """
    query, key = option_ids.unsqueeze(2), option_ids.unsqueeze(1)
    allowed = ((query == key) | (query == 0) | (key == 0)) & attention_mask.bool().unsqueeze(1)
    if window is not None and position_ids is not None:
        allowed &= (position_ids.unsqueeze(2) - position_ids.unsqueeze(1)).abs() <= window
    return additive_mask(allowed.unsqueeze(1), dtype)


def at_positions(states: Tensor, positions: Tensor) -> Tensor:
    """Rows `positions` `(batch_size, n)` of `states` `(batch_size, sequence_length, size)`."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def additive_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `allowed` is True and `finfo.min` where not; for `torch.bool`, `allowed` itself."""
    if dtype == torch.bool:
        return allowed
    return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)
