"""`UniMCZeroShotPipeline`: `pipeline("unimc-zero-shot")`, from texts and labels to sorted labels and scores.

A call is read top to bottom: arguments become requests (`pipeline_inputs`), a window of them is encoded in one
tokenizer call (`preprocess`) and cut into batches of similar lengths (`token_batches`), each batch is one forward pass
whatever the labels (`_forward`), and logits become scores (`postprocess`) in the order of the inputs.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset
from tqdm.auto import tqdm
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerFast

from .pipeline_inputs import ClassificationRequest, RequestBuilder, as_list, check_settings
from .token_batches import text_windows, token_batches

WINDOW, OPTIONS_PER_WINDOW = 512, 65_536  # requests, and options, that are encoded together: most of a stream in memory
SECONDS_BEFORE_PROGRESS = 5  # on a terminal, work that takes longer shows how far it is

_forks: list[bool] = []  # not empty in a process that was forked from one that had loaded this file
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=lambda: _forks.append(True))


class UniMCZeroShotPipeline(Pipeline):
    r"""
    Zero-shot classification in one forward pass per batch, called and answering as `zero-shot-classification` is.

    Permuting the labels changes nothing, to the last bit (but for DeBERTa-v2). On CPUs with instructions for bfloat16
    (AVX512-BF16, AMX), the model inside the package, and any whose config says `prefer_bfloat16`, runs in it unless a
    `dtype` is passed. Calls hold no state: threads may share a pipeline, and so may processes that are forked while no
    call runs (PyTorch computes with one thread in each of them).

    Example:

    ```python
    >>> classify = pipeline("unimc-zero-shot")
    >>> classify("Stocks fell sharply.", candidate_labels=["sports", "business"])["labels"][0]
    'business'
    ```

    Args:
        model ([`UniMCForMultipleChoice`]): the model.
        tokenizer ([`UniMCTokenizer`] or a plain fast tokenizer, *optional*): by default from where the model is from.
        language (`str`, *optional*): `"english"` or `"chinese"`: the words for yes and no, for checkpoints that do
            not record them. Where no model is named, the installed model of that language is taken.
        **kwargs: those of [`~transformers.Pipeline`], and defaults for a call's arguments but `progress_bar`.

    Raises:
        ValueError: if the model is no UniMC model, if the words for yes and no are not known or not those of
            `language`, if the model of `language` is not installed, or if the tokenizer is of another model.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    tokenizer: Any
    model: Any

    # The arguments of a call that make requests, encode them, and make answers.
    request_arguments: tuple[str, ...] = ("candidate_labels", "question", "text_pair", "hypothesis_template")
    encoding_arguments: tuple[str, ...] = ("max_length", "stride")
    answer_arguments: tuple[str, ...] = ("multi_label", "calibrated", "threshold", "top_k")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast | None = None,
        *,
        language: str | None = None,
        **kwargs: Any,
    ) -> None:
        model, tokenizer = self.complete(model, tokenizer, language)
        check_settings(kwargs)
        super().__init__(model, tokenizer=tokenizer, **kwargs)  # type: ignore[arg-type]
        self.model.eval()
        is_float32_by_default = getattr(self.model, "dtype_is_auto", False) and self.model.dtype == torch.float32
        if is_float32_by_default and self.model.config.prefer_bfloat16 and is_fast_in_bfloat16(self.device):
            # Not `model.to`: ModernBERT's rotary frequencies stay in float32, as they do when a file is loaded.
            for parameter in self.model.parameters():
                parameter.data = parameter.data.to(torch.bfloat16)
            self.model.is_rounded = True  # for every pipeline that shares it

    @staticmethod
    def complete(model: Any, tokenizer: Any = None, language: str | None = None) -> tuple[Any, Any]:
        """Model and tokenizer as they were saved; the installed package does more (`loading/pipeline_parts.py`)."""
        if language not in (None, model.config.language):
            raise ValueError(f"`language` is {language!r}, but `model` is of {model.config.language!r}: leave it out.")
        if not hasattr(tokenizer, "yes_no_token_ids"):
            raise ValueError(f"`tokenizer` is a {type(tokenizer).__name__}: pass the UniMCTokenizer of the model.")
        return model, tokenizer

    @staticmethod
    def make_room(save_directory: Any, model: Any, **kwargs: Any) -> None:
        """What the installed package does before a save (`loading/safe_saves.py`)."""

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before = {*self.request_arguments, *self.encoding_arguments}
        if unknown := sorted(kwargs.keys() - before - set(self.answer_arguments)):
            raise TypeError(f"{type(self).__name__} got unknown arguments: {', '.join(unknown)}.")
        preprocess = {name: value for name, value in kwargs.items() if name in before}
        return preprocess, {}, {name: value for name, value in kwargs.items() if name not in before}

    def __call__(
        self, inputs: Any = None, candidate_labels: Any = None, *, sequences: Any = None, **kwargs: Any
    ) -> Any:
        """
        Classify one text or many.

        For a list a tuple, a set (sorted first), a NumPy array, a pandas Series or a data set's column will do, too.

        Args:
            inputs (`str`, `dict`, or a list, generator or dataset of them): texts; or dicts with `text` and where
                wanted their own `text_pair`, `question` and `candidate_labels` (`texta`, `textb`, `question` and
                `choice`, the original implementation's names, work too).
            candidate_labels (`list[str]`, `dict`, or a list with one of them per text): labels; labels with
                descriptions that the model reads as well, `{"red": "a colour"}`; or groups, `{"sport": ["football",
                "tennis"]}`, of which the model reads "sport: football". A comma-separated string works too.
            sequences: another name for `inputs`.
            question (`str` or `list[str]`, *optional*): what is asked about the text.
            text_pair (`str` or `list[str]`, *optional*): a second text, e.g. a hypothesis.
            hypothesis_template (`str`, *optional*, defaults to `"{}"`): how a label is worded as an option.
            multi_label (`bool`, *optional*, defaults to `False`): `False`: one label is right and the scores are a
                softmax over the labels. `True`, or one label only: each is scored on its own by `sigmoid(yes - no)`.
            calibrated (`bool`, *optional*, defaults to `True`): whether scores are corrected by what the config
                records; the order of the labels is the same either way.
            threshold (`float`, *optional*): drop labels that score lower: no label means that none fits.
            top_k (`int`, *optional*): keep the best k labels.
            batch_size (`int`, *optional*): most texts in one forward pass. By default batches are filled by tokens.
            progress_bar (`bool`, *optional*): whether to show how far a list, a dataset or a stream is. By default
                only on a terminal, once the work on a list or a dataset has taken five seconds.
            max_length (`int`, *optional*): most tokens of text, options and question together; see
                [`UniMCTokenizer`]. By default a long menu does not count against the text.
            stride (`int`, *optional*): read a text that does not fit in windows that share so many tokens, each with
                the question, the options and `text_pair`, and average their logits. By default its end is cut.

        Returns:
            `dict`, `list[dict]` or, of a stream, an iterator, with `sequence` (`str`), `labels` (`list[str]`, best
            first; one that two groups have is "group: label") and `scores` (`list[float]`). With groups, `groups`
            (`list[str]`, best first), `group_scores` (`list[float]`: sums of all their labels, with `multi_label` the
            best). Of a text too long `num_truncated_tokens` (`int`) that were cut, or `num_windows` (`int`) read.

        Raises:
            TypeError, ValueError: naming the argument, before any text of a list is encoded; where a text, its
                options or `stride` do not fit, before the model reads it.
        """
        if sequences is not None and inputs is not None:
            raise TypeError("`sequences` is another name for `inputs`: pass one of them.")
        inputs = sequences if inputs is None else inputs
        if candidate_labels is not None:
            kwargs["candidate_labels"] = candidate_labels
        check_settings(kwargs)
        progress_bar = kwargs.pop("progress_bar", None)
        batch_size = kwargs.pop("batch_size", None) or self._batch_size
        kwargs.pop("num_workers", None)  # encoding is one batched call, there is nothing for workers to do
        preprocess, _, postprocess = self._sanitize_parameters(**kwargs)
        arguments = {**self._preprocess_params, **preprocess}
        encoding = {name: arguments.pop(name, None) for name in self.encoding_arguments}

        is_one = isinstance(inputs, (str, Mapping))
        texts = [inputs] if is_one else as_list(inputs)
        size, stream = (None, inputs) if texts is None else (len(texts), texts)
        if isinstance(inputs, Dataset) and not isinstance(inputs, IterableDataset) and isinstance(inputs, Sized):
            size, stream = len(inputs), (inputs[i] for i in range(len(inputs)))
        elif not isinstance(stream, Iterable) or isinstance(stream, (bytes, bytearray)) or hasattr(stream, "columns"):
            raise TypeError(f"`inputs` must be a string or a list of strings, got {type(inputs).__name__}.")
        requests = self._requests(stream, size, is_one, **arguments)
        if texts is not None:
            requests = iter(list(requests))  # every one is made, and so checked, before the first text is encoded
        results = self._run(requests, batch_size, encoding, {**self._postprocess_params, **postprocess})
        if is_one:
            return next(results)
        results = _with_progress(results, size, progress_bar)
        return results if texts is None else list(results)

    def _requests(self, inputs: Iterable[Any], size: int | None, is_one: bool, **arguments: Any) -> Iterator[Any]:
        """Check the arguments now, and the inputs as their requests are taken. `size`: how many, if that is known."""
        # A fixed order makes scores independent of the labels' order to the last bit, in any precision.
        builder = RequestBuilder(**arguments, sort_options=self.model.config.is_order_invariant)
        builder.check_size(size, is_one)
        if is_one and inputs == [""]:
            raise ValueError("`inputs` is an empty text: there is nothing to classify.")
        return builder.build(inputs, is_one)

    def _run(self, requests: Iterator[Any], batch_size: int | None, encoding: dict, answering: dict) -> Iterator[dict]:
        for window in _windows(requests):
            features = self.preprocess(window, **encoding)
            owners = features.pop("owners")
            logits: list[Any] = [None] * len(owners)
            for rows in token_batches([len(row) for row in features["input_ids"]], self.device.type, batch_size):
                lists = {name: [values[row] for row in rows] for name, values in features.items()}
                batch = self.tokenizer.pad(lists, return_tensors="pt")
                del batch["num_truncated_tokens"]
                for row, outputs in zip(rows, self.forward(dict(batch))["yes_no_logits"]):
                    logits[row] = outputs[: len(window[owners[row]].labels)]
            for owner, group in groupby(range(len(owners)), owners.__getitem__):
                rows = list(group)
                outputs = {
                    "request": window[owner],
                    "yes_no_logits": torch.stack([logits[row] for row in rows]).mean(0),
                    "num_truncated_tokens": sum(features["num_truncated_tokens"][row] for row in rows),
                    "num_windows": len(rows),
                }
                yield self.postprocess(outputs, **answering)

    def preprocess(
        self, input_: Sequence[ClassificationRequest], max_length: int | None = None, stride: int | None = None
    ) -> dict[str, list]:
        """Token ids and option structure of requests, lists without padding; `owners`: of which request a row is."""
        features = dict(
            self.tokenizer(
                [request.text for request in input_],
                [request.text_pair for request in input_],
                options=[request.options for request in input_],
                question=[request.question for request in input_],
                max_length=max_length,
                return_overflowing_tokens=True,
            )
        )
        owners = list(range(len(input_)))
        if stride is not None and any(features["num_truncated_tokens"]):
            rows = []
            for owner, excess in enumerate(features["num_truncated_tokens"]):
                text = input_[owner].text
                pieces = text_windows(text, excess, stride, self._spans_of) if excess else [text]
                rows += [(owner, replace(input_[owner], text=piece)) for piece in pieces]
            features = self.preprocess([request for _, request in rows], max_length)
            owners = [owner for owner, _ in rows]
        return {**features, "owners": owners}

    def _spans_of(self, text: str) -> list[tuple[int, int]]:
        # Not a call of the tokenizer: that one sets flags that threads share, and reads words like `[SEP]` otherwise.
        return self.tokenizer._text_backend()[0].encode(text, add_special_tokens=False).offsets

    def _forward(self, input_tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if _forks and torch.get_num_threads() > 1:
            # OpenMP's threads stay behind in the process that was forked: waiting for them would never end.
            torch.set_num_threads(1)
        return {"yes_no_logits": self.model(**input_tensors).yes_no_logits.float()}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        multi_label: bool = False,
        calibrated: bool = True,
        threshold: float | None = None,
        top_k: int | None = None,
    ) -> dict[str, Any]:
        """The answer about one text: `yes_no_logits` are its own, float32 of shape `(number of labels or more, 2)`."""
        request, config = model_outputs["request"], self.model.config
        yes, no = model_outputs["yes_no_logits"][: len(request.labels)].unbind(-1)
        if multi_label or len(request.labels) == 1:
            margins = config.sigmoid_scale * (yes - no) + config.sigmoid_bias if calibrated else yes - no
            scores = margins.sigmoid().tolist()
        else:
            scores = (yes / config.softmax_temperature if calibrated else yes).softmax(-1).tolist()
        check_scores(scores, self.model.dtype)
        ranked = [pair for pair in _ranked(zip(request.labels, scores))[:top_k] if pair[1] >= (threshold or 0)]
        result: dict[str, Any] = {
            "sequence": request.text,
            "labels": [label for label, _ in ranked],
            "scores": [score for _, score in ranked],
        }
        if request.groups:
            members: dict[str, list[float]] = {group: [] for group in request.groups}
            for group, score in zip(request.groups, scores):
                members[group].append(score)
            # `fsum` gives the same in any order; of rounded scores the sum may be a little above 1.
            total = max if multi_label else lambda of_group: min(1.0, math.fsum(of_group))
            groups = _ranked((group, total(of_group)) for group, of_group in members.items())
            result["groups"], result["group_scores"] = [group for group, _ in groups], [score for _, score in groups]
        if model_outputs["num_truncated_tokens"]:
            result["num_truncated_tokens"] = model_outputs["num_truncated_tokens"]
        if model_outputs.get("num_windows", 1) > 1:
            result["num_windows"] = model_outputs["num_windows"]
        return result

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save model, tokenizer and their code, for `pipeline(model=..., trust_remote_code=True)` anywhere."""
        model = self.model
        if getattr(model, "is_rounded", False):
            # What is saved are the weights that were loaded, not those that were rounded to be fast here.
            config = copy.deepcopy(model.config)
            config.dtype = config.text_config.dtype = torch.float32
            revision = getattr(config, "_commit_hash", None)
            try:
                loaded = type(model).from_pretrained(model.name_or_path, config=config, revision=revision or "main")
                pairs = zip(model.parameters(), loaded.parameters(), strict=True)
                if all(torch.equal(now, old.to(now)) for now, old in pairs):
                    model = loaded  # else they were trained since
            except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:  # gone, resized or wrapped
                warnings.warn(f"Saved in {model.dtype}: {model.name_or_path!r} does not load: {error}", stacklevel=2)
        save_model = model.save_pretrained  # an exported model has none: say so before anything is deleted
        # Weights last: until they are there, the folder does not load.
        self.make_room(save_directory, model, **kwargs)
        self.tokenizer.save_pretrained(save_directory, **kwargs)
        save_model(save_directory, **kwargs)


def check_scores(scores: Iterable[float], dtype: torch.dtype) -> None:
    """Raise a `ValueError` where a score is no number."""
    if not all(map(math.isfinite, scores)):
        why = f"its weights hold NaN or infinite values, or overflow in {dtype}"
        raise ValueError(f"`model` gave a score that is no number: {why}.")


def scores_in_order(result: dict[str, Any], options: Sequence[str]) -> list[float]:
    """The scores of a zero-shot result, which sorts its labels, in the order of `options`."""
    score = dict(zip(result["labels"], result["scores"]))
    return [score[option] for option in options]


def _windows(requests: Iterator[ClassificationRequest]) -> Iterator[list[ClassificationRequest]]:
    """Requests to encode and sort together; long menus make a window shorter, so that its memory is bounded."""
    window, options = [], 0
    for request in requests:
        window.append(request)
        options += len(request.options)
        if len(window) == WINDOW or options >= OPTIONS_PER_WINDOW:
            yield window
            window, options = [], 0
    if window:
        yield window


def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether this is a CPU that multiplies bfloat16 matrices in hardware; elsewhere bfloat16 is slower."""
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _with_progress(results: Iterator[dict], total: int | None, progress_bar: bool | None) -> Iterator[dict]:
    if progress_bar is False or (progress_bar is None and total in (None, 1)):
        return results
    disable, delay = (None, SECONDS_BEFORE_PROGRESS) if progress_bar is None else (False, 0)  # None: on a terminal
    return iter(tqdm(results, total=total, unit=" texts", disable=disable, delay=delay))


def _ranked(scored: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(scored, key=lambda pair: -pair[1])


__all__ = ["UniMCZeroShotPipeline", "scores_in_order"]
