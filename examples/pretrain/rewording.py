"""One wording of a training example, drawn at random from its task's: menus, questions, labels, ways to ask."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import wordings
import wordings_chinese

from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.task_templates import BLANK, move_clause_into_options
from unimc_hf.training.data_collator import add_distractors

WORDINGS: dict[str, Any] = {"english": wordings, "chinese": wordings_chinese}
# What options of any source mean; what they become is worded in one language.
TOXIC_OPTIONS = {**wordings.TOXIC_OPTIONS, **wordings_chinese.TOXIC_OPTIONS}
EMOTION_SENTIMENT = {**wordings.EMOTION_SENTIMENT, **wordings_chinese.EMOTION_SENTIMENT}
CHINESE = re.compile("[\u4e00-\u9fff]")


class Rewording:
    """
    Draws one wording of an example.

    Args:
        config: the `augmentation` part of the recipe's config file.
        label_sets, answers: of [`label_sets`] and [`right_answers`].
        language: of the recipe. English examples of a Chinese one are worded in Chinese for a share `other_language`.
    """

    def __init__(
        self,
        config: dict[str, Any],
        label_sets: dict[str, list[str]],
        answers: dict[str, list[str]],
        language: str = "english",
    ) -> None:
        self.config = config
        self.label_sets = label_sets
        self.answers = answers
        self.language = language
        is_chinese = {source: bool(CHINESE.search("".join(labels))) for source, labels in label_sets.items()}
        self.pools = {
            source: [
                label
                for other, labels in label_sets.items()
                if other != source and is_chinese[other] == is_chinese[source]
                for label in labels
            ]
            for source in label_sets
        }

    def __call__(self, example: Example, rng: random.Random) -> Example:
        text = _shorten(example["text"], self.config["max_characters"])
        example = {**example, "text": text, "language": self._language(example, rng)}
        statement, truth = read_statement(example)
        if statement:
            questions = "FIND_MATCH_QUESTIONS" if _is_matching(example) else "FIND_ENTAILED_QUESTIONS"
            if self.answers.get(example["source"]) and truth == 0 and rng.random() < self.config["find_entailed"]:
                question = rng.choice(getattr(WORDINGS[example["language"]], questions))
                return self._answers_of_others(
                    {**example, "options": [statement], "label": 0, "question": question}, rng
                )
            if _is_matching(example):
                return self._matching(example, statement, truth, rng)
            return self._inference(example, statement, truth, rng)
        if example["task"] == "sentiment":
            return self._sentiment(example, rng)
        if example["task"] == "emotion" and rng.random() < self.config["emotion_as_sentiment"]:
            return self._emotion_as_sentiment(example, rng)
        if example["task"] == "cloze" and rng.random() < self.config["blank_in_options"]:
            text, options = move_clause_into_options(example["text"], example["options"])
            return {**example, "text": text, "question": "", "options": options}
        if example["task"] in ("topic", "intent", "emotion", "toxicity", "other") and example["text"]:
            return self._label_set(example, rng)
        if example["source"] in self.answers and rng.random() < self.config["answers_of_others"]:
            return self._answers_of_others(example, rng)
        return example

    def _language(self, example: Example, rng: random.Random) -> str:
        if self.language == "english" or CHINESE.search(example["question"] + "".join(example["options"])):
            return self.language
        return self.language if rng.random() < self.config["other_language"] else "english"

    def _answers_of_others(self, example: Example, rng: random.Random) -> Example:
        """The right answer among right answers to other questions: what kind of thing is asked for, decides."""
        answers = self.answers[example["source"]]
        right = example["options"][example["label"]]
        wrong = rng.choice([answer for answer in rng.sample(answers, 2) if answer != right])
        longest = round(math.exp(rng.uniform(math.log(2), math.log(16))))
        return add_distractors({**example, "options": [right, wrong], "label": 0}, answers, longest, rng)

    def _question(self, example: Example, rng: random.Random) -> str:
        words, draw = WORDINGS[example["language"]], rng.random()
        if draw < self.config["no_question"]:
            return ""
        if draw < self.config["no_question"] + self.config["other_question"] and example["task"] in words.QUESTIONS:
            return rng.choice(words.QUESTIONS[example["task"]])
        return example["question"]

    def _label_set(self, example: Example, rng: random.Random) -> Example:
        source, task, right = example["source"], example["task"], example["options"][example["label"]]
        words = WORDINGS[example["language"]]
        if right in TOXIC_OPTIONS and rng.random() < self.config["other_toxic_words"]:
            return self._toxicity(example, rng)
        labels = self.label_sets.get(source, [])
        if len(labels) > len(example["options"]) and rng.random() < self.config["resample_menu"]:
            size = round(math.exp(rng.uniform(math.log(2), math.log(len(labels)))))
            wrong = rng.sample([label for label in labels if label != right], size - 1)
            example = {**example, "options": [right, *wrong], "label": 0}
        if task in words.YES_NO_QUESTIONS and rng.random() < self.config["yes_no"]:
            return self._yes_no(example, rng)
        if task != "other" and source in self.pools and rng.random() < self.config["distractors"]:
            pool = sharing_no_word(self.pools[source], [right])
            longest = round(math.exp(rng.uniform(math.log(4), math.log(self.config["max_choices"]))))
            example = add_distractors(example, pool, longest, rng)
        if task in words.QUESTIONS:  # elsewhere the question says what the options mean
            example = {**example, "question": self._question(example, rng)}
        if rng.random() < self.config["label_template"]:
            template = rng.choice(words.LABEL_TEMPLATES[task])
            example = {**example, "options": [template.format(option) for option in example["options"]]}
        return example

    def _yes_no(self, example: Example, rng: random.Random) -> Example:
        words = WORDINGS[example["language"]]
        label = example["label"] if rng.random() < 0.5 else rng.randrange(len(example["options"]))
        if example["task"] in words.OPPOSITES and rng.random() < 0.5:
            right_or_wrong = rng.choice(words.OPPOSITES[example["task"]])
            options = [wording.format(example["options"][label]) for wording in right_or_wrong]
            question = self._question(example, rng)
            return {**example, "question": question, "options": options, "label": int(label != example["label"])}
        question = rng.choice(words.YES_NO_QUESTIONS[example["task"]]).format(example["options"][label])
        if example["task"] == "other":
            question = f"{example['question']} {question}".strip()
        return {
            **example,
            "question": question,
            "options": list(words.YES_NO),
            "label": int(label != example["label"]),
        }

    def _toxicity(self, example: Example, rng: random.Random) -> Example:
        """Two options of another wording; what is offensive without being hateful is toxic, and not hate."""
        kind = TOXIC_OPTIONS[example["options"][example["label"]]]
        toxic_words = WORDINGS[example["language"]].TOXIC_WORDS
        asked = rng.choice(list(toxic_words))
        is_so = kind == "hate" or (kind == "offensive" and asked == "toxic")
        options = list(rng.choice(toxic_words[asked]))
        return {**example, "question": self._question(example, rng), "options": options, "label": int(not is_so)}

    def _sentiment(self, example: Example, rng: random.Random) -> Example:
        polarity = _polarity(example["options"][example["label"]])
        if polarity is None or rng.random() < self.config["keep_sentiment_words"]:
            return example
        return self._with_sentiment_words(example, polarity, len(example["options"]) == 3, rng)

    def _emotion_as_sentiment(self, example: Example, rng: random.Random) -> Example:
        polarity = EMOTION_SENTIMENT.get(example["options"][example["label"]])
        if polarity is None:
            return example
        with_neutral = polarity == 2 or rng.random() < 0.3
        return self._with_sentiment_words({**example, "task": "sentiment"}, polarity, with_neutral, rng)

    def _with_sentiment_words(self, example: Example, polarity: int, with_neutral: bool, rng: random.Random) -> Example:
        language = WORDINGS[example["language"]]
        words = rng.choice(language.SENTIMENT_WORDS)[: 3 if with_neutral else 2]
        # A question about one aspect of the text decides the answer, so it stays.
        keep = language.QUOTE in example["question"]
        question = example["question"] if keep else self._question(example, rng)
        return {**example, "question": question, "options": list(words), "label": polarity}

    def _inference(self, example: Example, hypothesis: str, truth: int, rng: random.Random) -> Example:
        words = WORDINGS[example["language"]]
        two_way = len(example["options"]) == 2 or rng.random() < self.config["nli_two_way"]
        label = min(truth, 1) if two_way else truth
        if rng.random() < self.config["nli_keep_form"]:
            prefixes = (
                (words.INFER, words.NOT_INFER) if two_way else (words.INFER, words.NOT_INFER, words.HARD_TO_INFER)
            )
            return {**example, "options": [prefix + hypothesis for prefix in prefixes], "label": label}
        entailed, contradicted, neutral, not_entailed = rng.choice(words.NLI_WORDS)
        options = [entailed, not_entailed] if two_way else [entailed, contradicted, neutral]
        example = {**example, "options": options, "label": label}
        if rng.random() < 0.5:
            return {**example, "text_pair": hypothesis, "question": rng.choice(words.NLI_QUESTIONS)}
        asked = rng.choice(words.HYPOTHESIS_QUESTIONS)
        return {**example, "question": f"{hypothesis} {asked}".strip()}

    def _matching(self, example: Example, other: str, truth: int, rng: random.Random) -> Example:
        words = WORDINGS[example["language"]]
        draw = rng.random()
        if draw < self.config["nli_keep_form"]:
            return {**example, "options": [words.MATCH + other, words.NOT_MATCH + other], "label": truth}
        if draw < (1 + self.config["nli_keep_form"]) / 2:
            same_or_not = rng.choice(words.MATCHING_OPTIONS)
            return {**example, "options": [wording.format(other) for wording in same_or_not], "label": truth}
        options, question = list(rng.choice(words.MATCHING_WORDS)), rng.choice(words.MATCHING_QUESTIONS)
        return {**example, "text_pair": other, "question": question, "options": options, "label": truth}


def _is_matching(example: Example) -> bool:
    return example["options"][0].startswith((wordings_chinese.MATCH, wordings_chinese.NOT_MATCH))


def read_statement(example: Example) -> tuple[str, int]:
    """(statement, truth) of an inference or matching row: options that affirm, deny or doubt one statement.

    The truth is 0 where it is entailed or means the same, 1 where not, 2 where it cannot be told. Of any other row
    the statement is empty.
    """
    right = example["options"][example["label"]]
    for prefixes in _STATEMENTS:
        for prefix in prefixes:
            if example["options"][0].startswith(prefix):
                truth = next(i for i, other in enumerate(prefixes) if right.startswith(other))
                return example["options"][0].removeprefix(prefix), truth
    return "", 0


_STATEMENTS = [(words.INFER, words.NOT_INFER, words.HARD_TO_INFER) for words in WORDINGS.values()]
_STATEMENTS.append((wordings_chinese.MATCH, wordings_chinese.NOT_MATCH))


def sharing_no_word(pool: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Those of `pool` that have no word of any of `labels`, and so hardly mean the same."""
    words = {word for label in labels for word in _words(label)}
    return [option for option in pool if not words & set(_words(option))]


@cache
def _words(label: str) -> list[str]:
    """Words between spaces; in Chinese, every character."""
    return CHINESE.sub(r" \g<0> ", label.lower()).split()


def _shorten(text: str, max_characters: int) -> str:
    if len(text) <= max_characters:
        return text
    start = max(0, text.find(BLANK) - max_characters // 2)  # a text with a blank is cut around it
    cut = text[start : start + max_characters]
    whole_words, _, rest = cut.rpartition(" ")
    return whole_words if len(rest) < max_characters // 10 else cut


def _polarity(option: str) -> int | None:
    """0, 1, 2 for a positive, negative, neutral option wording; None for anything else."""
    for words in WORDINGS.values():
        for triple in (*words.SENTIMENT_WORDS, *words.MORE_SENTIMENT_WORDS):
            if option in triple:
                return triple.index(option)
    return None
