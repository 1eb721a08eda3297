"""`UniMCDecisionPipeline`: `pipeline("unimc-decision")`, typed questions about a state, on any version of transformers.

The requests and answers are those of transformers' own `decision` pipeline; the questions of all requests are
batched, encoded and scored together, by the pipeline for zero-shot classification.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .decision_requests import DecisionRequest, DecisionRequestBuilder
from .pipeline_inputs import ClassificationRequest, check_flag
from .pipeline_unimc import UniMCZeroShotPipeline, scores_in_order


class UniMCDecisionPipeline(UniMCZeroShotPipeline):
    r"""
    Answers typed questions about a state with a probability for every option.

    The order of the options changes nothing: the model reads them in one order, however they are passed.

    Example:

    ```python
    >>> import unimc_hf
    >>> from transformers import pipeline

    >>> decide = pipeline("unimc-decision")
    >>> request = {
    ...     "state": "I was charged twice for my order and want a refund.",
    ...     "questions": {
    ...         "topic": {"type": "choice", "criteria": {"billing": "payments and refunds", "delivery": None}},
    ...         "refund": {"type": "noul", "instructions": "Does the customer want a refund?"},
    ...     },
    ... }
    >>> decide(request)["topic"]["choice"]
    'billing'
    ```

    Args: those of [`UniMCZeroShotPipeline`].
    """

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess: dict[str, Any] = {name: kwargs.pop(name) for name in ("questions", "max_length") if name in kwargs}
        postprocess: dict[str, Any] = {}
        if "calibrated" in kwargs:
            postprocess["calibrated"] = check_flag("calibrated", kwargs.pop("calibrated"))
        if kwargs:
            raise TypeError(f"UniMCDecisionPipeline got unknown arguments: {', '.join(sorted(kwargs))}.")
        return preprocess, {}, postprocess

    def __call__(self, inputs: Any, questions: Any = None, **kwargs: Any) -> Any:
        """
        Answer one request or many.

        Args:
            inputs (`dict`, `str`, or a list, generator or dataset of them): requests `{"state": ..., "questions":
                {name: question}}` or their JSON. A question has a `type`, `instructions` (what is asked) and
                `criteria`: for `choice` a dict of options and their descriptions (or `None`), for `score` a list of
                levels, lowest first, for `noul` optionally a dict that describes `"true"` and `"false"`. State,
                instructions and descriptions are strings, or dicts and lists that are read as text.
            questions (`dict`, *optional*): the questions about every input, which is a state then.
            calibrated, max_length, batch_size, progress_bar: as in [`UniMCZeroShotPipeline`].

        Returns:
            `dict` or `list[dict]`: question name -> answer, in the format of transformers' `decision` pipeline (see
            [`~unimc_hf.decision_requests.DecisionQuestion.answer`]). An iterator for a generator or a dataset.

        Raises:
            ValueError: listing every question that is wrong, before any request of a list is encoded.
        """
        if questions is not None:
            kwargs["questions"] = questions
        return super().__call__(inputs, **kwargs)

    def _request_builder(self, **arguments: Any) -> Any:
        return DecisionRequestBuilder(language=self.model.config.language, **arguments)

    def _run(self, requests: Any, *args: Any) -> Iterator[dict]:
        waiting: deque[DecisionRequest] = deque()  # requests of which questions are being answered

        def menus() -> Iterator[ClassificationRequest]:
            for request in requests:
                waiting.append(request)
                yield from request.classifications()

        results = super()._run(menus(), *args)
        for first in results:
            questions = waiting.popleft().questions
            answers = {}
            for question, result in zip(questions, [first, *islice(results, len(questions) - 1)]):
                question.num_truncated_tokens = result.get("num_truncated_tokens", 0)
                answers[question.name] = question.answer(scores_in_order(result, question.options))
            yield answers


__all__ = ["UniMCDecisionPipeline"]
