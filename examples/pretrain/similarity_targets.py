"""What an embedding model thinks of options, as soft targets for UniMC.

The backbone was made to put texts of similar meaning close together, and a network that answers from one `[MASK]` per
option starts without a way to use that. Two kinds of targets hand it on: examples without any label (a text, a menu of
arbitrary phrases, and the softmax over their cosines), and for labelled examples a share of the target that goes to
options which mean nearly the same as the right one.

How good the embedding model is as a zero-shot classifier of training sources, by prefix, centring and temperature
(the best log loss is the one to teach with):

    python examples/pretrain/similarity_targets.py intfloat/multilingual-e5-small \
        examples/written_tasks/english/train/topic.jsonl
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from unimc_hf.evaluation.classifiers import embed
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.pipeline_unimc import is_fast_in_bfloat16


class SimilarityTeacher:
    """
    Makes soft targets from cosines.

    Args:
        folder: of an embedding model; it runs in bfloat16 where the processor multiplies that in hardware.
        temperature: divides the cosines before the softmax.
        prefix: what the embedding model expects before every text, e.g. `"query: "`.
        centred: whether a phrase's mean cosine over all texts is taken off, so that no phrase is close to everything.
    """

    def __init__(self, folder: str | Path, temperature: float = 0.05, prefix: str = "", centred: bool = False) -> None:
        dtype = torch.bfloat16 if is_fast_in_bfloat16(torch.device("cpu")) else torch.float32
        model = AutoModel.from_pretrained(folder, dtype=dtype).eval()
        self.model = model.get_backbone() if hasattr(model, "get_backbone") else model  # of a UniMC model, its encoder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.temperature = temperature
        self.prefix = prefix
        self.centred = centred
        self._rows: dict[str, torch.Tensor] = {}

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """Rows of length 1; every distinct string is embedded once, however many menus and rows share it."""
        prefixed = [self.prefix + text for text in texts]
        if new := [text for text in dict.fromkeys(prefixed) if text not in self._rows]:
            self._rows.update(zip(new, embed(self.model, self.tokenizer, new)))
        return torch.stack([self._rows[text] for text in prefixed])

    def cosines(self, text_rows: torch.Tensor, phrase_rows: torch.Tensor, mean_text: torch.Tensor) -> torch.Tensor:
        """Of every text with every phrase, `(len(text_rows), len(phrase_rows))`; `mean_text` is what to centre by."""
        return (text_rows - mean_text if self.centred else text_rows) @ phrase_rows.T

    def unlabelled_examples(
        self,
        texts: Sequence[str],
        phrases: Sequence[str],
        questions: Sequence[str],
        max_choices: int,
        rng: random.Random,
        near: int = 30,
    ) -> list[Example]:
        """One example per text: a menu of phrases, half of them among the `near` nearest, and what the cosines say.

        Args:
            texts: what to read.
            phrases: what to choose from; labels, answers, statements.
            questions: one of them is asked about each text; `""` for none.
            max_choices: the longest menu; lengths are drawn evenly on a logarithmic scale from 3.
            rng: draws menus and questions.
            near: how many of the nearest phrases count as near.
        """
        if not texts:
            return []
        near, max_choices = min(near, len(phrases)), min(max_choices, len(phrases))
        phrase_rows, text_rows = self.embed(phrases), self.embed(texts)
        mean_text = text_rows.mean(0)
        examples = []
        for start in range(0, len(texts), 1024):
            cosines = self.cosines(text_rows[start : start + 1024], phrase_rows, mean_text)
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
                        "question": rng.choice(questions),
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
        rows = self.embed(distinct)
        smoothed = []
        for example in examples:
            menu = rows[[row_of[option] for option in example["options"]]]
            cosines = menu @ menu[example["label"]]
            probs = share * (cosines / self.temperature).softmax(-1)
            probs[example["label"]] += 1 - share
            smoothed.append({**example, "option_probs": [round(p, 4) for p in probs.tolist()]})
        return smoothed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of the embedding model")
    parser.add_argument("files", nargs="+", type=Path, help="training sources whose options are labels")
    parser.add_argument("--limit", type=int, default=300, help="rows of each")
    parser.add_argument("--prefixes", nargs="+", default=["", "query: "])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[0.005, 0.01, 0.015, 0.02, 0.03, 0.05])
    arguments = parser.parse_args()

    teacher = SimilarityTeacher(arguments.folder)
    sources = [read_jsonl(path, limit=arguments.limit) for path in arguments.files]
    print("prefix, centred, accuracy of each source, mean accuracy; mean log loss by temperature")
    for prefix in arguments.prefixes:
        for centred in (False, True):
            teacher.prefix, teacher.centred = prefix, centred
            accuracies, losses = [], []
            for examples in sources:
                phrases = list(dict.fromkeys(option for example in examples for option in example["options"]))
                texts, rows = teacher.embed([example["text"] for example in examples]), teacher.embed(phrases)
                menus = teacher.cosines(texts, rows, texts.mean(0))
                right, loss = 0, torch.zeros(len(arguments.temperatures))
                for cosines, example in zip(menus, examples):
                    own = cosines[[phrases.index(option) for option in example["options"]]]
                    right += int(own.argmax()) == example["label"]
                    loss -= torch.stack([(own / t).log_softmax(-1)[example["label"]] for t in arguments.temperatures])
                accuracies.append(right / len(examples))
                losses.append(loss / len(examples))
            by_temperature = zip(arguments.temperatures, torch.stack(losses).mean(0).tolist())
            print(
                repr(prefix), centred, [round(a, 3) for a in accuracies], round(sum(accuracies) / len(accuracies), 3),
                {temperature: round(loss, 3) for temperature, loss in by_temperature},
            )  # fmt: skip


if __name__ == "__main__":
    main()
