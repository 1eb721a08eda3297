"""Rows of the common JSONL format -> training examples of many wordings, reproducibly.

A row is `{"passage", "question", "options", "label", "task", "source"}`. What makes a zero-shot model is the variety
of tasks, label sets and wordings that it saw, so every row is reworded at random: long and short menus, other
questions or none, other label wordings, yes/no recasting, and for inference several ways to ask. The order of the
options needs no augmentation: UniMC does not see it.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from derived_rows import derive, terms_of_title
from rewording import WORDINGS, Rewording, read_statement, sharing_no_word
from sentiment_grammar import make_opinions
from similarity_targets import SimilarityTeacher
from text_overlap import without_texts_of
from written_rewording import WrittenRewording, by_language, language_of

from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.evaluation.written_tasks import plain_examples, read_written_tasks

# Tasks whose rows have options of their own, so that right answers of other rows are wrong ones here.
OWN_OPTIONS = ("mcqa", "multiple_choice", "cloze")


def label_sets(examples: Iterable[Example], largest: int = 200) -> dict[str, list[str]]:
    """All options of each label-set source. A source with more than `largest` has options of its own per row."""
    found: dict[str, dict[str, None]] = {}
    for example in examples:
        if example["task"] in ("topic", "intent", "emotion", "toxicity", "other") and example["text"]:
            found.setdefault(example["source"], {}).update(dict.fromkeys(example["options"]))
    return {source: list(labels) for source, labels in found.items() if len(labels) <= largest}


def right_answers(examples: Iterable[Example], most: int = 3000) -> dict[str, list[str]]:
    """Of every source of questions with own answers, and of inference data, what is right somewhere in it."""
    found: dict[str, dict[str, None]] = {}
    for example in examples:
        statement, truth = read_statement(example)
        right = example["options"][example["label"]]
        if statement and truth == 0:
            found.setdefault(example["source"], {})[statement] = None
        elif not statement and example["task"] in OWN_OPTIONS and len(right) <= 80:
            found.setdefault(example["source"], {})[right] = None
    return {source: list(answers)[:most] for source, answers in found.items() if len(answers) > 100}


def read_source(data_dirs: Sequence[str | Path], source: str, **kwargs: Any) -> list[Example]:
    """The rows of a source, from the first folder that has it; whatever they say, its name is that of the file."""
    paths = [Path(folder) / f"{source}.jsonl.gz" for folder in data_dirs]
    path = next((path for path in paths if path.is_file()), paths[-1])
    return [{**example, "source": source} for example in read_jsonl(path, **kwargs)]


def build_mixture(
    data_dirs: Sequence[str | Path],
    config: dict[str, Any],
    teacher: str | Path,
    written_dirs: Sequence[str | Path] = (),
    taught_file: str | Path | None = None,
) -> list[Example]:
    """Every source up to its cap, every pass with other wordings, in an order fixed by `config["seed"]`.

    Args:
        data_dirs: folders of the recipe's sources.
        config: the recipe. `mixture_rows` of the sources' rows are kept, where it says so.
        teacher: folder or Hub name of the embedding model that makes the soft targets.
        written_dirs: folders of written tasks, for the recipe's `written` part.
        taught_file: of `taught_rows.py`, from which as many rows are added as the recipe's `taught` says.

    Texts are shortened; rows whose question or own options are too long to train on are left out.

    Raises:
        ValueError: if the recipe has `taught` and there is no file, or too few rows in it; or a file and no `taught`.
    """
    if bool(config.get("taught")) != (taught_file is not None):
        raise ValueError("A recipe with `taught`, and no other, needs `--taught`, a file of `taught_rows.py`.")
    taught = read_taught_rows(taught_file, config["taught"]["rows"], config["seed"]) if taught_file else []
    longest = config["augmentation"]["max_characters"]
    examples = [
        example
        for source, cap in config["sources"].items()
        for example in read_source(data_dirs, source, limit=cap, seed=config["seed"])
        if len(example["question"]) <= longest and len("".join(example["options"])) <= longest
    ]
    for source, others in config.get("without_texts_of", {}).items():
        rows = [example for example in examples if example["source"] == source]
        rows = without_texts_of(rows, [row for other in others for row in read_source(data_dirs, other)])
        examples = [example for example in examples if example["source"] != source] + rows
    examples += derive(config.get("derived", {}), partial(read_source, data_dirs), config["seed"])
    examples += make_opinions(config["opinions"], f"{config['seed']}-opinions")
    reword = Rewording(config["augmentation"], label_sets(examples), right_answers(examples), config["language"])
    mixture = []
    for epoch in range(config["passes"]):
        rng = random.Random(f"{config['seed']}-{epoch}")
        for example in examples:
            for _ in range(config["repeats"].get(example["source"], 1)):
                mixture.append(reword(example, rng))
    if config.get("mixture_rows", len(mixture)) < len(mixture):
        mixture = random.Random(config["seed"]).sample(mixture, config["mixture_rows"])
    similarity_teacher = SimilarityTeacher(teacher, **config["similarity"].get("teacher", {}))
    if config["similarity"]["examples"] or config["similarity"]["label_smoothing"]:
        mixture = _with_soft_targets(mixture, config, similarity_teacher)
    if written_dirs:
        mixture = _with_written_tasks(mixture, config, similarity_teacher, written_dirs)
    mixture += taught
    random.Random(config["seed"]).shuffle(mixture)
    return mixture


def read_taught_rows(path: str | Path, count: int, seed: int) -> list[Example]:
    """`count` rows, drawn from a file of `taught_rows.py`."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if count > len(rows):
        raise ValueError(f"The recipe's `taught` asks for {count} rows, but {path} has {len(rows)}.")
    return random.Random(seed).sample(rows, count)


def _with_soft_targets(mixture: list[Example], config: dict[str, Any], teacher: SimilarityTeacher) -> list[Example]:
    similarity, rng = config["similarity"], random.Random(config["seed"])
    longest = similarity.get("longest_phrase", 80)
    # Bytes, because five Chinese characters say about as much as fifteen letters.
    shortest = similarity.get("shortest_text", 15)
    texts = list(dict.fromkeys(e["text"][:240] for e in mixture if len(e["text"].encode()) > shortest))
    phrases = list(dict.fromkeys(o for e in mixture for o in e["options"] if len(o) <= longest))
    texts = rng.sample(texts, min(len(texts), similarity["examples"]))
    phrases = rng.sample(phrases, min(len(phrases), similarity["phrases"]))
    titles = [e["text"] for e in mixture if e["source"] in similarity.get("titles", ())]
    phrases = list(dict.fromkeys([*phrases, *(term for title in titles for term in terms_of_title(title))]))
    questions = WORDINGS[config["language"]].UNLABELLED_QUESTIONS
    unlabelled = teacher.unlabelled_examples(texts, phrases, questions, similarity["max_choices"], rng)
    if similarity["label_smoothing"]:
        smooth = [len(e["options"]) > 3 and e["task"] in ("topic", "intent", "emotion") for e in mixture]
        smoothed = iter(
            teacher.smooth_between_synonyms(
                [e for e, chosen in zip(mixture, smooth) if chosen], similarity["label_smoothing"]
            )
        )
        mixture = [next(smoothed) if chosen else e for e, chosen in zip(mixture, smooth)]
    return mixture + unlabelled


def _with_written_tasks(
    mixture: list[Example], config: dict[str, Any], teacher: SimilarityTeacher, folders: Sequence[str | Path]
) -> list[Example]:
    """Rows of the written tasks beside the mixture, of which some are asked by their questions; and soft targets
    for their texts over menus of their labels. Every language by itself."""
    part, rng = config["written"], random.Random(f"{config['seed']}-written")
    tasks = by_language(read_written_tasks(folders))
    total = sum(len(own) for own in tasks.values())
    for language, own in tasks.items():
        rewording = WrittenRewording(own, part, teacher, language)
        misled = [
            e["task"] in ("topic", "intent", "emotion")
            and e["label"] != -100
            and rng.random() < part["mislead"]
            and language_of(e["text"]) == language
            for e in mixture
        ]
        rewording.lures.prepare(e["text"] for e, chosen in zip(mixture, misled) if chosen)
        mixture = [rewording.mislead(e, rng) if chosen else e for e, chosen in zip(mixture, misled)]
        mixture += rewording.examples(rng)
        texts = [row.text for task in own for row in task.rows if len(row.text.encode()) > 15]
        texts = [rng.choice(texts) for _ in range(round(part["soft_rows"] * len(own) / total))]
        questions = ["", "", *WORDINGS[language].GENERAL_QUESTIONS[:2]]
        mixture += teacher.unlabelled_examples(texts, rewording.phrases, questions, part["soft_choices"], rng)
    return mixture


def held_out(
    data_dirs: Sequence[str | Path], config: dict[str, Any], written_dirs: Sequence[str | Path] = ()
) -> list[Example]:
    """`development_rows` rows of each development source, in their own wording; and the rows of written tasks.

    Sources named in `development_menus` get their whole label set where a row has a draw of it, and the labels of
    the source that is named there on top, without those that share a word with theirs.
    """
    rows = []
    for source in config["development"]:
        examples = read_source(data_dirs, source)
        labels: list[str] = []
        if source in config["development_menus"]:
            labels = label_sets(examples)[source]
            if other := config["development_menus"][source]:
                menu = label_sets(read_source(data_dirs, other))[other]
                labels = labels + sharing_no_word(menu, labels)
        chosen = random.Random(config["seed"]).sample(examples, min(len(examples), config["development_rows"]))
        for example in chosen:
            if labels:
                right = example["options"][example["label"]]
                example = {**example, "options": labels, "label": labels.index(right)}
            rows.append(example)
    return rows + (plain_examples(read_written_tasks(written_dirs)) if written_dirs else [])
