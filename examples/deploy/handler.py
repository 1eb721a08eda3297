"""`EndpointHandler`: what Hugging Face Inference Endpoints runs, to be copied beside the weights of a model.

The file stands alone at the root of a repository. A body is `{"inputs": ..., "parameters": {...}}`: texts (or dicts
with `text`) and those arguments of the zero-shot pipeline that `PARAMETERS` names, or a decision request (or a list of
them) as `inputs`. Endpoints answer an exception with status 400 and `{"error": ...}`, so what is wrong with a request
is raised.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

PARAMETERS = (
    "candidate_labels", "question", "text_pair", "hypothesis_template", "multi_label", "calibrated", "threshold",
    "top_k", "max_length", "questions",
)  # fmt: skip
MENU_NAMES = ("candidate_labels", "choice", "options")  # the pipeline knows labels by all of these


class EndpointHandler:
    """
    Answers the bodies of requests, one after the other: a forward pass uses all cores, or the whole GPU, anyway.

    The environment of the endpoint may set the limits: `UNIMC_MAX_TEXTS` (256 texts, or questions about states, in
    one body), `UNIMC_MAX_LABELS` (512 labels to choose from), and `UNIMC_MAX_CHARACTERS` (500,000 characters that
    are read; labels and questions are read once for every text).

    Args:
        path (`str`): folder of the repository.
    """

    def __init__(self, path: str = "") -> None:
        path = path or os.getcwd()
        build: Any = pipeline  # its overloads know the tasks of transformers only
        self.classify = build("unimc-zero-shot", model=path, trust_remote_code=True)
        decision_pipeline = get_class_from_dynamic_module("decision.UniMCDecisionPipeline", path)
        self.decide = decision_pipeline(self.classify.model, self.classify.tokenizer, device=self.classify.device)
        self.max_texts = int(os.environ.get("UNIMC_MAX_TEXTS", 256))
        self.max_labels = int(os.environ.get("UNIMC_MAX_LABELS", 512))
        self.max_characters = int(os.environ.get("UNIMC_MAX_CHARACTERS", 500_000))
        self.lock = threading.Lock()  # two calls at once are no faster, and need twice the memory

    def __call__(self, data: dict[str, Any]) -> Any:
        """
        Answer one body.

        Args:
            data (`dict`): `inputs`, and where wanted `parameters`.

        Returns:
            What the pipeline returns, which JSON can hold: a dict for one input, a list for a list.

        Raises:
            TypeError, ValueError: naming what is wrong, or the limit.
        """
        if not isinstance(data, Mapping) or "inputs" not in data:
            raise ValueError("The body must be a JSON object with `inputs`.")
        inputs, parameters = data["inputs"], data.get("parameters")
        parameters = {} if parameters is None else parameters
        if not isinstance(inputs, (str, Mapping, list)):
            raise TypeError(f"`inputs` must be a string, an object or a list, got {type(inputs).__name__}.")
        if not isinstance(parameters, Mapping):
            raise TypeError(f"`parameters` must be an object, got {type(parameters).__name__}.")
        unknown = sorted(map(str, set(parameters) - set(PARAMETERS)))
        if unknown:
            raise ValueError(f"`parameters` may hold {', '.join(PARAMETERS)}; got {', '.join(unknown)}.")
        items = inputs if isinstance(inputs, list) else [inputs]
        try:
            self._check_limits(items, parameters)
        except RecursionError:
            raise ValueError("The body is nested too deeply.") from None
        is_decision = "questions" in parameters or any(isinstance(i, Mapping) and "questions" in i for i in items)
        with self.lock:
            return (self.decide if is_decision else self.classify)(inputs, **parameters)

    def _check_limits(self, items: list[Any], parameters: Mapping[str, Any]) -> None:
        shared = _questions(parameters)
        texts = sum(max(1, len(shared or _questions(item))) for item in items)
        labels = max((size for part in (parameters, *items) for size in _menu_sizes(part)), default=0)
        characters = _characters(parameters) * len(items) + sum(
            _characters(i) * max(1, len(_questions(i))) for i in items
        )
        for name, got, most in (
            ("texts or questions", texts, self.max_texts),
            ("labels", labels, self.max_labels),
            ("characters to read", characters, self.max_characters),
        ):
            if got > most:
                raise ValueError(f"The body has {got} {name}; this server takes at most {most}.")


def _questions(part: Any) -> Mapping[str, Any]:
    questions = part.get("questions") if isinstance(part, Mapping) else None
    return questions if isinstance(questions, Mapping) else {}


def _menu_sizes(part: Any) -> Iterator[int]:
    """How many labels to choose from an input or the parameters ask for, in every menu of theirs."""
    if isinstance(part, Mapping):
        menus = [part.get(name) for name in MENU_NAMES]
        for question in _questions(part).values():
            criteria = question.get("criteria") if isinstance(question, Mapping) else None
            if isinstance(criteria, (list, Mapping)):  # whose entries are one option each, however they are described
                yield len(criteria)
        for menu in menus:
            # A list may hold one menu per text, each in any of the forms.
            for one in [menu, *menu] if isinstance(menu, list) else [menu]:
                if isinstance(one, Mapping):  # of a group every label counts, of a label with a description that one
                    yield sum(len(entry) if isinstance(entry, list) else 1 for entry in one.values())
                elif isinstance(one, list):
                    yield len(one)
                elif isinstance(one, str):
                    yield len(re.split("[,，、]", one))


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_characters(key) + _characters(entry) for key, entry in value.items())
    return sum(map(_characters, value)) if isinstance(value, list) else 0


__all__ = ["EndpointHandler"]
