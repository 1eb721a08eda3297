"""Classifiers to measure: functions from examples to one list of probabilities per example, one per option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..pipeline_unimc import scores_in_order
from .jsonl_examples import Example
from .metrics import Classifier, option_classes


def unimc_classifier(pipeline: Any, **arguments: Any) -> Classifier:
    """A [`UniMCZeroShotPipeline`] as a classifier; `arguments` are those of its calls but `threshold` and `top_k`."""

    def classify(examples: Sequence[Example]) -> list[list[float]]:
        results = pipeline(
            [example.get("text") or "" for example in examples],
            candidate_labels=[example["options"] for example in examples],
            question=[example.get("question") for example in examples],
            text_pair=[example.get("text_pair") for example in examples],
            threshold=None,  # whatever the pipeline's own defaults: every option has a score
            top_k=None,
            **arguments,
        )
        return [scores_in_order(result, example["options"]) for result, example in zip(results, examples)]

    return classify


def majority_classifier(examples: Sequence[Example]) -> list[list[float]]:
    """Always the commonest class of these very examples: the floor of a classifier that reads nothing."""
    classes = option_classes(examples)
    right = [row[example["label"]] for row, example in zip(classes, examples)]
    commonest = max(set(right), key=right.count)
    return [[float(option_class == commonest) for option_class in row] for row in classes]


@torch.no_grad()
def embed(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Mean-pooled sentence embeddings of length 1, `float32` of shape `(len(texts), hidden_size)`.

    Args:
        model: an encoder whose first output is `last_hidden_state`.
        tokenizer: its plain tokenizer.
        texts: cut after 256 tokens.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(texts), 64):
        chunk = order[start : start + 64]
        batch = tokenizer([texts[i] for i in chunk], padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)
        rows[chunk] = (hidden * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(rows, dim=-1)


def cosine_classifier(model: Any, tokenizer: Any, with_question: bool = False, temperature: float = 0.05) -> Classifier:
    """The cosine of mean-pooled embeddings of text and option: what an embedding model does without training.

    Args:
        model: an encoder whose first output is `last_hidden_state`.
        tokenizer: its plain tokenizer.
        with_question: whether the question is embedded in front of the text; it helps some tasks and hurts others.
        temperature: divides the cosines before the softmax; it moves calibration, not accuracy.
    """

    def classify(examples: Sequence[Example]) -> list[list[float]]:
        parts = ("question", "text", "text_pair") if with_question else ("text", "text_pair")
        texts = [" ".join(filter(None, map(example.get, parts))) for example in examples]
        distinct = list(dict.fromkeys(option for example in examples for option in example["options"]))
        row_of = {option: i for i, option in enumerate(distinct)}
        text_rows, option_rows = embed(model, tokenizer, texts), embed(model, tokenizer, distinct)
        results = []
        for example, row in zip(examples, text_rows):
            cosines = option_rows[[row_of[option] for option in example["options"]]] @ row
            results.append((cosines / temperature).softmax(-1).tolist())
        return results

    return classify


def zero_shot_classifier(pipeline: Any, **arguments: Any) -> Classifier:
    """The transformers `zero-shot-classification` pipeline, which runs one forward pass per option."""

    def classify(examples: Sequence[Example]) -> list[list[float]]:
        rows = []
        for example in examples:
            text = " ".join(filter(None, map(example.get, ("text", "text_pair", "question"))))
            result = pipeline(text, candidate_labels=example["options"], **arguments)
            rows.append(scores_in_order(result, example["options"]))
        return rows

    return classify


__all__ = ["cosine_classifier", "embed", "majority_classifier", "unimc_classifier", "zero_shot_classifier"]
