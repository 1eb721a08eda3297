"""`UniMCTokenizer`: texts and options -> token ids and the option structure, in one batched call.

One example is laid out as

    [CLS] [MASK] option 1 [MASK] option 2 ... [SEP] question [SEP] text [SEP] (text_pair [SEP])

and described by small integers only: `option_ids` says which option a token belongs to and `option_positions` where
each option's `[MASK]` stands. The model builds positions and the attention mask from them (see `modeling_unimc`).
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoTokenizer, BatchEncoding, BertTokenizer, PreTrainedTokenizerFast
from transformers.utils import cached_file

from .option_inputs import DEFAULT_MAX_LENGTH, EncodedText, OptionInputs, check_option_inputs, lay_out
from .saved_files import write_code

# The words that a published model was trained to write at a right and at a wrong option.
YES_NO_WORDS = {"english": ("yes", "no"), "chinese": ("是", "非")}
WORD_START = "▁"


class UniMCTokenizer(PreTrainedTokenizerFast):
    r"""
    A fast tokenizer of any supported backbone that also encodes multiple-choice examples.

    Called with `options` it builds the UniMC layout; called without, it is the plain tokenizer. User text is always
    text: a literal `[MASK]` or `[SEP]` in it is split like any other word (the original implementation let it
    become the real token; pass `split_special_tokens=False` for that). Options are never cut, only the end of the
    text is, and `return_overflowing_tokens=True` reports by how many tokens.

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
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *inputs: Any, **kwargs: Any
    ) -> UniMCTokenizer:
        """Load a saved `UniMCTokenizer`, or turn the tokenizer of a plain masked-LM repository into one.

        Raises:
            ValueError: if the tokenizer found there has no `[CLS]`, `[SEP]`, `[MASK]` or `[PAD]` token, or is not a
                fast one.
        """
        from transformers.models.auto.tokenization_auto import get_tokenizer_config

        hub = {k: v for k, v in kwargs.items() if k in _HUB_ARGUMENTS}
        saved_as = get_tokenizer_config(pretrained_model_name_or_path, **hub).get("tokenizer_class")
        if saved_as == "UniMCTokenizer":
            return super().from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs)
        if kwargs.pop("_from_auto", None):
            # AutoTokenizer was led here by the model: asking it again would not end.
            return cls.from_plain(PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, **kwargs))
        has_only_vocab_txt = saved_as is None and _has_only_vocab_txt(pretrained_model_name_or_path, **hub)
        # The published DeBERTa-v2 checkpoints have BERT's word pieces, which their model_type does not tell.
        loader: Any = BertTokenizer if has_only_vocab_txt else AutoTokenizer
        return cls.from_plain(loader.from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs))

    @classmethod
    def from_plain(cls, tokenizer: PreTrainedTokenizerFast) -> UniMCTokenizer:
        """The `UniMCTokenizer` with the vocabulary, normaliser and special tokens of a plain fast tokenizer.

        Raises:
            ValueError: if it is not a fast tokenizer, or lacks one of the special tokens that the layout needs.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(f"`tokenizer` is a {type(tokenizer).__name__}; UniMC needs a fast tokenizer.")
        for name in ("cls_token", "sep_token", "mask_token", "pad_token"):
            if getattr(tokenizer, name, None) is None:
                raise ValueError(f"`tokenizer` has no {name}, which the UniMC layout needs.")
        converted = cls(
            tokenizer_object=tokenizer.backend_tokenizer,
            model_max_length=tokenizer.model_max_length,
            padding_side=tokenizer.padding_side,
            truncation_side=tokenizer.truncation_side,
            clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
            **tokenizer._special_tokens_map,
        )
        converted.name_or_path = tokenizer.name_or_path
        return converted

    def yes_no_token_ids(self, language: str) -> tuple[int, int]:
        """The ids of the words for right and wrong in `language` (`"english"` or `"chinese"`).

        Raises:
            ValueError: if the language is another one, or if a word is not a single known token of this vocabulary.
        """
        if language not in YES_NO_WORDS:
            raise ValueError(f"`language` must be one of {sorted(YES_NO_WORDS)}, got {language!r}.")
        yes, no = (self._single_token_id(word, language) for word in YES_NO_WORDS[language])
        return yes, no

    def _single_token_id(self, word: str, language: str) -> int:
        tokens = self.tokenize(word)
        if len(tokens) == 2 and tokens[0] == WORD_START:
            tokens = tokens[1:]
        if len(tokens) != 1 or tokens[0] == self.unk_token:
            raise ValueError(
                f"The word {word!r} of `language={language!r}` is not one token of this vocabulary: it becomes "
                f"{tokens}. Is the model of another language?"
            )
        return self.get_vocab()[tokens[0]]

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        *args: Any,
        options: Sequence[str] | Sequence[Sequence[str]] | None = None,
        question: str | Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """With `options`, [`~UniMCTokenizer.encode_options`]; without, the plain tokenizer of the backbone.

        Raises:
            ValueError: if there is a `question` but no `options`.
        """
        if options is None:
            if question is not None:
                raise ValueError("`question` was given without `options`.")
            return super().__call__(text, text_pair, *args, **kwargs)
        if args:
            raise TypeError("With `options`, only `text` and `text_pair` may be passed by position.")
        return self.encode_options(text, text_pair, options=options, question=question, **kwargs)

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
            text_pair (`str` or `list[str]`, *optional*): a second text after the first, e.g. a hypothesis.
            options (`list[str]` or `list[list[str]]`): the options of every example, or one list per example.
            question (`str` or `list[str]`, *optional*): a question before the text; `None` or `""` for none.
            max_length (`int`, *optional*, defaults to 512): most tokens an example may have. With `None`
                it is 512 (or what the model has positions for, if fewer) and grows by what a menu takes over half
                of that, so that a long menu does not cost the text. Options restart their positions, so the
                model takes such a sequence.
            padding, pad_to_multiple_of, padding_side, return_tensors: as in transformers.
            truncation (`bool`, *optional*, defaults to `True`): `False` to raise instead of cutting the text.
            return_overflowing_tokens (`bool`, *optional*, defaults to `False`): also return `num_truncated_tokens`,
                how many tokens of the text were cut, `int64` of shape `(batch_size,)`.
            split_special_tokens (`bool`, *optional*, defaults to `True`): `False` makes a special token written in
                the text the real one, as the original implementation does.

        Returns:
            [`BatchEncoding`] with `input_ids`, `attention_mask`, `token_type_ids` (1 on the options and the `[SEP]`
            that closes them), `option_ids` (0 outside options, k for option k), all `int64` of shape
            `(batch_size, sequence_length)`, and `option_positions`, `int64` of shape `(batch_size, num_choices)`,
            the index of each option's `[MASK]`, 0 where an example has fewer options than its batch mates. For one
            text without `return_tensors` the lists have no batch dimension.

        Raises:
            TypeError: if an argument is not text, or not a list of texts where one belongs.
            ValueError: if `options` is empty or repeats an option, if lengths do not match, or if options and
                question leave no room for the text in `max_length` tokens.
        """
        inputs = check_option_inputs(text, text_pair, options, question, max_length)
        features = self._encode_options(
            inputs,
            max_length=max_length,
            truncation=truncation not in (False, None, "do_not_truncate"),
            split_special_tokens=split_special_tokens,
        )
        if not return_overflowing_tokens:
            del features["num_truncated_tokens"]
        if not inputs.is_batched and return_tensors is None:
            features = {name: rows[0] for name, rows in features.items()}
        return self.pad(
            features,
            padding=padding,
            max_length=max_length if padding == "max_length" else None,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_tensors=return_tensors,
        )

    def _encode_options(
        self, inputs: OptionInputs, max_length: int | None, truncation: bool, split_special_tokens: bool
    ) -> dict[str, list]:
        """Lists per example; every distinct string is tokenised once, however many examples share it."""
        distinct = list(dict.fromkeys(inputs.strings()))
        backend = self._text_backend() if split_special_tokens else self._bare_backend()
        encodings = backend.encode_batch(distinct, add_special_tokens=False)
        ids: EncodedText = {string: encoding.ids for string, encoding in zip(distinct, encodings)}
        positions = self.model_max_length if self.model_max_length < 10**6 else DEFAULT_MAX_LENGTH
        special = (self.cls_token_id, self.mask_token_id, self.sep_token_id)
        return lay_out(inputs, ids, special, max_length, positions, truncation)

    def _bare_backend(self) -> Any:
        backend = copy.deepcopy(self.backend_tokenizer)
        backend.no_padding()
        backend.no_truncation()
        return backend

    def _text_backend(self) -> Any:
        # A copy of its own, made once: flags set on the shared backend would race between threads.
        cached = self.__dict__.get("_text_backend_cache")
        if cached is None or cached[0] != len(self):
            backend = _without_special_pieces(self._bare_backend())
            backend.encode_special_tokens = True
            cached = (len(self), backend)
            self.__dict__["_text_backend_cache"] = cached
        return cached[1]

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
        """As in transformers, and `option_positions` are padded with 0 to the longest menu of the batch."""
        arguments: dict[str, Any] = dict(
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=return_attention_mask,
            verbose=verbose,
        )
        if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs:
            encoded_inputs = {name: [row[name] for row in encoded_inputs] for name in encoded_inputs[0]}
        if "option_positions" not in encoded_inputs:
            return super().pad(encoded_inputs, return_tensors=return_tensors, **arguments)

        inputs = {name: _to_lists(values) for name, values in encoded_inputs.items()}
        extra = {name: inputs.pop(name) for name in ("option_positions", "num_truncated_tokens") if name in inputs}
        is_batch = len(inputs["input_ids"]) > 0 and isinstance(inputs["input_ids"][0], (list, tuple))

        def rows_of(values: Any) -> list:
            return values if is_batch else [values]

        lengths = [len(row) for row in rows_of(inputs["input_ids"])]
        batch = BatchEncoding(dict(super().pad(inputs, **arguments)))  # of no examples, it gives a plain dict
        if padding not in (False, "do_not_pad"):
            left = (padding_side or self.padding_side) == "left"
            shifts = [len(row) - length if left else 0 for row, length in zip(rows_of(batch["input_ids"]), lengths)]
            rows = [[p and p + shift for p in row] for row, shift in zip(rows_of(extra["option_positions"]), shifts)]
            num_choices = max(map(len, rows))
            rows = [row + [0] * (num_choices - len(row)) for row in rows]
            extra["option_positions"] = rows if is_batch else rows[0]
        batch.update(extra)
        return batch.convert_to_tensors(return_tensors)

    def _pad(self, encoded_inputs: Any, *args: Any, **kwargs: Any) -> dict:
        option_ids = encoded_inputs.get("option_ids")
        padded = super()._pad(encoded_inputs, *args, **kwargs)
        if option_ids is not None:
            filler = [0] * (len(padded["input_ids"]) - len(option_ids))
            left = (kwargs.get("padding_side") or self.padding_side) == "left"
            padded["option_ids"] = filler + option_ids if left else option_ids + filler
        return padded

    def _save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        write_code(save_directory, self.name_or_path, getattr(self, "_commit_hash", None))  # before an upload
        return super()._save_pretrained(save_directory, *args, **kwargs)

    def __deepcopy__(self, memo: dict) -> UniMCTokenizer:
        clone = object.__new__(type(self))
        memo[id(self)] = clone
        clone.__dict__.update(
            {k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k != "_text_backend_cache"}
        )
        return clone


_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def _has_only_vocab_txt(pretrained_model_name_or_path: str | os.PathLike, **hub: Any) -> bool:
    def has(name: str) -> bool:
        found = cached_file(pretrained_model_name_or_path, name, _raise_exceptions_for_missing_entries=False, **hub)
        return found is not None

    return has("vocab.txt") and not any(map(has, ("tokenizer.json", "spiece.model", "spm.model")))


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


__all__ = ["UniMCTokenizer"]
