# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Texts and menus of the written tasks with the opinion of a better teacher, as soft targets for a small model.

    python examples/pretrain/taught_rows.py sentence-transformers/all-mpnet-base-v2 \
        examples/written_tasks/english/train --output /tmp/taught.jsonl.gz

The teacher is an embedding model of any size together with a UniMC model (the one inside the package), batch-calibrated
over the texts of each menu until its labels are equally probable: a label that attracts every text is what makes small
zero-shot models wrong most often. A menu is that of a task, or of labels of many tasks that lie close together; its
texts are those to which one of its labels fits best, and some at random. `train_multiple_choice.py --taught FILE` takes
as many of the rows as the recipe's `taught` says. About 25 minutes on two cores for an embedding model of 109M.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from rewording import WORDINGS
from similarity_targets import SimilarityTeacher
from transformers import pipeline
from written_rewording import RELATIONS, by_language, phrases_of, word_menu

import unimc_hf
from unimc_hf.evaluation.batch_calibration import SMALLEST_SCORE, batch_calibrated_probs
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.written_tasks import WrittenTask, read_written_tasks

TEXTS_OF_A_LABEL = 12  # of which one is drawn
AT_RANDOM = 0.25  # of a menu's texts
JOINED_SIZES = (5, 48)  # of menus of labels of many tasks
TOO_CLOSE = 0.8  # cosine of two labels of a joined menu that would mean the same
MENU_WORDING = {"cut_menu": 0.3, "own_names": 0.45, "described": 0.08, "label_template": 0.08}
NUM_ITERATIONS = 30  # of batch calibration; more change nothing
# Measured on the written tasks for development (macro-F1 .507; the cosines alone .40, the UniMC model alone .345).
MODEL_WEIGHT, COSINE_WEIGHT = 0.5, 14.0


def joined_menus(phrases: Sequence[str], rows: torch.Tensor, count: int, rng: random.Random) -> Iterator[list[str]]:
    """Menus of phrases that lie close together, no two of which mean the same.

    Raises:
        ValueError: if the embedder puts phrases so close together that a menu stays short.
    """
    for _ in range(count):
        size = round(math.exp(rng.uniform(*map(math.log, JOINED_SIZES))))
        near = (rows @ rows[rng.randrange(len(phrases))]).topk(min(len(phrases), 4 * size)).indices.tolist()
        chosen: list[int] = []
        for i in rng.sample(near, len(near)):
            if len(chosen) < size and not bool((rows[chosen] @ rows[i] > TOO_CLOSE).any()):
                chosen.append(i)
        if len(chosen) < size // 2:
            raise ValueError(
                f"`embedder` finds {len(chosen)} of {len(near)} phrases that are not within a cosine of {TOO_CLOSE} of "
                "each other: it needs another limit; `--joined 0` leaves such menus out."
            )
        yield [phrases[i] for i in chosen]


def texts_of_menu(cosines: torch.Tensor, rng: random.Random) -> list[int]:
    """Indices of texts for every label, 16 or more: those for which it stands out most; and some at random.

    Args:
        cosines: of every text with every label, `(num_texts, num_labels)`.
    """
    num_labels = cosines.shape[1]
    stands_out = cosines - cosines.mean(1, keepdim=True)
    best = stands_out.topk(min(TEXTS_OF_A_LABEL, len(cosines)), dim=0).indices.T.tolist()
    count = max(16, num_labels, min(40, 3 * num_labels))
    labels = rng.sample(range(num_labels), num_labels)
    chosen = [rng.choice(best[labels[i % num_labels]]) for i in range(count)]
    others = [rng.randrange(len(cosines)) for _ in range(round(count * AT_RANDOM / (1 - AT_RANDOM)))]
    return list(dict.fromkeys([*chosen, *others]))


def taught_rows(
    menus: Sequence[tuple[list[str], Sequence[str]]],
    texts: Sequence[str],
    embed: Callable[[Sequence[str]], torch.Tensor],
    classify: Callable[[Sequence[Example]], list[list[float]]],
    rng: random.Random,
) -> list[Example]:
    """Texts and menus with `option_probs`, what the teacher thinks.

    Args:
        menus: labels, and questions that go with them.
        texts: to draw from.
        embed: gives rows of length 1.
        classify: gives one probability per option; it is asked without a question, so that what is learned does not
            hang on one.
        rng: draws texts and questions.
    """
    all_questions = [question for _, questions in menus for question in questions] or [""]
    text_rows = embed(texts)
    blocks: list[tuple[torch.Tensor, list[Example]]] = []
    for menu, questions in menus:
        cosines = text_rows @ embed(menu).T
        chosen = texts_of_menu(cosines, rng)
        rows: list[Example] = []
        for index in chosen:
            draw = rng.random()
            own = rng.choice(questions) if questions and draw < 0.35 else ""
            rows.append({
                "text": texts[index], "text_pair": "", "question": rng.choice(all_questions) if draw > 0.85 else own,
                "options": menu, "label": -100, "task": "similarity", "source": "taught",
            })  # fmt: skip
        blocks.append((cosines[chosen], rows))
    answers = iter(classify([{**row, "question": ""} for _, rows in blocks for row in rows]))
    for cosines, rows in blocks:
        log_probs = torch.tensor([next(answers) for _ in rows]).clamp(min=SMALLEST_SCORE).log()
        probs = (MODEL_WEIGHT * log_probs + COSINE_WEIGHT * cosines).softmax(-1)
        taught = batch_calibrated_probs(probs, NUM_ITERATIONS)
        for row, target in zip(rows, taught.tolist()):
            row["option_probs"] = [round(p, 4) for p in target]
    return [row for _, rows in blocks for row in rows]


def make_menus(
    tasks: Sequence[WrittenTask], language: str, embedder: SimilarityTeacher, joined: int, rng: random.Random
) -> list[tuple[list[str], Sequence[str]]]:
    """One menu of every task with its questions, and `joined` menus of labels of many tasks."""
    words = WORDINGS[language]
    menus: list[tuple[list[str], Sequence[str]]] = [
        (list(word_menu(task, (), MENU_WORDING, words, rng).values()), task.questions) for task in tasks
    ]
    if joined:
        phrases = phrases_of(tasks)
        phrases = rng.sample(phrases, min(len(phrases), 12000))
        menus += [(menu, ()) for menu in joined_menus(phrases, embedder.embed(phrases), joined, rng)]
    return menus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", help="folder or Hub name of an embedding model")
    parser.add_argument("written", type=Path, nargs="+", help="folders of written tasks, of menus and texts")
    parser.add_argument("--model", default=unimc_hf.DEFAULT_MODEL, help="the UniMC model of the teacher")
    parser.add_argument("--texts", type=int, default=10000, help="most texts of the written tasks")
    parser.add_argument("--more_texts", type=Path, nargs="*", default=[], help="JSONL files of other texts")
    parser.add_argument("--limit", type=int, default=200, help="texts of each of these files")
    parser.add_argument("--joined", type=int, default=60, help="menus of labels of many tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="a .jsonl.gz file")
    arguments = parser.parse_args()
    if not arguments.output.resolve().parent.is_dir():
        parser.error(f"--output is in a folder that does not exist: {arguments.output}")
    if min(arguments.texts, arguments.limit) < 1 or arguments.joined < 0:
        parser.error("--texts and --limit must be at least 1, --joined at least 0")

    languages = by_language(read_written_tasks(arguments.written))
    if len(languages) > 1:
        parser.error(f"the tasks are in {' and '.join(languages)}: one language at a time")
    [(language, tasks)] = languages.items()
    classify = pipeline("unimc-zero-shot", model=arguments.model)
    if classify.model.config.language != language:
        parser.error(f"the tasks are {language}, but --model is {classify.model.config.language}")
    tasks = [task for task in tasks if task.kind not in RELATIONS and task.wordings]
    rng = random.Random(arguments.seed)
    texts = list(dict.fromkeys(row.text for task in tasks for row in task.rows))
    texts = rng.sample(texts, min(len(texts), arguments.texts))
    for path in arguments.more_texts:
        texts += [example["text"] for example in read_jsonl(path, limit=arguments.limit, seed=arguments.seed)]
    embedder = SimilarityTeacher(arguments.embedder)
    menus = make_menus(tasks, language, embedder, arguments.joined, rng)
    rows = taught_rows(menus, list(dict.fromkeys(texts)), embedder.embed, unimc_classifier(classify), rng)
    with gzip.open(arguments.output, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows")


if __name__ == "__main__":
    main()
