# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Texts and menus of the written tasks with the opinion of a better teacher, as soft targets for a small model.

    python examples/pretrain/taught_rows.py sentence-transformers/all-mpnet-base-v2 examples/written_tasks/english/train \
        --output /tmp/taught.jsonl.gz

The teacher is an embedding model of any size together with a UniMC model (the one inside the package), from which each
label's mean over the texts of its menu is taken off: a label that attracts every text is what makes small zero-shot
models wrong most often (the "batch calibration" of arXiv 2309.17249). A menu is that of a task, or of labels of many
tasks that lie close together; its texts are those to which one of its labels fits best, and some at random. The
recipe's `taught` says how many of the rows `train_multiple_choice.py --taught FILE` takes. About 25 minutes on two cores
for a large embedding model.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from similarity_targets import SimilarityTeacher
from transformers import pipeline
from written_rewording import RELATIONS, WrittenRewording

import unimc_hf
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.written_tasks import WrittenTask, read_written_tasks

TEXTS_OF_A_LABEL = 12  # of which one is drawn
AT_RANDOM = 0.25  # of a menu's texts
TOO_CLOSE = 0.8  # cosine of two labels of a joined menu that would mean the same
MENU_REWORDING = {"passes": 1, "cut_menu": 0.3, "own_names": 0.45, "described": 0.08, "label_template": 0.08}


def joined_menus(phrases: Sequence[str], rows: torch.Tensor, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Menus of 16 to 64 phrases that lie close together, no two of which mean the same."""
    for _ in range(count):
        size = round(math.exp(rng.uniform(math.log(16), math.log(64))))
        near = (rows @ rows[rng.randrange(len(phrases))]).topk(min(len(phrases), 4 * size)).indices.tolist()
        chosen: list[int] = []
        for i in rng.sample(near, len(near)):
            if len(chosen) < size and not bool((rows[chosen] @ rows[i] > TOO_CLOSE).any()):
                chosen.append(i)
        yield [phrases[i] for i in chosen]


def texts_of_menu(cosines: torch.Tensor, rng: random.Random) -> list[int]:
    """Indices of two to three texts a label, 16 to 40: those for which a label stands out most, and some at random.

    Args:
        cosines: of every text with every label, `(num_texts, num_labels)`.
    """
    stands_out = cosines - cosines.mean(1, keepdim=True)
    best = stands_out.topk(min(TEXTS_OF_A_LABEL, len(cosines)), dim=0).indices.T.tolist()
    count = max(16, min(40, 3 * len(best)))
    labels = [label % len(best) for label in range(count)]
    rng.shuffle(labels)
    chosen = [rng.randrange(len(cosines)) if rng.random() < AT_RANDOM else rng.choice(best[label]) for label in labels]
    return list(dict.fromkeys(chosen))


def taught_probs(
    log_shares: torch.Tensor, cosines: torch.Tensor, share: float, scale: float, centring: float
) -> torch.Tensor:
    """What the teacher says of the texts of one menu, float32 of shape `(num_texts, num_labels)`.

    Args:
        log_shares: of the softmax of the UniMC model, of that shape.
        cosines: of the embedding model, of that shape.
        share, scale: weights of the first and the second.
        centring: how much of every label's mean over the texts is taken off.
    """
    logits = share * log_shares + scale * cosines
    return (logits - centring * logits.mean(0)).softmax(-1)


def taught_rows(
    tasks: Sequence[WrittenTask], texts: Sequence[str], embedder: SimilarityTeacher, arguments: argparse.Namespace
) -> list[Example]:
    """Rows with `option_probs`, for every task `--passes` menus, and `--joined` menus of many tasks."""
    rng = random.Random(arguments.seed)
    rewording = WrittenRewording(tasks, MENU_REWORDING, teacher=None)
    menus = [(list(rewording.menu(t, (), rng).values()), t.questions) for _ in range(arguments.passes) for t in tasks]
    phrases = rng.sample(rewording.phrases, min(len(rewording.phrases), 4000))
    menus += [(menu, ()) for menu in joined_menus(phrases, embedder.embed(phrases), arguments.joined, rng)]
    text_rows = embedder.embed(texts)
    rows: list[Example] = []
    blocks = []
    for menu, questions in menus:
        cosines = text_rows @ embedder.embed(menu).T
        chosen = texts_of_menu(cosines, rng)
        blocks.append(cosines[chosen])
        for index in chosen:
            draw = rng.random()
            own = rng.choice(questions) if questions and draw < 0.35 else ""
            question = rng.choice(rewording.questions) if draw > 0.85 else own
            rows.append({
                "text": texts[index], "text_pair": "", "question": question, "options": menu, "label": -100,
                "task": "similarity", "source": "taught",
            })  # fmt: skip
    # The UniMC model is asked without a question, so that what is learned does not hang on one.
    classify = unimc_classifier(pipeline("unimc-zero-shot", model=arguments.model))
    answers = iter(classify([{**row, "question": ""} for row in rows]))
    taught = iter(rows)
    for cosines in blocks:
        log_shares = torch.tensor([next(answers) for _ in cosines]).clamp(min=1e-9).log()
        probs = taught_probs(log_shares, cosines, arguments.share, arguments.scale, arguments.centring)
        for row in probs.tolist():
            next(taught)["option_probs"] = [round(p, 4) for p in row]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", help="folder or Hub name of an embedding model")
    parser.add_argument("written", type=Path, nargs="+", help="folders of written tasks, of menus and texts")
    parser.add_argument("--model", default=unimc_hf.DEFAULT_MODEL, help="the UniMC model of the teacher")
    parser.add_argument("--texts", type=int, default=10000, help="most texts of the written tasks")
    parser.add_argument("--more_texts", type=Path, nargs="*", default=[], help="JSONL files of other texts")
    parser.add_argument("--limit", type=int, default=200, help="texts of each of these files")
    parser.add_argument("--passes", type=int, default=1, help="menus of every task")
    parser.add_argument("--joined", type=int, default=60, help="menus of labels of many tasks")
    parser.add_argument("--share", type=float, default=0.5, help="weight of the UniMC model's log-probabilities")
    parser.add_argument("--scale", type=float, default=14.0, help="weight of the cosines")
    parser.add_argument("--centring", type=float, default=0.9, help="how much of a label's mean is taken off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="a .jsonl.gz file")
    arguments = parser.parse_args()

    tasks = [t for t in read_written_tasks(arguments.written) if t.kind not in RELATIONS and t.wordings]
    written = list(dict.fromkeys(row.text for task in tasks for row in task.rows))
    texts = random.Random(arguments.seed).sample(written, min(len(written), arguments.texts))
    for path in arguments.more_texts:
        texts += [example["text"] for example in read_jsonl(path, limit=arguments.limit, seed=arguments.seed)]
    rows = taught_rows(tasks, list(dict.fromkeys(texts)), SimilarityTeacher(arguments.embedder), arguments)
    with gzip.open(arguments.output, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows")


if __name__ == "__main__":
    main()
