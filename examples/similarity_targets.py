"""What an embedding model thinks of options, as soft targets for UniMC.

The backbone was made to put texts of similar meaning close together, and a network that answers from one `[MASK]` per
option starts without a way to use that. Two kinds of targets hand it on: examples without any label (a text, a menu of
arbitrary phrases, and the softmax over their cosines), and for labelled examples a share of the target that goes to
options which mean nearly the same as the right one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from unimc_hf.evaluation_unimc import embed
from unimc_hf.jsonl_examples import Example

QUESTIONS = ["", "", "What is this text about?", "Which option fits the text best?", "What describes the text?"]


class SimilarityTeacher:
    """
    Makes soft targets from cosines.

    Args:
        folder: of an embedding model; it runs in bfloat16.
        temperature: divides the cosines before the softmax.
    """

    def __init__(self, folder: str | Path, temperature: float = 0.05) -> None:
        self.model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.temperature = temperature

    def unlabelled_examples(
        self, texts: Sequence[str], phrases: Sequence[str], max_choices: int, rng: random.Random, near: int = 30
    ) -> list[Example]:
        """One example per text: a menu of phrases, half of them among the `near` nearest, and what the cosines say.

        Args:
            texts: what to read.
            phrases: what to choose from; labels, answers, statements.
            max_choices: the longest menu; lengths are drawn evenly on a logarithmic scale from 3.
            rng: draws menus and questions.
            near: how many of the nearest phrases count as near.
        """
        phrase_rows = embed(self.model, self.tokenizer, phrases)
        text_rows = embed(self.model, self.tokenizer, texts)
        examples = []
        for start in range(0, len(texts), 1024):
            cosines = text_rows[start : start + 1024] @ phrase_rows.T
            nearest = cosines.topk(near).indices.tolist()
            for text, row, close in zip(texts[start : start + 1024], cosines, nearest):
                size = round(math.exp(rng.uniform(math.log(3), math.log(max_choices))))
                few = rng.sample(close, min(near, max(1, size // 2)))
                menu = list(dict.fromkeys(few + rng.sample(range(len(phrases)), size - len(few))))
                probs = (row[menu] / self.temperature).softmax(-1)
                examples.append(
                    {
                        "text": text,
                        "text_pair": "",
                        "question": rng.choice(QUESTIONS),
                        "options": [phrases[i] for i in menu],
                        "label": -100,
                        "option_probs": [round(p, 4) for p in probs.tolist()],
                        "task": "similarity",
                        "source": "similarity",
                    }
                )
        return examples

    def smooth_between_synonyms(self, examples: Sequence[Example], share: float) -> list[Example]:
        """The examples with `option_probs`: `share` of the target goes to options close to the right one."""
        distinct = list(dict.fromkeys(option for example in examples for option in example["options"]))
        row_of = {option: i for i, option in enumerate(distinct)}
        rows = embed(self.model, self.tokenizer, distinct)
        smoothed = []
        for example in examples:
            menu = rows[[row_of[option] for option in example["options"]]]
            cosines = menu @ menu[example["label"]]
            probs = share * (cosines / self.temperature).softmax(-1)
            probs[example["label"]] += 1 - share
            smoothed.append({**example, "option_probs": [round(p, 4) for p in probs.tolist()]})
        return smoothed
