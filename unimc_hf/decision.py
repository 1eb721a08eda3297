"""Typed questions about a state: `pipeline("unimc-decision")`, and transformers' own `decision` pipeline (from 5.23).

Every question is a menu (`decision_requests`), which the zero-shot pipeline scores here, and the model alone there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee
from typing import Any

import torch

from .decision_requests import DecisionQuestion, parse_questions, parse_request
from .modeling_unimc import UniMCForMultipleChoice
from .pipeline_inputs import reading_order
from .pipeline_unimc import UniMCZeroShotPipeline, check_scores, scores_in_order
from .token_batches import token_batches

try:
    from transformers.decision import DecisionConfig
    from transformers.decision.modeling_utils import DecisionMixin
except ImportError:  # before 5.23, where nobody asks for `UniMCForDecision`
    DecisionConfig = DecisionMixin = object  # type: ignore[misc,assignment]


class UniMCDecisionPipeline(UniMCZeroShotPipeline):
    r"""Answers typed questions about a state with a probability for every option, in whatever order they are passed.

    Example:

    ```python
    >>> decide = pipeline("unimc-decision")
    >>> topic = {"type": "choice", "criteria": {"billing": "payments and refunds", "delivery": None}}
    >>> decide({"state": "I was charged twice and want a refund.", "questions": {"topic": topic}})["topic"]["choice"]
    'billing'
    ```
    """

    request_arguments = ("questions",)
    encoding_arguments = ("max_length",)
    answer_arguments = ("calibrated",)

    def __call__(self, inputs: Any, questions: Any = None, **kwargs: Any) -> Any:
        """Answer one request or many.

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

    def _requests(self, inputs: Iterable[Any], size: Any, is_one: bool, questions: Any = None) -> Iterator[Any]:
        language = self.model.config.language
        if questions is not None:
            parse_questions(questions, language)
            inputs = ({"state": state, "questions": questions} for state in inputs)
        return (parse_request(request, language) for request in inputs)

    def _run(self, requests: Iterator[Any], *args: Any) -> Iterator[dict]:
        requests, asked = tee(requests)
        menus = (menu for request in asked for menu in request.classifications())
        results = super()._run(menus, *args)
        for request in requests:
            answers = {}
            for question, result in zip(request.questions, results):
                question.num_truncated_tokens = result.get("num_truncated_tokens", 0)
                # One option alone is certain here; the zero-shot pipeline asks whether it is right.
                scores = [1.0] if len(question.options) == 1 else scores_in_order(result, question.options)
                answers[question.name] = question.answer(scores)
            yield answers


@dataclass
class UniMCDecisionConfig(DecisionConfig):
    """Turns requests into UniMC's inputs instead of prompts. `language` decides the words for true and false."""

    language: str | None = None

    def prepare_inputs(self, request: Any, processor: Any) -> list[tuple[dict, list]]:
        """One pair: tensors with a row per question of a request (`dict` or JSON), and the [`DecisionQuestion`]s."""
        parsed = parse_request(request, self.language)
        menus = parsed.classifications()
        batch = processor(
            [menu.text for menu in menus],
            options=[menu.options for menu in menus],
            question=[menu.question for menu in menus],
            max_length=None,
            padding=True,
            padding_side="right",  # `decide` cuts it off there
            return_tensors="pt",
            return_overflowing_tokens=True,
        )
        for question, count in zip(parsed.questions, batch.pop("num_truncated_tokens").tolist()):
            question.num_truncated_tokens = count
        return [(dict(batch), list(parsed.questions))]


class UniMCForDecision(UniMCForMultipleChoice, DecisionMixin):
    """[`UniMCForMultipleChoice`] with the method by which the `decision` pipeline of transformers scores options.

    Of `DecisionMixin` only the type is used, for which the pipeline asks; UniMC has no settings for `decision.json`.
    """

    @property
    def decision_config(self) -> UniMCDecisionConfig:
        return UniMCDecisionConfig(language=self.config.language)

    @torch.no_grad()
    def decide(
        self, decision_questions: list[DecisionQuestion], decision_config: Any = None, **inputs: torch.Tensor
    ) -> list[torch.Tensor]:
        """Score the options of several questions, in as few forward passes as their tokens allow.

        Args:
            decision_questions: one per row of the inputs.
            **inputs: of [`UniMCDecisionConfig.prepare_inputs`].

        Returns:
            One `torch.FloatTensor` per question, of shape `(number of options,)`: calibrated logits in the order of
            the request. Their softmax are the probabilities.
        """
        scores = [torch.empty(0)] * len(decision_questions)
        lengths = inputs["attention_mask"].sum(-1).tolist()
        for rows in token_batches(lengths, self.device.type):
            # No row has more options than tokens, so that this cuts padding only of `option_positions`, too.
            batch = {name: values[rows, : lengths[rows[0]]].to(self.device) for name, values in inputs.items()}
            yes_logits = self(**batch).yes_no_logits[..., 0].float() / self.config.softmax_temperature
            for row, logits in zip(rows, yes_logits):
                order = torch.tensor(reading_order(decision_questions[row].option_texts), device=logits.device)
                check_scores(logits.tolist(), self.dtype)
                scores[row] = logits.new_empty(len(order)).index_copy(0, order, logits[: len(order)])
        return scores


__all__ = ["UniMCDecisionConfig", "UniMCDecisionPipeline", "UniMCForDecision"]
