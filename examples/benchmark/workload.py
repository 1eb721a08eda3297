"""What the contenders classify: texts and labels of random words, so that only speed is compared."""

from __future__ import annotations

import random

from unimc_hf import DEFAULT_MODEL, UniMCTokenizer


def words() -> list[str]:
    """Whole words of the vocabulary that all contenders share, so that a word is a token for every one of them."""
    vocabulary = UniMCTokenizer.from_pretrained(DEFAULT_MODEL).get_vocab()
    return sorted(word for word in vocabulary if word.isascii() and word.isalpha() and 3 <= len(word) <= 10)


def make_texts(count: int) -> list[str]:
    """Texts of 20 to 120 words, lengths log-normal around 50."""
    rng, vocabulary = random.Random(0), words()
    lengths = [min(120, max(20, round(rng.lognormvariate(3.9, 0.5)))) for _ in range(count)]
    return [" ".join(rng.choices(vocabulary, k=length)) for length in lengths]


def make_labels(count: int) -> list[str]:
    """Distinct labels of 1 to 4 words."""
    rng, vocabulary = random.Random(1), words()
    labels: dict[str, None] = {}
    while len(labels) < count:
        labels[" ".join(rng.choices(vocabulary, k=rng.randint(1, 4)))] = None
    return list(labels)
