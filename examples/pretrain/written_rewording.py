"""Written tasks -> training examples of many wordings.

A task of `examples/written_tasks` has several wordings of every label and several questions. A training row draws from
all of them: labels in one wording or another, long menus cut, labels of other tasks added; and asked by its own
question, by none, by a general one, or by one that is about something else.

A question says how to read the options and must not attract one. So wherever it names a genre or a domain, right or
wrong, options that resemble it are added to some menus as wrong ones (`Lures`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from rewording import CHINESE, WORDINGS

from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.written_tasks import WrittenRow, WrittenTask

# Kinds that are never turned into yes or no, nor asked by another task's question where they have few labels.
RELATIONS = ("nli", "pair", "stance")


class Lures:
    """Finds labels that resemble a question and not the text: wrong options that a bag of words would choose.

    Args:
        teacher: its `embed` gives rows of length 1 for a list of strings; where it is `centred`, they are centred too.
        phrases: labels to draw from.
        near: how many of the phrases nearest to a question are drawn from.
        too_close: cosine with the text or a right option from which on a phrase may be right too.
    """

    def __init__(self, teacher: Any, phrases: Sequence[str], near: int = 40, too_close: float = 0.3) -> None:
        self.teacher, self.phrases, self.near, self.too_close = teacher, list(phrases), near, too_close
        self._rows: dict[str, np.ndarray] = {}
        self._mean = teacher.embed(self.phrases).numpy().mean(0) if teacher.centred else None
        self._nearest: dict[str, np.ndarray] = {}  # question -> indices of phrases
        self.prepare(self.phrases)
        self._phrase_rows = np.stack([self._rows[phrase] for phrase in self.phrases])

    def prepare(self, strings: Iterable[str]) -> None:
        """Embed strings that examples will hold, all at once: one by one it takes a hundred times as long."""
        new = [string for string in dict.fromkeys(strings) if string not in self._rows]
        if new:
            rows = self.teacher.embed(new).numpy()
            if self._mean is not None:
                rows = rows - self._mean
                rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            self._rows.update(zip(new, rows))

    def draw(self, example: Example, right: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """At most `count` phrases near the question of `example`, none of which are near its text or right options."""
        question = example["question"]
        if question not in self._nearest:
            self._nearest[question] = np.argsort(-(self._phrase_rows @ self._rows[question]))[: self.near]
        nearest = self._nearest[question]
        known = np.stack([self._rows[string] for string in (example["text"], *right) if string in self._rows])
        closest = (self._phrase_rows[nearest] @ known.T).max(1)
        taken = {option.lower() for option in example["options"]}
        usable = [
            self.phrases[i]
            for i, cosine in zip(nearest, closest)
            if cosine < self.too_close and self.phrases[i].lower() not in taken
        ]
        return rng.sample(usable, min(count, len(usable)))


class WrittenRewording:
    """
    Draws wordings of written rows in one language.

    Args:
        tasks: all that are trained on, in that language.
        config: the `written` part of a recipe; its `passes` is a number, or one for each language, and `times`
            multiplies it for some kinds.
        teacher: see [`Lures`].
        language: a key of `rewording.WORDINGS`.
    """

    def __init__(
        self, tasks: Sequence[WrittenTask], config: dict[str, Any], teacher: Any, language: str = "english"
    ) -> None:
        self.tasks, self.config, self.words = tasks, config, WORDINGS[language]
        self.passes = config["passes"] if isinstance(config["passes"], (int, float)) else config["passes"][language]
        self.phrases = phrases_of(tasks)
        self.questions = [question for task in tasks for question in task.questions]
        self.lures = Lures(teacher, self.phrases)
        self.lures.prepare([*self.questions, *self.words.GENERAL_QUESTIONS])
        self.lures.prepare(row.text for task in tasks for row in task.rows)
        self.lures.prepare(word for task in tasks for words in task.wordings.values() for word in words)

    def examples(self, rng: random.Random) -> list[Example]:
        """`passes` wordings of every row. A task of few rows is repeated more often than one of many:
        by the square root, so that neither tasks nor rows decide alone."""
        made = []
        sizes = sorted(len(task.rows) for task in self.tasks)
        median = sizes[len(sizes) // 2]
        for task in self.tasks:
            times = self.passes * math.sqrt(median / len(task.rows)) * self.config.get("times", {}).get(task.kind, 1)
            for row in task.rows:
                for _ in range(int(times) + (rng.random() < times % 1)):
                    made.append(self(task, row, rng))
        return made

    def __call__(self, task: WrittenTask, row: WrittenRow, rng: random.Random) -> Example:
        example: Example = {
            "text": row.text, "text_pair": row.text_pair, "question": row.question, "task": task.kind,
            "source": task.name,
        }  # fmt: skip
        if row.options:
            return {**example, "options": list(row.options), "label": row.options.index(row.right[0])}
        if len(row.right) == 1 and task.kind not in RELATIONS and rng.random() < self.config["yes_no"]:
            return self._yes_no(task, row, example, rng)
        options = word_menu(task, row.right, self.config, self.words, rng)
        right = [options[label] for label in row.right]
        example["options"] = list(options.values())
        example["question"], lured = self._question(task, rng)
        extra = self.lures.draw(example, right, rng.randint(1, 6), rng) if lured else []
        if rng.random() < self.config["distractors"]:
            count = round(math.exp(rng.uniform(0, math.log(self.config["max_choices"]))))
            extra += self._labels_of_another_domain(task, count, rng)
        taken = {option.lower() for option in example["options"]}
        example["options"] += [option for option in dict.fromkeys(extra) if option.lower() not in taken]
        if len(right) == 1:
            example["label"] = example["options"].index(right[0])
        else:
            example["label"] = [float(option in right) for option in example["options"]]
        if example["text_pair"] and rng.random() < self.config.get("pair_in_options", 0):
            pair = example["text_pair"]
            options = [f"{option}{self.words.COLON}{pair}" for option in example["options"]]
            return {**example, "text_pair": "", "options": options}
        return example

    def _labels_of_another_domain(self, task: WrittenTask, count: int, rng: random.Random) -> list[str]:
        others = [other for other in rng.sample(self.tasks, min(8, len(self.tasks))) if other.domain != task.domain]
        labels = [rng.choice(words[:2]) for other in others for words in other.wordings.values()]
        return rng.sample(labels, min(count, len(labels)))

    def _question(self, task: WrittenTask, rng: random.Random) -> tuple[str, bool]:
        """A question, and whether the menu gets lures for it."""
        shares, draw = self.config["questions"], rng.random()
        needs_it = task.kind in RELATIONS and len(task.wordings) <= 3
        if needs_it or draw < shares["own"]:
            has_none = not task.questions or (needs_it and rng.random() < 0.15)
            return ("", False) if has_none else (rng.choice(task.questions), rng.random() < self.config["lures"])
        if draw < shares["own"] + shares["none"]:
            return "", False
        if draw < shares["own"] + shares["none"] + shares["general"]:
            return rng.choice(self.words.GENERAL_QUESTIONS), False
        return rng.choice(self.questions), rng.random() < 0.6

    def _yes_no(self, task: WrittenTask, row: WrittenRow, example: Example, rng: random.Random) -> Example:
        others = [label for label in task.wordings if label != row.right[0]]
        asked = row.right[0] if rng.random() < 0.5 else rng.choice(others)
        question = rng.choice(self.words.FITS_QUESTIONS).format(rng.choice(task.wordings[asked]))
        example = {**example, "question": question, "options": list(self.words.YES_NO)}
        return {**example, "label": int(asked != row.right[0])}

    def mislead(self, example: Example, rng: random.Random) -> Example:
        """An example of another source, asked by a written question that has nothing to do with it, with lures.

        Its text must have been [`prepared`][Lures.prepare].
        """
        right = [example["options"][example["label"]]]
        example = {**example, "question": rng.choice(self.questions)}
        return {**example, "options": [*example["options"], *self.lures.draw(example, right, rng.randint(1, 6), rng)]}


def phrases_of(tasks: Iterable[WrittenTask], longest: int = 60) -> list[str]:
    """Every wording of every label, once, but for the long ones."""
    words = (word for task in tasks for names in task.wordings.values() for word in names)
    return list(dict.fromkeys(word for word in words if len(word) < longest))


def word_menu(
    task: WrittenTask, right: Sequence[str], config: dict[str, Any], words: Any, rng: random.Random
) -> dict[str, str]:
    """Label -> what the menu calls it; a long menu may be cut to some labels, `right` among them.

    Args:
        task: whose menu.
        right: labels that stay.
        config: shares, as of [`WrittenRewording`].
        words: of a language, of `rewording.WORDINGS`.
        rng: draws the wordings.
    """
    labels = list(task.wordings)
    if len(labels) > 8 and rng.random() < config["cut_menu"]:
        size = max(len(right), round(math.exp(rng.uniform(math.log(4), math.log(len(labels))))))
        wrong = [label for label in labels if label not in right]
        labels = [*right, *rng.sample(wrong, min(len(wrong), size - len(right)))]
    style, own = rng.random(), config["own_names"]
    options = {label: label for label in labels}
    if own <= style < (1 + own) / 2:  # one column for all, so that the menu has one form
        column = rng.randrange(1, min(len(names) for names in task.wordings.values()))
        options = {label: task.wordings[label][column] for label in labels}
    elif style >= own:
        options = {label: rng.choice(task.wordings[label]) for label in labels}
    if rng.random() < config["described"]:
        options = {label: f"{label}: {rng.choice(task.wordings[label][1:])}" for label in labels}
    elif rng.random() < config["label_template"]:
        template = rng.choice(words.STATED_AS.get(task.kind, []) + words.STATED_AS["other"])
        options = {label: template.format(option) for label, option in options.items()}
    # Two labels may share a wording.
    return options if len(set(options.values())) == len(options) else {label: label for label in labels}


def by_language(tasks: Iterable[WrittenTask]) -> dict[str, list[WrittenTask]]:
    """The tasks of each language, told by the script of their texts."""
    found: dict[str, list[WrittenTask]] = {}
    for task in tasks:
        found.setdefault(language_of(task.rows[0].text), []).append(task)
    return found


def language_of(text: str) -> str:
    """`chinese` if a Chinese character is in it, else `english`."""
    return "chinese" if CHINESE.search(text) else "english"


__all__ = ["Lures", "WrittenRewording", "by_language", "language_of", "phrases_of", "word_menu"]
