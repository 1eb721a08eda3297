"""Typed questions about a state, as menus of options: what the `decision` pipeline of transformers takes and answers.

A request is `{"state": ..., "questions": {name: {"type": ..., "instructions": ..., "criteria": ...}}}` or its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as brief  # what is nested without end, or has a million characters, is cut
from typing import Any

from .option_inputs import check_menu, check_text
from .pipeline_inputs import ClassificationRequest, described, reading_order

EXAMPLES = {
    "choice": '{"type": "choice", "instructions": "What is it?", "criteria": {"bills": "money owed", "else": null}}',
    "score": '{"type": "score", "instructions": "How urgent is it?", "criteria": ["can wait", "this week", "today"]}',
    "noul": '{"type": "noul", "instructions": "Is a refund asked for?"}',
}
REQUEST_EXAMPLE = '{"state": "a text", "questions": {"refund": ' + EXAMPLES["noul"] + "}}"
# What the options "true" and "false" of a noul question are called in a menu; elsewhere as in English.
TRUE_FALSE_WORDS = {"english": {"true": "yes", "false": "no"}, "chinese": {"true": "是", "false": "否"}}


@dataclass
class DecisionQuestion:
    """One typed question; its options are in the order of the request."""

    name: str  # the key of the question in its request, and of its answer
    type: str  # "choice", "score" or "noul" (true or false)
    instructions: str  # what is asked, as text
    options: tuple[str, ...]  # their names; levels are "0", "1", ...
    descriptions: tuple[Any, ...]  # what the request says about each, as it was passed
    option_texts: tuple[str, ...]  # what the model reads for each
    num_truncated_tokens: int = 0  # how much of the end of the state did not fit; set once it is known

    def answer(self, probabilities: list[float]) -> dict[str, Any]:
        """The answer, in the format of the `decision` pipeline of transformers.

        Args:
            probabilities: one of each option, in the order of `options`; they sum to 1.

        Returns:
            `choice`: `choice`, `confidence` (0 where the best option is no likelier than by chance, 1 where it is
            certain) and `probabilities`. `score`: the expected level as `score`, `legend`, `confidence` (1 minus the
            mean distance from the likeliest level, over that of a uniform guess from the middle) and
            `probabilities`. `noul`: the probability of true. With `num_truncated_tokens` where the state was cut.
        """
        shares = dict(zip(self.options, probabilities))
        answer: dict[str, Any] = {"type": self.type}
        if self.type == "noul":
            answer["noul"] = shares["true"]
        else:
            if self.type == "choice":
                # Of options that are equally likely the first by name: not the one that was passed first.
                answer["choice"] = best = min(shares, key=lambda option: (-shares[option], option))
                doubt, by_chance = 1 - shares[best], 1 - 1 / len(shares)
            else:
                levels, middle = range(len(shares)), (len(shares) - 1) / 2
                likeliest = max(levels, key=probabilities.__getitem__)
                doubt = sum(share * abs(level - likeliest) for level, share in zip(levels, probabilities))
                by_chance = sum(abs(level - middle) for level in levels) / len(shares)
                answer["score"] = sum(level * share for level, share in zip(levels, probabilities))
                answer["legend"] = dict(zip(self.options, self.descriptions))
            answer["confidence"] = max(0.0, 1 - doubt / by_chance) if by_chance else 1.0
            answer["probabilities"] = shares
        if self.num_truncated_tokens:
            answer["num_truncated_tokens"] = self.num_truncated_tokens
        return answer


@dataclass(frozen=True)
class DecisionRequest:
    """A state as text, and the questions about it."""

    state: str
    questions: tuple[DecisionQuestion, ...]

    def classifications(self) -> list[ClassificationRequest]:
        """One menu per question, as the zero-shot pipeline scores it."""
        return [
            ClassificationRequest(
                text=self.state,
                labels=tuple(question.options[i] for i in reading_order(question.option_texts)),
                options=tuple(sorted(question.option_texts)),
                question=question.instructions,
            )
            for question in self.questions
        ]


def parse_request(request: Any, language: str | None = None) -> DecisionRequest:
    """Check a request, a dict or its JSON; one `ValueError` lists every question that is wrong.

    The `language` of the model decides the words for true and false.
    """
    if isinstance(request, str):
        try:
            request = json.loads(request)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"The request is not JSON ({error}); it looks like {REQUEST_EXAMPLE}.") from None
    if not isinstance(request, Mapping) or "state" not in request or "questions" not in request:
        raise ValueError(f"A request is a dict, or its JSON, with `state` and `questions`, e.g. {REQUEST_EXAMPLE}.")
    assets = request.get("assets")
    # An array that came in place of JSON has no truth value.
    if assets is not None and not (isinstance(assets, (Mapping, list)) and not assets):
        raise ValueError("`assets`: UniMC reads text only, no images.")
    state = _text("state", request["state"], is_state=True)
    return DecisionRequest(state, parse_questions(request["questions"], language))


def parse_questions(questions: Any, language: str | None = None) -> tuple[DecisionQuestion, ...]:
    """Check `{name: question}`, as [`parse_request`]."""
    if not isinstance(questions, Mapping) or not questions:
        raise ValueError(f"`questions` must be a dict of at least one question by name, got {brief(questions)}.")
    parsed, errors = [], []
    for name, question in questions.items():
        try:
            parsed.append(_parse_question(name, question, language))
        except (TypeError, ValueError) as error:
            errors.append(f"Question {name!r}: {error}")
    if errors:
        raise ValueError("\n".join(errors))
    return tuple(parsed)


def _parse_question(name: Any, question: Any, language: str | None) -> DecisionQuestion:
    kind = question.get("type") if isinstance(question, Mapping) else question
    if not isinstance(question, Mapping) or not isinstance(kind, str) or kind not in EXAMPLES:
        raise ValueError(f"`type` must be one of {', '.join(EXAMPLES)}, got {brief(kind)}.")
    unknown = sorted(map(str, set(question) - {"type", "instructions", "criteria"}))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; a {kind} question looks like {EXAMPLES[kind]}.")
    criteria = question.get("criteria")
    words: dict[Any, str]  # what an option is called in the menu
    if kind == "score":
        if not isinstance(criteria, (list, tuple)) or not criteria:
            raise ValueError(f"`criteria` must be a list of levels, got {brief(criteria)}; e.g. {EXAMPLES[kind]}.")
        criteria = dict(enumerate(criteria))
        words = dict.fromkeys(criteria, "")
    elif kind == "choice":
        if not isinstance(criteria, Mapping) or not criteria:
            raise ValueError(f"`criteria` must be a dict of options, got {brief(criteria)}; e.g. {EXAMPLES[kind]}.")
        criteria = dict(zip(check_menu("criteria", list(criteria)), criteria.values()))
        words = dict(zip(criteria, criteria))
    else:
        if criteria is not None and not (isinstance(criteria, Mapping) and set(criteria) <= {"true", "false"}):
            raise ValueError(f"`criteria` of a noul question may describe 'true' and 'false', got {brief(criteria)}.")
        words = TRUE_FALSE_WORDS.get(language or "", TRUE_FALSE_WORDS["english"])
    descriptions = {key: (criteria or {}).get(key) for key in words}
    texts = [described(word, _text(f"criteria[{key!r}]", descriptions[key])) for key, word in words.items()]
    instructions = _text("instructions", question.get("instructions"))
    option_texts, options = check_menu("criteria", texts), tuple(map(str, words))
    return DecisionQuestion(name, kind, instructions, options, tuple(descriptions.values()), option_texts)


def _text(name: str, value: Any, is_state: bool = False) -> str:
    """What the model reads for a JSON value: strings as they are, `key: value` for dicts, one line per entry."""
    if not is_state and value is not None and not isinstance(value, (str, Mapping, list, tuple)):
        raise TypeError(f"`{name}` must be a string, a dict or a list, got {type(value).__name__}.")

    def read(entry: Any) -> str:
        if entry is None or isinstance(entry, str):
            return entry or ""
        if isinstance(entry, Mapping):
            return "\n".join(f"{key}: {read(inner)}" for key, inner in entry.items())
        if isinstance(entry, (list, tuple)):
            return "\n".join(map(read, entry))
        try:
            return json.dumps(entry)
        except (TypeError, ValueError):
            raise ValueError(f"`{name}` holds a {type(entry).__name__}: only what JSON knows can be read.") from None

    try:
        return check_text(name, read(value))
    except RecursionError:
        raise ValueError(f"`{name}` is nested too deeply.") from None
