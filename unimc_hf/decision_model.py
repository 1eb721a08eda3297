"""`UniMCForDecision`: a UniMC model as transformers' own `pipeline("decision", model=...)` takes it, from 5.23 on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.decision import DecisionConfig
from transformers.decision.modeling_utils import DecisionMixin

from .decision_requests import DecisionQuestion, parse_request
from .modeling_unimc import UniMCForMultipleChoice
from .token_batches import token_batches


@dataclass
class UniMCDecisionConfig(DecisionConfig):
    """Turns requests into UniMC's inputs instead of prompts. `language` decides the words for true and false."""

    language: str | None = None

    def prepare_inputs(self, request: Any, processor: Any) -> list[tuple[dict, list]]:
        """
        All questions of a request, to be scored together.

        Args:
            request (`dict` or `str`): see [`~unimc_hf.decision_requests.parse_request`].
            processor ([`UniMCTokenizer`]): the tokenizer.

        Returns:
            One pair: tensors with a row per question, and the [`DecisionQuestion`]s.
        """
        parsed = parse_request(request, self.language)
        menus = parsed.classifications()
        batch = processor(
            [menu.text for menu in menus],
            options=[menu.options for menu in menus],
            question=[menu.question for menu in menus],
            max_length=None,
            padding=True,
            return_tensors="pt",
            return_overflowing_tokens=True,
        )
        for question, count in zip(parsed.questions, batch.pop("num_truncated_tokens").tolist()):
            question.num_truncated_tokens = count
        return [(dict(batch), list(parsed.questions))]


class UniMCForDecision(UniMCForMultipleChoice, DecisionMixin):
    """
    [`UniMCForMultipleChoice`] with the method by which the `decision` pipeline of transformers scores options.

    Of `DecisionMixin` only the type is used, for which the pipeline asks; UniMC has no settings for `decision.json`.
    """

    @property
    def decision_config(self) -> UniMCDecisionConfig:
        return UniMCDecisionConfig(language=self.config.language)

    @torch.no_grad()
    def decide(
        self, decision_questions: list[DecisionQuestion], decision_config: Any = None, **inputs: torch.Tensor
    ) -> list[torch.Tensor]:
        """
        Score the options of several questions, in as few forward passes as their tokens allow.

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
            longest = lengths[rows[0]]
            batch = {
                name: values[rows] if name == "option_positions" else values[rows, :longest]
                for name, values in inputs.items()
            }
            outputs = self(**{name: values.to(self.device) for name, values in batch.items()})
            for row, logits in zip(rows, outputs.yes_no_logits[..., 0].float() / self.config.softmax_temperature):
                order = decision_questions[row].reading_order
                if not bool(logits.isfinite().all()):
                    raise ValueError("`model` gave a score that is no number: its weights hold NaN or infinite values.")
                scores[row] = logits.new_empty(len(order)).index_copy(
                    0, torch.tensor(order, device=logits.device), logits[: len(order)]
                )
        return scores


__all__ = ["UniMCDecisionConfig", "UniMCForDecision"]
