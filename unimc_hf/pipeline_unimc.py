"""`UniMCZeroShotPipeline`: `pipeline("unimc-zero-shot")`, from texts and labels to sorted labels and scores.

A call is read top to bottom: the arguments become requests (`pipeline_inputs`), a window of requests is encoded in
one tokenizer call (`preprocess`), sorted by length and cut into batches of similar lengths, each batch is one
forward pass whatever the labels (`_forward`), and logits become scores (`postprocess`) in the order of the inputs.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerFast

from .configuration_unimc import UniMCConfig
from .pipeline_inputs import ClassificationRequest, RequestBuilder, check_flag, check_positive, check_threshold
from .saved_files import make_room
from .token_batches import token_batches
from .tokenization_unimc import YES_NO_WORDS, UniMCTokenizer

WINDOW = 512  # requests that are encoded and sorted together; a stream holds no more in memory,
OPTIONS_PER_WINDOW = 65_536  # nor more options than these and one request's
SECONDS_BEFORE_PROGRESS = 5  # on a terminal, work that takes longer shows how far it is

_fork_depth = 0  # how many forks are between the process that loaded this file and this one


def _count_fork() -> None:
    global _fork_depth
    _fork_depth += 1


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_count_fork)


class UniMCZeroShotPipeline(Pipeline):
    r"""
    Zero-shot classification in one forward pass per batch, however many labels there are.

    The output contract is that of `zero-shot-classification`: a dict with `sequence`, `labels` and `scores`, best
    label first; a list of them for a list of texts, an iterator for a generator or a dataset. Permuting the labels
    changes nothing, to the last bit.

    The model inside the package, and any whose config says `prefer_bfloat16`, runs in bfloat16 on CPUs that have
    instructions for it (AVX512-BF16, AMX), unless a `dtype` is passed; others run in the precision of their file.

    Calls hold no state: any number of threads may share a pipeline. So may processes that are forked from the one that
    made it, while no call runs; PyTorch computes with one thread in each of them then.

    Example:

    ```python
    >>> import unimc_hf
    >>> from transformers import pipeline

    >>> classify = pipeline("unimc-zero-shot")
    >>> classify("Stocks fell sharply.", candidate_labels=["sports", "business"])["labels"][0]
    'business'
    ```

    Args:
        model ([`UniMCForMultipleChoice`]): the model.
        tokenizer ([`UniMCTokenizer`] or a plain fast tokenizer, *optional*): loaded from where the model came from
            if not given.
        language (`str`, *optional*): `"english"` or `"chinese"`: the words for yes and no, for checkpoints that do
            not record them. Where no model is named, the installed model of that language is taken.
        **kwargs: those of [`~transformers.Pipeline`], and defaults for the arguments of a call.

    Raises:
        ValueError: if the model is no UniMC model or of a family that UniMC does not support, if the words for yes
            and no cannot be told or are those of another language, if the model of `language` is not installed, or
            if the tokenizer is of another model: it has more tokens, or other ids for yes and no.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    tokenizer: Any
    model: Any

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast | None = None,
        *,
        language: str | None = None,
        **kwargs: Any,
    ) -> None:
        if model.config.model_type != UniMCConfig.model_type:
            UniMCConfig(text_config=model.config)  # raises with the reason where the family is not supported
            raise ValueError(f"`model` is a {type(model).__name__}; pass a UniMCForMultipleChoice.")
        if language is not None and model.config.language not in (None, language):
            model, tokenizer = self.model_of_language(model, language), None
        tokenizer = _as_unimc_tokenizer(tokenizer, model)
        if len(tokenizer) > model.config.vocab_size:
            raise ValueError(
                f"`tokenizer` has {len(tokenizer)} tokens and `model` {model.config.vocab_size}: they do not belong "
                "together."
            )
        _check_yes_no(tokenizer, model.config)
        if language is not None or model.config.yes_token_id is None:
            if language is None:
                raise ValueError(
                    "`language` is needed: this checkpoint does not record its words for yes and no. Pass "
                    "language='english' or language='chinese'."
                )
            model.config.yes_token_id, model.config.no_token_id = tokenizer.yes_no_token_ids(language)
            model.config.language = language
        if kwargs.get("batch_size") is not None:
            check_positive("batch_size", kwargs["batch_size"])
        super().__init__(model, tokenizer=tokenizer, **kwargs)  # type: ignore[arg-type]
        self._fork_depth = _fork_depth
        self.model.eval()
        is_float32_by_default = getattr(self.model, "dtype_is_auto", False) and self.model.dtype == torch.float32
        if is_float32_by_default and self.model.config.prefer_bfloat16 and is_fast_in_bfloat16(self.device):
            # Not `model.to`: ModernBERT's rotary frequencies stay in float32, as they do when a file is loaded.
            for parameter in self.model.parameters():
                parameter.data = parameter.data.to(torch.bfloat16)
            self.model.is_rounded = True  # for every pipeline that shares it

    @staticmethod
    def model_of_language(model: Any, language: str) -> Any:
        """The model of another language, where the installed package has one (`loading/installed_models.py`)."""
        raise ValueError(
            f"`language` is {language!r}, but `model` records the words for yes and no of {model.config.language!r}: "
            "leave `language` out."
        )

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = ("candidate_labels", "question", "text_pair", "hypothesis_template", "multi_label", "max_length")
        preprocess = {name: kwargs.pop(name) for name in known if name in kwargs}
        postprocess: dict[str, Any] = {}
        if "multi_label" in preprocess:
            postprocess["multi_label"] = check_flag("multi_label", preprocess["multi_label"])
        if "calibrated" in kwargs:
            postprocess["calibrated"] = check_flag("calibrated", kwargs.pop("calibrated"))
        if "threshold" in kwargs:
            threshold = kwargs.pop("threshold")
            postprocess["threshold"] = None if threshold is None else check_threshold(threshold)
        if "top_k" in kwargs:
            top_k = kwargs.pop("top_k")
            postprocess["top_k"] = None if top_k is None else check_positive("top_k", top_k)
        if kwargs:
            raise TypeError(f"UniMCZeroShotPipeline got unknown arguments: {', '.join(sorted(kwargs))}.")
        return preprocess, {}, postprocess

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Classify one text or many.

        Args:
            inputs (`str`, `dict`, or a list, generator or dataset of them): texts; or dicts with `text` and where
                wanted their own `text_pair`, `question` and `candidate_labels` (`texta`, `textb`, `question` and
                `choice`, the original implementation's names, work too).
            candidate_labels (`list[str]`, `dict[str, str]`, or a list with one of them per text): the labels, or
                labels with descriptions that the model reads as well. A comma-separated string works too.
            question (`str` or `list[str]`, *optional*): what is asked about the text.
            text_pair (`str` or `list[str]`, *optional*): a second text, e.g. a hypothesis.
            hypothesis_template (`str`, *optional*, defaults to `"{}"`): how a label is worded as an option.
            multi_label (`bool`, *optional*, defaults to `False`): `False`: one label is right and the scores are a
                softmax over the labels. `True`: each label is scored on its own by `sigmoid(yes - no)`.
            calibrated (`bool`, *optional*, defaults to `True`): whether scores are corrected by what the config
                records (`softmax_temperature`, `sigmoid_scale`, `sigmoid_bias`; nothing in published checkpoints).
                The order of the labels is the same either way.
            threshold (`float`, *optional*): drop labels that score lower, the best one too: no label means that
                none fits.
            top_k (`int`, *optional*): keep the best k labels.
            batch_size (`int`, *optional*): most texts in one forward pass. By default batches are filled by tokens.
            progress_bar (`bool`, *optional*): whether to show how far a list, a dataset or a stream is. By default
                only on a terminal, once the work on a list or a dataset has taken five seconds.
            max_length (`int`, *optional*): most tokens of text, options and question together; see
                [`UniMCTokenizer`]. By default a long menu does not count against the text.

        Returns:
            `dict` or `list[dict]` with `sequence` (`str`), `labels` (`list[str]`, best first) and `scores`
            (`list[float]`); `num_truncated_tokens` (`int`) only where a text was too long and its end was left out.

        Raises:
            TypeError, ValueError: naming the argument, before any text of a list is encoded.
        """
        if args:
            if len(args) > 1 or "candidate_labels" in kwargs:
                raise TypeError("UniMCZeroShotPipeline takes the inputs and `candidate_labels` by position, no more.")
            kwargs["candidate_labels"] = args[0]
        progress_bar = kwargs.pop("progress_bar", None)
        if progress_bar is not None:
            check_flag("progress_bar", progress_bar)
        batch_size = kwargs.pop("batch_size", None)
        batch_size = self._batch_size if batch_size is None else check_positive("batch_size", batch_size)
        kwargs.pop("num_workers", None)  # encoding is one batched call, there is nothing for workers to do
        preprocess_params, _, postprocess_params = self._sanitize_parameters(**kwargs)
        arguments = {**self._preprocess_params, **preprocess_params}
        max_length = arguments.pop("max_length", None)
        builder = self._request_builder(**arguments)

        def run(requests: Iterator[ClassificationRequest], total: int | None = None) -> Iterator[dict]:
            results = self._run(requests, batch_size, max_length, {**self._postprocess_params, **postprocess_params})
            return _with_progress(results, total, progress_bar)

        if isinstance(inputs, (str, Mapping)):
            builder.check_single()
            return next(run(builder.build([inputs]), total=1))
        if isinstance(inputs, Sequence) and not isinstance(inputs, (bytes, bytearray)):
            builder.check_size(len(inputs))
            # Every request is made, and so checked, before the first text is encoded.
            return list(run(iter(list(builder.build(inputs))), len(inputs)))
        if isinstance(inputs, Dataset) and isinstance(inputs, Sized):
            builder.check_size(len(inputs))
            return run(builder.build(inputs[i] for i in range(len(inputs))), len(inputs))
        if isinstance(inputs, Iterable) and not isinstance(inputs, (bytes, bytearray)):
            return run(builder.build(inputs))
        raise TypeError(f"`inputs` must be a string or a list of strings, got {type(inputs).__name__}.")

    def _request_builder(self, **arguments: Any) -> Any:
        # A fixed order makes scores independent of the labels' order to the last bit, in any precision.
        return RequestBuilder(**arguments, sort_options=self.model.config.is_order_invariant)

    def _run(
        self,
        requests: Iterator[ClassificationRequest],
        batch_size: int | None,
        max_length: int | None,
        postprocess_params: dict[str, Any],
    ) -> Iterator[dict]:
        for window in _windows(requests):
            features = self.preprocess(window, max_length=max_length)
            results: list[dict] = [{}] * len(window)
            for rows in token_batches([len(row) for row in features["input_ids"]], self.device.type, batch_size):
                batch = self.tokenizer.pad(
                    {name: [values[row] for row in rows] for name, values in features.items()}, return_tensors="pt"
                )
                num_truncated_tokens = batch.pop("num_truncated_tokens").tolist()
                outputs = self.forward(dict(batch))
                for i, row in enumerate(rows):
                    outputs_of_row = {
                        "request": window[row],
                        "yes_no_logits": outputs["yes_no_logits"][i],
                        "num_truncated_tokens": num_truncated_tokens[i],
                    }
                    results[row] = self.postprocess(outputs_of_row, **postprocess_params)
            yield from results

    def preprocess(self, input_: Sequence[ClassificationRequest], max_length: int | None = None) -> dict[str, list]:
        """Token ids and option structure of a window of requests, lists without padding."""
        return dict(
            self.tokenizer(
                [request.text for request in input_],
                [request.text_pair for request in input_],
                options=[request.options for request in input_],
                question=[request.question for request in input_],
                max_length=max_length,
                return_overflowing_tokens=True,
            )
        )

    def _forward(self, input_tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self._fork_depth < _fork_depth and torch.get_num_threads() > 1:
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
        """Scores of one text, best first."""
        request, config = model_outputs["request"], self.model.config
        yes, no = model_outputs["yes_no_logits"][: len(request.labels)].unbind(-1)
        if multi_label:
            margins = config.sigmoid_scale * (yes - no) + config.sigmoid_bias if calibrated else yes - no
            scores = margins.sigmoid().tolist()
        else:
            scores = (yes / config.softmax_temperature if calibrated else yes).softmax(-1).tolist()
        check_scores(scores, self.model.dtype)
        ranked = sorted(zip(request.labels, scores), key=lambda pair: -pair[1])[:top_k]
        if threshold is not None:
            ranked = [(label, score) for label, score in ranked if score >= threshold]
        result: dict[str, Any] = {
            "sequence": request.text,
            "labels": [label for label, _ in ranked],
            "scores": [score for _, score in ranked],
        }
        if model_outputs["num_truncated_tokens"]:
            result["num_truncated_tokens"] = model_outputs["num_truncated_tokens"]
        return result

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save model, tokenizer and their code, for `pipeline(model=..., trust_remote_code=True)` anywhere."""
        model = self.model
        if getattr(model, "is_rounded", False):
            # What is saved are the weights that were loaded, not those that were rounded to be fast here.
            config = copy.deepcopy(model.config)
            config.dtype = config.text_config.dtype = torch.float32
            revision = getattr(config, "_commit_hash", None)
            model = type(model).from_pretrained(model.name_or_path, config=config, revision=revision or "main")
        # Weights last: until they are there, the folder does not load.
        make_room(save_directory, **kwargs)
        self.tokenizer.save_pretrained(save_directory, **kwargs)
        model.save_pretrained(save_directory, **kwargs)


def check_scores(scores: Iterable[float], dtype: torch.dtype) -> None:
    """Raise a `ValueError` where a score is no number."""
    if not all(map(math.isfinite, scores)):
        raise ValueError(
            f"`model` gave a score that is no number: its weights hold NaN or infinite values, or overflow in {dtype}."
        )


def scores_in_order(result: dict[str, Any], options: Sequence[str]) -> list[float]:
    """The scores of a zero-shot result, which sorts its labels, in the order of `options`."""
    score = dict(zip(result["labels"], result["scores"]))
    return [score[option] for option in options]


def _windows(requests: Iterator[ClassificationRequest]) -> Iterator[list[ClassificationRequest]]:
    """Requests to encode and sort together; long menus make a window shorter, so that its memory is bounded."""
    window: list[ClassificationRequest] = []
    options = 0
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
    # `disable=None` is tqdm's way to say: only on a terminal.
    disable, delay = (None, SECONDS_BEFORE_PROGRESS) if progress_bar is None else (False, 0)
    return iter(tqdm(results, total=total, unit=" texts", disable=disable, delay=delay))


def _check_yes_no(tokenizer: UniMCTokenizer, config: Any) -> None:
    """Raise where the tokenizer has other words at the ids that the model learned yes and no by."""
    if config.yes_token_id is None or config.language not in YES_NO_WORDS:
        return
    recorded, found = (config.yes_token_id, config.no_token_id), tokenizer.yes_no_token_ids(config.language)
    if recorded != found:
        raise ValueError(
            f"`tokenizer` has the words for yes and no of `language={config.language!r}` at {found}, and `model` at "
            f"{recorded}: they do not belong together."
        )


def _as_unimc_tokenizer(tokenizer: Any, model: PreTrainedModel) -> UniMCTokenizer:
    """Where a repository is a plain one, AutoTokenizer gives a plain tokenizer, for DeBERTa-v2 even a wrong one."""
    if hasattr(tokenizer, "yes_no_token_ids"):  # not isinstance: remote code has its own copy of the class
        return tokenizer
    source = getattr(tokenizer, "name_or_path", None) or model.config.name_or_path
    if isinstance(tokenizer, str) or tokenizer is None or model.config.text_config.model_type == "deberta-v2":
        if not source:
            raise ValueError("`tokenizer` is missing, and `model` was not loaded from a folder that has one.")
        return UniMCTokenizer.from_pretrained(source)
    return UniMCTokenizer.from_plain(tokenizer)


__all__ = ["UniMCZeroShotPipeline", "scores_in_order"]
