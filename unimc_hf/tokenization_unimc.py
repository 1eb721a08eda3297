"""`UniMCTokenizer`: texts and options -> token ids and the option structure, in one batched call.

One example is laid out as

    [CLS] [MASK] option 1 [MASK] option 2 ... [SEP] question [SEP] text [SEP] (text_pair [SEP])

and described by small integers only, from which the model builds positions and attention (`option_structure`).
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from itertools import chain
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerFast
from transformers.utils import to_py_obj

from .option_inputs import DEFAULT_MAX_LENGTH, check_examples, lay_out
from .saved_files import write_code

# The words that a published model was trained to write at a right and at a wrong option.
YES_NO_WORDS = {"english": ("yes", "no"), "chinese": ("是", "非")}
WORD_START = "▁"
KNOWN_OPTIONS = 10_000  # options whose ids are kept


class UniMCTokenizer(PreTrainedTokenizerFast):
    r"""A fast tokenizer of any supported backbone that also encodes multiple-choice examples.

    Called with `options` it builds the UniMC layout; called without, it is the plain tokenizer. User text is always
    text: a literal `[MASK]` or `[SEP]` in it is split like any other word. Options are never cut, the text's end is.

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

    def yes_no_token_ids(self, language: str) -> tuple[int, int]:
        """The ids of the words for right and wrong in `language` (`"english"` or `"chinese"`).

        Raises:
            ValueError: if the language is another one, or if a word is not a single known token of this vocabulary.
        """
        if language not in YES_NO_WORDS:
            raise ValueError(f"`language` must be one of {sorted(YES_NO_WORDS)}, got {language!r}.")
        ids = []
        for word in YES_NO_WORDS[language]:
            tokens = [token for token in self.tokenize(word) if token != WORD_START]
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
        """Encode one multiple-choice example or a batch of them.

        Args:
            text (`str` or `list[str]`): the passage, or one per example; may be empty.
            text_pair, question (`str` or `list[str]`, *optional*): a second text after the first; a question before it.
            options (`list[str]` or `list[list[str]]`): the options of every example, or one list per example.
            max_length (`int`, *optional*, defaults to 512): most tokens of an example. With `None` it is 512 (or what
                the model has positions for) and grows by what a menu takes over half of that: options restart their
                positions, so a long menu need not cost the text. `text` and `text_pair` are cut from the end of the
                longer one with `None`, with a number from the end of both, as by the original implementation.
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
            TypeError, ValueError: if an argument is not as above, or if what may not be cut does not fit.
        """
        examples = check_examples(text, text_pair, options, question, max_length)
        # Every distinct string is tokenised once, however many examples share it.
        menus = {options for options, *_ in examples}
        # A menu is often asked again: its ids are kept.
        backend, known = self._text_backend() if split_special_tokens else (self._bare_backend(), {})
        distinct = {*chain(*menus)}
        ids = {option: known[option] for option in distinct if option in known}
        strings = list({*distinct, *chain(*(texts for _, *texts in examples))} - ids.keys())
        encodings = backend.encode_batch(strings, add_special_tokens=False)
        ids |= {string: encoding.ids for string, encoding in zip(strings, encodings)}
        if len(known) < KNOWN_OPTIONS:
            known.update({option: ids[option] for option in distinct})
        features = lay_out(
            examples,
            ids=ids,
            special=(self.cls_token_id, self.mask_token_id, self.sep_token_id),
            max_length=max_length,
            model_max_length=self.model_max_length if self.model_max_length < 10**6 else DEFAULT_MAX_LENGTH,
            truncation=truncation not in (False, None, "do_not_truncate"),
        )
        if not return_overflowing_tokens:
            del features["num_truncated_tokens"]
        if isinstance(text, str) and return_tensors is None:
            features = {name: rows[0] for name, rows in features.items()}
        limit = max_length if padding == "max_length" else None
        padded: Any = self.pad(features, padding, limit, pad_to_multiple_of, padding_side)
        return BatchEncoding(padded, tensor_type=return_tensors)

    def _bare_backend(self) -> Any:
        backend = copy.deepcopy(self.backend_tokenizer)
        backend.no_padding()
        backend.no_truncation()
        return backend

    def _text_backend(self) -> tuple[Any, dict[str, list[int]]]:
        # A copy of its own, made once: flags set on the shared backend would race between threads.
        size, *cached = self.__dict__.get("_text_backend_cache", (None, None, {}))
        if size != len(self):
            backend = _without_special_pieces(self._bare_backend())
            backend.encode_special_tokens = True
            cached = [backend, {}]
            self.__dict__["_text_backend_cache"] = (len(self), *cached)
        return cached[0], cached[1]

    def pad(self, encoded_inputs: Any, padding: bool | str = True, *args: Any, **kwargs: Any) -> BatchEncoding:
        """As in transformers; `option_ids` are padded too, and `option_positions` to the longest menu, both with 0."""
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs:
            encoded_inputs = {name: [row[name] for row in encoded_inputs] for name in encoded_inputs[0]}
        if "option_positions" in encoded_inputs and padding not in (False, "do_not_pad"):
            rows = to_py_obj(encoded_inputs["option_positions"])
            if rows and isinstance(rows[0], list):  # not one example alone
                longest = max(map(len, rows))
                rows = [row + [0] * (longest - len(row)) for row in rows]
            encoded_inputs = {**encoded_inputs, "option_positions": rows}
        return super().pad(encoded_inputs, padding, *args, **kwargs)

    def _pad(self, encoded_inputs: Any, **kwargs: Any) -> dict:
        """What `pad` does with one example."""
        length = len(encoded_inputs["input_ids"])
        padded = super()._pad(encoded_inputs, **kwargs)
        added = [0] * (len(padded["input_ids"]) - length)
        is_left = (kwargs.get("padding_side") or self.padding_side) == "left"
        if "option_ids" in padded:
            padded["option_ids"] = added + padded["option_ids"] if is_left else padded["option_ids"] + added
        if "option_positions" in padded and is_left:
            padded["option_positions"] = [p and p + len(added) for p in padded["option_positions"]]
        return padded

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


__all__ = ["UniMCTokenizer"]
