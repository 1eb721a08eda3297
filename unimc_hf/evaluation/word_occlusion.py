"""Which words moved a label's score: the pipeline is asked again with each word of the text left out in turn.

This is leave-one-out erasure (Li et al. 2016, arXiv 1612.08220), measured on the score that the pipeline returns.
It says what the model does without a word. It does not say why, nor that the word is right: two words that say the
same cover for each other and both get about 0, and a text with a hole may be unlike anything the model has seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..pipeline_unimc import scores_in_order

# A word is what stands between white space; Chinese and Japanese, which write none, go character by character.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class WordEffect:
    """`text[start:end]` is `word`; `effect` is the score with the word less the score without it, in [-1, 1]."""

    word: str
    start: int
    end: int
    effect: float


def find_words(text: str) -> list[tuple[int, int]]:
    """(start, end) of every word of a text."""
    return [match.span() for match in _WORD.finditer(text)]


def word_effects(pipeline: Any, text: str, label: str, **arguments: Any) -> list[WordEffect]:
    """
    Measure how much each word of a text adds to the score of one label.

    Costs one more text per word, batched like any list of texts. With `multi_label=False` the scores add up to 1, so
    a word may raise a label by lowering another one. Load the pipeline with `dtype="float32"` where effects of about
    0.001 matter: that much is rounding in bfloat16.

    Args:
        pipeline ([`UniMCZeroShotPipeline`]): the classifier.
        text: the text; its question and second text are never touched.
        label: the one of `candidate_labels` to explain.
        **arguments: those of the pipeline's call, but for `threshold` and `top_k`.

    Returns:
        A [`WordEffect`] for every word, in the order of the text.

    Raises:
        TypeError, ValueError: as the pipeline does, and if `text` has no word or `label` is none of the labels.
    """
    if not isinstance(text, str):
        raise TypeError(f"`text` must be a string, got {type(text).__name__}.")
    words = find_words(text)
    if not words:
        raise ValueError("`text` has no words to leave out.")
    whole = pipeline(text, threshold=None, top_k=None, **arguments)
    if label not in whole["labels"]:
        raise ValueError(f"`label` {label!r} is none of the labels: {', '.join(map(repr, whole['labels']))}.")
    without = pipeline([text[:start] + text[end:] for start, end in words], threshold=None, top_k=None, **arguments)
    score, *scores = [scores_in_order(result, [label])[0] for result in (whole, *without)]
    return [WordEffect(text[start:end], start, end, score - rest) for (start, end), rest in zip(words, scores)]


__all__ = ["WordEffect", "find_words", "word_effects"]
