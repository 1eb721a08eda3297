"""Typed questions about a state, checked: what the `decision` pipeline of transformers takes and answers.

A request is `{"state": ..., "questions": {name: {"type": ..., "instructions": ..., "criteria": ...}}}` or its JSON.
Every question becomes a menu of options, so that the model reads it like any other multiple choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as brief  # what is nested without end, or has a million characters, is cut
from typing import Any

from .option_inputs import check_menu, check_text
from .pipeline_inputs import ClassificationRequest, reading_order

EXAMPLES = {
    "choice": '{"type": "choice", "instructions": "What is it?", "criteria": {"bills": "money owed", "else": null}}',
    "score": '{"type": "score", "instructions": "How urgent is it?", "criteria": ["can wait", "this week", "today"]}',
    "noul": '{"type": "noul", "instructions": "Is a refund asked for?"}',
}
REQUEST_EXAMPLE = '{"state": "a text", "questions": {"refund": ' + EXAMPLES["noul"] + "}}"
# What the options "true" and "false" of a noul question are called in a menu.
TRUE_FALSE_WORDS = {"chinese": {"true": "是", "false": "否"}}
ENGLISH_TRUE_FALSE_WORDS = {"true": "yes", "false": "no"}


@dataclass
class DecisionQuestion:
    """
    One typed question.

    Args:
        name: the key of the question in its request, and of its answer.
        type: `"choice"`, `"score"` or `"noul"` (true or false).
        instructions: what is asked, as text.
        options: the names of the options, in the order of the request; levels are `"0"`, `"1"`, ...
        descriptions: what the request says about each option, as it was passed.
        option_texts: what the model reads for each option.
        num_truncated_tokens: how much of the end of the state did not fit; set once it is known.
    """

    name: str
    type: str
    instructions: str
    options: tuple[str, ...]
    descriptions: tuple[Any, ...]
    option_texts: tuple[str, ...]
    num_truncated_tokens: int = 0

    @property
    def reading_order(self) -> list[int]:
        """Indices of the options in the order in which the model reads them: the same however they were passed."""
        return reading_order(self.option_texts)

    def classification(self, state: str) -> ClassificationRequest:
        """The question about `state` as the menu that [`UniMCZeroShotPipeline`] scores."""
        order = self.reading_order
        return ClassificationRequest(
            text=state,
            labels=tuple(self.options[i] for i in order),
            options=tuple(self.option_texts[i] for i in order),
            question=self.instructions,
        )

    def answer(self, probabilities: list[float]) -> dict[str, Any]:
        """
        The answer, in the format of the `decision` pipeline of transformers.

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
        elif self.type == "choice":
            # Of options that are equally likely the first by name: not the one that was passed first.
            best = min(shares, key=lambda option: (-shares[option], option))
            chance = 1 / len(shares)
            confidence = 1.0 if len(shares) == 1 else max(0.0, (shares[best] - chance) / (1 - chance))
            answer |= {"choice": best, "confidence": confidence, "probabilities": shares}
        else:
            levels, middle = range(len(shares)), (len(shares) - 1) / 2
            likeliest = max(levels, key=probabilities.__getitem__)
            distance = sum(share * abs(level - likeliest) for level, share in zip(levels, probabilities))
            by_chance = sum(abs(level - middle) for level in levels) / len(shares)
            answer["score"] = sum(level * share for level, share in zip(levels, probabilities))
            answer["legend"] = dict(zip(self.options, self.descriptions))
            answer["confidence"] = 1.0 if len(shares) == 1 else max(0.0, 1 - distance / by_chance)
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
        """One menu per question."""
        return [question.classification(self.state) for question in self.questions]


class DecisionRequestBuilder:
    """
    Turns what was passed to a decision pipeline into [`DecisionRequest`]s.

    Args:
        questions: the questions about every input, which is a state then; `None`: every input is a whole request.
        language: of the model, for the words of true and false.

    Raises:
        ValueError: if `questions` is not a dict of questions.
    """

    def __init__(self, questions: Any = None, language: str | None = None) -> None:
        self.questions, self.language = questions, language
        if questions is not None:
            parse_questions(questions, language)

    def check_single(self) -> None:
        """One request is fine whatever the arguments."""

    def check_size(self, size: int) -> None:
        """Any number of requests is fine whatever the arguments."""

    def build(self, inputs: Iterable[Any]) -> Iterator[DecisionRequest]:
        """One request per input, lazily."""
        for item in inputs:
            request = item if self.questions is None else {"state": item, "questions": self.questions}
            yield parse_request(request, self.language)


def parse_request(request: Any, language: str | None = None) -> DecisionRequest:
    """
    Check a request.

    Raises:
        ValueError: if it is not a dict (or JSON of one) with `state` and `questions`, holds images, or if questions
            are wrong: all of them are listed.
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
    state = _as_text("state", request["state"])
    return DecisionRequest(state, parse_questions(request["questions"], language))


def parse_questions(questions: Any, language: str | None = None) -> tuple[DecisionQuestion, ...]:
    """Check `{name: question}`; one `ValueError` lists every question that is wrong."""
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
    kind = question.get("type") if isinstance(question, Mapping) else None
    if not isinstance(kind, str) or kind not in EXAMPLES:
        got = kind if isinstance(question, Mapping) else question
        raise ValueError(f"`type` must be one of {', '.join(EXAMPLES)}, got {brief(got)}.")
    unknown = sorted(map(str, set(question) - {"type", "instructions", "criteria"}))
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; a {kind} question looks like {EXAMPLES[kind]}.")
    options, descriptions, option_texts = _MENUS[kind](question.get("criteria"), language)
    instructions = _content("instructions", question.get("instructions"))
    check_menu("criteria", option_texts)
    return DecisionQuestion(name, kind, instructions, tuple(options), tuple(descriptions), tuple(option_texts))


Menu = tuple[list[str], list[Any], list[str]]  # names, descriptions as they were passed, what the model reads


def _choice_menu(criteria: Any, language: str | None) -> Menu:
    if not isinstance(criteria, Mapping) or not criteria:
        raise ValueError(f"`criteria` must be a dict of options, got {brief(criteria)}; e.g. {EXAMPLES['choice']}.")
    check_menu("criteria", list(criteria))
    return list(criteria), list(criteria.values()), [_described(option, text) for option, text in criteria.items()]


def _score_menu(criteria: Any, language: str | None) -> Menu:
    if not isinstance(criteria, (list, tuple)) or not criteria:
        raise ValueError(f"`criteria` must be a list of levels, got {brief(criteria)}; e.g. {EXAMPLES['score']}.")
    levels = [_content(f"criteria[{i}]", level) for i, level in enumerate(criteria)]
    return [str(i) for i in range(len(levels))], list(criteria), levels


def _noul_menu(criteria: Any, language: str | None) -> Menu:
    criteria = {} if criteria is None else criteria
    if not isinstance(criteria, Mapping) or not set(criteria) <= {"true", "false"}:
        raise ValueError(f"`criteria` of a noul question may describe 'true' and 'false', got {brief(criteria)}.")
    words = TRUE_FALSE_WORDS.get(language or "", ENGLISH_TRUE_FALSE_WORDS)
    described = [_described(word, criteria.get(option)) for option, word in words.items()]
    return list(words), [criteria.get(option) for option in words], described


_MENUS: dict[str, Callable[[Any, str | None], Menu]] = {
    "choice": _choice_menu,
    "score": _score_menu,
    "noul": _noul_menu,
}


def _described(option: str, description: Any) -> str:
    text = _content(f"criteria[{option!r}]", description)
    return f"{option}: {text}" if text else option


def _content(name: str, value: Any) -> str:
    """Instructions and descriptions are a text, or JSON that is read as one."""
    if value is not None and not isinstance(value, (str, Mapping, list, tuple)):
        raise TypeError(f"`{name}` must be a string, a dict or a list, got {type(value).__name__}.")
    return _as_text(name, value)


def _as_text(name: str, value: Any) -> str:
    try:
        text = as_text(value)
    except RecursionError:
        raise ValueError(f"`{name}` is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"`{name}` {error}") from None
    check_text(name, text)
    return text


def as_text(value: Any) -> str:
    """What the model reads for a JSON value: strings as they are, `key: value` for dicts, one line per entry."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {as_text(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(map(as_text, value))
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        raise ValueError(f"holds a {type(value).__name__}: only what JSON knows can be read.") from None


__all__ = ["DecisionQuestion", "DecisionRequest", "DecisionRequestBuilder", "parse_questions", "parse_request"]
