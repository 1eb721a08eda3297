"""`UniMCTokenizer`: texts and options -> token ids and the option structure, in one batched call.

One example is laid out as

    [CLS] [MASK] option 1 [MASK] option 2 ... [SEP] question [SEP] text [SEP] (text_pair [SEP])

and described by small integers only, from which the model builds positions and attention (`option_structure`).
`option_inputs` checks the strings and lays them out; this file knows the vocabulary.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from transformers import BatchEncoding, PreTrainedTokenizerFast

from .option_inputs import DEFAULT_MAX_LENGTH, check_option_inputs, lay_out
from .saved_files import write_code

# The words that a published model was trained to write at a right and at a wrong option.
YES_NO_WORDS = {"english": ("yes", "no"), "chinese": ("是", "非")}
WORD_START = "▁"
_OWN_INPUTS = ("option_ids", "option_positions", "num_truncated_tokens")  # which transformers does not know how to pad


class UniMCTokenizer(PreTrainedTokenizerFast):
    r"""
    A fast tokenizer of any supported backbone that also encodes multiple-choice examples.

    Called with `options` it builds the UniMC layout; called without, it is the plain tokenizer. User text is always
    text: a literal `[MASK]` or `[SEP]` in it is split like any other word. Options are never cut, only the end of the
    text is.

    Example:

    ```python
    >>> tokenizer = UniMCTokenizer.from_pretrained("google-bert/bert-base-uncased")
    >>> batch = tokenizer("Stocks fell.", options=["sports", "business"])
    >>> tokenizer.decode(batch["input_ids"])
    '[CLS] [MASK] sports [MASK] business [SEP] stocks fell. [SEP]'
    >>> batch["option_ids"]
    [0, 1, 1, 2, 2, 0, 0, 0, 0, 0]
    >>> batch["option_positions"]
    [1, 3]
    ```
    """

    # No `__init__`: with one, transformers v5 rebuilds the backend on load and loses its normaliser.
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    _auto_class = "AutoTokenizer"

    @classmethod
    def from_plain(cls, tokenizer: PreTrainedTokenizerFast) -> UniMCTokenizer:
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

    def yes_no_token_ids(self, language: str) -> tuple[int, int]:
        """The ids of the words for right and wrong in `language` (`"english"` or `"chinese"`).

        Raises:
            ValueError: if the language is another one, or if a word is not a single known token of this vocabulary.
        """
        if language not in YES_NO_WORDS:
            raise ValueError(f"`language` must be one of {sorted(YES_NO_WORDS)}, got {language!r}.")
        ids = []
        for word in YES_NO_WORDS[language]:
            tokens = self.tokenize(word)
            tokens = tokens[1:] if len(tokens) == 2 and tokens[0] == WORD_START else tokens
            if len(tokens) != 1 or tokens[0] == self.unk_token:
                raise ValueError(
                    f"The word {word!r} of `language={language!r}` is not one token of this vocabulary: it becomes "
                    f"{tokens}. Is the model of another language?"
                )
            ids.append(self.get_vocab()[tokens[0]])
        return ids[0], ids[1]

    def __call__(
        self, text: Any = None, text_pair: Any = None, *args: Any, options: Any = None, **kwargs: Any
    ) -> BatchEncoding:
        """With `options`, [`~UniMCTokenizer.encode_options`]; without, the plain tokenizer of the backbone."""
        if options is not None:
            if args:
                raise TypeError("With `options`, only `text` and `text_pair` may be passed by position.")
            return self.encode_options(text, text_pair, options=options, **kwargs)
        if kwargs.pop("question", None) is not None:
            raise ValueError("`question` was given without `options`.")
        return super().__call__(text, text_pair, *args, **kwargs)

    def encode_options(
        self,
        text: str | Sequence[str],
        text_pair: str | Sequence[str | None] | None = None,
        *,
        options: Sequence[str] | Sequence[Sequence[str]],
        question: str | Sequence[str | None] | None = None,
        max_length: int | None = DEFAULT_MAX_LENGTH,
        padding: bool | str = False,
        truncation: bool | str = True,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_overflowing_tokens: bool = False,
        split_special_tokens: bool = True,
    ) -> BatchEncoding:
        """
        Encode one multiple-choice example or a batch of them.

        Args:
            text (`str` or `list[str]`): the passage, or one per example; may be empty.
            text_pair, question (`str` or `list[str]`, *optional*): a second text after the first, e.g. a hypothesis;
                a question before it.
            options (`list[str]` or `list[list[str]]`): the options of every example, or one list per example.
            max_length (`int`, *optional*, defaults to 512): most tokens of an example. With `None` it is 512 (or what
                the model has positions for) and grows by what a menu takes over half of that: options restart their
                positions, so a long menu need not cost the text.
            truncation (`bool`, *optional*, defaults to `True`): `False` to raise instead of cutting the text.
            padding, pad_to_multiple_of, padding_side, return_tensors: as in transformers.
            return_overflowing_tokens (`bool`, *optional*, defaults to `False`): also return `num_truncated_tokens`,
                how many tokens of the text were cut, `int64` of shape `(batch_size,)`.
            split_special_tokens (`bool`, *optional*, defaults to `True`): `False` makes a special token written in
                the text the real one, as the original implementation does.

        Returns:
            [`BatchEncoding`] of `int64` `input_ids`, `attention_mask`, `token_type_ids` (1 on the options and the
            `[SEP]` that closes them) and `option_ids` (0 outside options, k for option k), of shape `(batch_size,
            sequence_length)`, and `option_positions` of shape `(batch_size, num_choices)`: the index of each option's
            `[MASK]`, 0 where there is none. One text without `return_tensors` gives lists without a batch dimension.

        Raises:
            TypeError, ValueError: as `check_option_inputs` and `lay_out` of `option_inputs`.
        """
        inputs = check_option_inputs(text, text_pair, options, question, max_length)
        # Every distinct string is tokenised once, however many examples share it.
        menus = dict.fromkeys(inputs.options)
        strings = list(dict.fromkeys(chain(*menus, inputs.questions, inputs.texts, inputs.text_pairs)))
        backend = self._text_backend() if split_special_tokens else self._bare_backend()
        encodings = backend.encode_batch(strings, add_special_tokens=False)
        features = lay_out(
            inputs,
            ids={string: encoding.ids for string, encoding in zip(strings, encodings)},
            special=(self.cls_token_id, self.mask_token_id, self.sep_token_id),
            max_length=max_length,
            model_max_length=self.model_max_length if self.model_max_length < 10**6 else DEFAULT_MAX_LENGTH,
            truncation=truncation not in (False, None, "do_not_truncate"),
        )
        if not return_overflowing_tokens:
            del features["num_truncated_tokens"]
        if not inputs.is_batched and return_tensors is None:
            features = {name: rows[0] for name, rows in features.items()}
        limit = max_length if padding == "max_length" else None
        return self.pad(features, padding, limit, pad_to_multiple_of, padding_side, return_tensors=return_tensors)

    def _bare_backend(self) -> Any:
        backend = copy.deepcopy(self.backend_tokenizer)
        backend.no_padding()
        backend.no_truncation()
        return backend

    def _text_backend(self) -> Any:
        # A copy of its own, made once: flags set on the shared backend would race between threads.
        size, backend = self.__dict__.get("_text_backend_cache", (None, None))
        if size != len(self):
            backend = _without_special_pieces(self._bare_backend())
            backend.encode_special_tokens = True
            self.__dict__["_text_backend_cache"] = (len(self), backend)
        return backend

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """As in transformers; `option_ids` are padded too, and `option_positions` to the longest menu, both with 0."""
        arguments = (padding, max_length, pad_to_multiple_of, padding_side, return_attention_mask)
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs:
            encoded_inputs = {name: [row[name] for row in encoded_inputs] for name in encoded_inputs[0]}
        if not any(name in encoded_inputs for name in _OWN_INPUTS):
            return super().pad(encoded_inputs, *arguments, return_tensors, verbose)

        inputs = {name: _to_lists(values) for name, values in encoded_inputs.items()}
        is_batch = len(inputs["input_ids"]) == 0 or isinstance(inputs["input_ids"][0], (list, tuple))
        if not is_batch:
            inputs = {name: [value] for name, value in inputs.items()}
        own = {name: inputs.pop(name) for name in _OWN_INPUTS if name in inputs}
        lengths = [len(row) for row in inputs["input_ids"]]
        batch = dict(super().pad(inputs, *arguments, None, verbose))
        if padding not in (False, "do_not_pad"):
            added = [len(row) - length for row, length in zip(batch["input_ids"], lengths)]
            is_left = (padding_side or self.padding_side) == "left"
            if "option_ids" in own:
                own["option_ids"] = [_filled(row, n, is_left) for row, n in zip(own["option_ids"], added)]
            if "option_positions" in own:
                rows = [[p and p + n * is_left for p in row] for row, n in zip(own["option_positions"], added)]
                num_choices = max(map(len, rows), default=0)
                own["option_positions"] = [_filled(row, num_choices - len(row), is_left=False) for row in rows]
        batch |= own
        batch = batch if is_batch else {name: rows[0] for name, rows in batch.items()}
        return BatchEncoding(batch).convert_to_tensors(return_tensors)

    def _save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        write_code(save_directory, self.name_or_path, getattr(self, "_commit_hash", None))  # before an upload
        return super()._save_pretrained(save_directory, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles of a backend lose `encode_special_tokens`.
        return {name: value for name, value in self.__dict__.items() if name != "_text_backend_cache"}


def _without_special_pieces(backend: Any) -> Any:
    """The backend with pieces for text only: a Unigram vocabulary holds special tokens as pieces that text can match.

    Ids stay as they are. A piece with a space in it matches nothing, because spaces have become word starts by then.
    """
    state = json.loads(backend.to_str())
    if state["model"]["type"] != "Unigram":
        return backend
    special = {token["content"] for token in state["added_tokens"] if token["special"]}
    vocabulary = state["model"]["vocab"]
    state["model"]["vocab"] = [[f" {piece} " if piece in special else piece, score] for piece, score in vocabulary]
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["special"]]
    state["post_processor"] = None  # it names special tokens, and adds none here
    return type(backend).from_str(json.dumps(state))


def _to_lists(values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        return values.tolist()
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], torch.Tensor):
        return [row.tolist() for row in values]
    return values


def _filled(row: list[int], count: int, is_left: bool) -> list[int]:
    return [0] * count + row if is_left else row + [0] * count


__all__ = ["UniMCTokenizer"]
