"""What a user may pass to the tokenizer, checked and laid out: the order of the parts, and what may be cut."""

from __future__ import annotations

from numbers import Integral
from typing import Any

DEFAULT_MAX_LENGTH = 512

# The parts of an example in the order of its tokens: options, question, text and second text; `""` is none.
Example = tuple[tuple[str, ...], str, str, str]


def check_examples(text: Any, text_pair: Any, options: Any, question: Any, max_length: int | None) -> list[Example]:
    """The arguments of a tokenizer call as examples; a `TypeError` or `ValueError` names the one that is wrong."""
    if max_length is not None and (type(max_length) is bool or not isinstance(max_length, Integral) or max_length < 1):
        raise ValueError(f"`max_length` must be a positive integer or None, got {max_length!r}.")
    is_batched = isinstance(text, (list, tuple))
    texts = [check_text("text", value) for value in (text if is_batched else [text])]
    text_pairs = _one_per_text("text_pair", text_pair, len(texts), is_batched)
    questions = _one_per_text("question", question, len(texts), is_batched)
    return list(zip(_menus(options, len(texts), is_batched), questions, texts, text_pairs))


def check_text(name: str, value: Any) -> str:
    """Raise unless `value` is a string that can be encoded as UTF-8; return it, of an `Enum` its value."""
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, got {type(value).__name__}.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"`{name}` holds a lone surrogate at character {error.start}: not valid text.") from None
    return str.__str__(value)


def check_optional_text(name: str, value: Any) -> str:
    """As [`check_text`], with `""` for `None`."""
    return "" if value is None else check_text(name, value)


def check_menu(name: str, menu: Any) -> tuple[str, ...]:
    """Raise unless `menu` is a list of different, non-empty strings; return it as a tuple."""
    if not isinstance(menu, (list, tuple)):
        raise TypeError(f"`{name}` must be a list of strings, got {type(menu).__name__}.")
    if not menu:
        raise ValueError(f"`{name}` is empty: there is nothing to choose from.")
    options = tuple(check_text(name, option) for option in menu)
    if not all(map(str.strip, options)):
        raise ValueError(f"`{name}` holds an empty option.")
    if len(set(options)) != len(options):
        repeated = next(option for option in options if options.count(option) > 1)
        raise ValueError(f"`{name}` repeats {repeated!r}: options must differ.")
    return options


def _menus(options: Any, size: int, is_batched: bool) -> list[tuple[str, ...]]:
    if not (isinstance(options, (list, tuple)) and options and isinstance(options[0], (list, tuple))):
        return [check_menu("options", options)] * size
    if not is_batched:
        raise TypeError("`options` is a list of lists but `text` is one string: pass one list of strings.")
    if len(options) != size:
        raise ValueError(f"`options` has {len(options)} lists for {size} texts.")
    distinct = {id(menu): menu for menu in options}  # examples often share one
    checked = {key: check_menu("options", menu) for key, menu in distinct.items()}
    return [checked[id(menu)] for menu in options]


def _one_per_text(name: str, value: Any, size: int, is_batched: bool) -> list[str]:
    if value is None or isinstance(value, str):
        value = [value] * size
    elif not isinstance(value, (list, tuple)) or not is_batched:
        expected = "a string or a list of strings" if is_batched else "a string, as `text` is one"
        raise TypeError(f"`{name}` must be {expected}, got {type(value).__name__}.")
    if len(value) != size:
        raise ValueError(f"`{name}` has {len(value)} entries for {size} texts.")
    return [check_optional_text(name, entry) for entry in value]


def lay_out(
    examples: list[Example],
    ids: dict[str, list[int]],
    special: tuple[int, int, int],
    max_length: int | None,
    model_max_length: int,
    truncation: bool,
) -> dict[str, list]:
    """Token ids and option structure of every example; a `ValueError` has the counts of one that does not fit.

    Args:
        ids: the token ids of every string of the examples, without special tokens.
        special: the ids of `[CLS]`, `[MASK]` and `[SEP]`.
        max_length, truncation: as in [`UniMCTokenizer.encode_options`].
        model_max_length: how many positions the model has; counts when `max_length` is `None`.
    """
    names = ("input_ids", "token_type_ids", "attention_mask", "option_ids", "option_positions", "num_truncated_tokens")
    features: dict[str, list] = {name: [] for name in names}
    sep_id = special[2]
    heads = {menu: _lay_out_menu([ids[o] for o in menu], *special) for menu in {menu for menu, *_ in examples}}
    for row, (menu, question, text, text_pair) in enumerate(examples):
        head, option_ids, option_positions = heads[menu]
        limit, room = _limits(len(head), max(len(ids[option]) for option in menu), max_length, model_max_length)
        asked, first, second = ids[question], ids[text], ids[text_pair]
        # An empty text keeps its `[SEP]`, an empty question or second text does not: so were the models trained.
        num_seps = bool(question) + 1 + bool(text_pair)
        least_of_second = min(len(second), 1) + bool(text_pair) if max_length is None else 0  # as in the reference
        if room < len(asked) + bool(question) + min(len(first), 1) + 1 + least_of_second:
            with_question = f" and a question of {len(asked)} tokens" if question else ""
            raise ValueError(
                f"`options` do not fit: {len(menu)} options take {len(head) - 2} tokens{with_question}, which leaves "
                f"{max(room, 0)} of {limit} tokens for the text. No option is cut: pass fewer or raise `max_length`."
            )
        truncated = max(0, len(asked) + len(first) + len(second) + num_seps - room)
        if truncated and not truncation:
            raise ValueError(f"Example {row} is too long: `max_length` allows {len(head) + room}, `truncation` is off.")
        if max_length is None:  # the longer of two texts loses its end first
            left = len(first) + len(second) - truncated
            kept = max(left - len(second), min(len(first), (left + 1) // 2))
            first, second = first[:kept], second[: left - kept]
        parts = [asked] * bool(question) + [first] + [second] * bool(text_pair)
        tail = [token for part in parts for token in (*part, sep_id)]
        if len(tail) > room:  # the reference cuts what is last
            tail = tail[: room - 1] + [sep_id]
        features["input_ids"].append(head + tail)
        features["token_type_ids"].append([0] + [1] * (len(head) - 1) + [0] * len(tail))
        features["attention_mask"].append([1] * (len(head) + len(tail)))
        features["option_ids"].append(option_ids + [0] * len(tail))
        features["option_positions"].append(option_positions)
        features["num_truncated_tokens"].append(truncated)
    return features


def _lay_out_menu(options: list[list[int]], cls_id: int, mask_id: int, sep_id: int) -> tuple[list[int], ...]:
    """`[CLS] [MASK] option 1 ... [SEP]` as (ids, option ids, positions of the masks)."""
    head, option_ids, positions = [cls_id], [0], []
    for number, option in enumerate(options, start=1):
        positions.append(len(head))
        head += [mask_id] + option
        option_ids += [number] * (1 + len(option))
    return head + [sep_id], option_ids + [0], positions


def _limits(head: int, longest: int, max_length: int | None, model_max_length: int) -> tuple[int, int]:
    """The most tokens of an example whose options take `head` tokens, and how many may follow these."""
    if max_length is not None:  # beyond the model's positions the last tokens share one, as in the reference
        return int(max_length), int(max_length) - head
    usual = min(DEFAULT_MAX_LENGTH, model_max_length)
    limit = usual + max(0, head - 2 - usual // 2)
    # Positions restart at every option, so only the longest one takes positions from the text.
    return limit, min(limit - head, model_max_length - 2 - (1 + longest))
