"""Rows of the common JSONL format -> training examples of many wordings, reproducibly.

A row is `{"passage", "question", "options", "label", "task", "source"}`. What makes a zero-shot model is the variety
of tasks, label sets and wordings that it saw, so every row is reworded at random: long and short menus, other
questions or none, other label wordings, yes/no recasting, and for inference several ways to ask. The order of the
options needs no augmentation: UniMC does not see it.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import wordings
import wordings_chinese
from sentiment_grammar import make_opinions
from similarity_targets import SimilarityTeacher
from text_overlap import without_texts_of

from unimc_hf import UniMCTokenizer
from unimc_hf.data_collator_unimc import add_distractors
from unimc_hf.jsonl_examples import Example, read_jsonl
from unimc_hf.task_templates import BLANK, move_clause_into_options

WORDINGS: dict[str, Any] = {"english": wordings, "chinese": wordings_chinese}
# What options of any source mean; what they become is worded in one language.
TOXIC_OPTIONS = {**wordings.TOXIC_OPTIONS, **wordings_chinese.TOXIC_OPTIONS}
EMOTION_SENTIMENT = {**wordings.EMOTION_SENTIMENT, **wordings_chinese.EMOTION_SENTIMENT}
# Tasks whose rows have options of their own, so that right answers of other rows are wrong ones here.
OWN_OPTIONS = ("mcqa", "multiple_choice", "cloze")
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
            pool = _sharing_no_word(self.pools[source], [right])
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


def _sharing_no_word(pool: Iterable[str], labels: Iterable[str]) -> list[str]:
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


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's config file. What it does not say comes from the one beside it that `"extends"` names."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if "extends" not in config:
        return config
    base = read_recipe(path.parent / config.pop("extends"))
    parts = {key: {**base[key], **value} for key, value in config.items() if isinstance(value, dict)}
    return {**base, **config, **parts}


def read_source(data_dirs: Sequence[str | Path], source: str, **kwargs: Any) -> list[Example]:
    """The rows of a source, from the first folder that has it; whatever they say, its name is that of the file."""
    paths = [Path(folder) / f"{source}.jsonl.gz" for folder in data_dirs]
    path = next((path for path in paths if path.is_file()), paths[-1])
    return [{**example, "source": source} for example in read_jsonl(path, **kwargs)]


def build_mixture(data_dirs: Sequence[str | Path], config: dict[str, Any], teacher: str | Path) -> list[Example]:
    """Every source up to its cap, every pass with other wordings, in an order fixed by `config["seed"]`.

    `teacher` is the folder of the embedding model that makes the soft targets. Texts are shortened;
    rows whose question or own options are too long to train on are left out.
    """
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
    examples += make_opinions(config["opinions"], f"{config['seed']}-opinions")
    reword = Rewording(config["augmentation"], label_sets(examples), right_answers(examples), config["language"])
    mixture = []
    for epoch in range(config["passes"]):
        rng = random.Random(f"{config['seed']}-{epoch}")
        for example in examples:
            for _ in range(config["repeats"].get(example["source"], 1)):
                mixture.append(reword(example, rng))
    if config["similarity"]["examples"] or config["similarity"]["label_smoothing"]:
        made_with = config["similarity"].get("teacher", {})
        mixture = _with_soft_targets(mixture, config, SimilarityTeacher(teacher, **made_with))
    random.Random(config["seed"]).shuffle(mixture)
    return mixture


def _with_soft_targets(mixture: list[Example], config: dict[str, Any], teacher: SimilarityTeacher) -> list[Example]:
    similarity, rng = config["similarity"], random.Random(config["seed"])
    # Bytes, because five Chinese characters say about as much as fifteen letters.
    texts = list(dict.fromkeys(e["text"][:240] for e in mixture if len(e["text"].encode()) > 15))
    phrases = list(dict.fromkeys(o for e in mixture for o in e["options"] if len(o) <= 80))
    texts = rng.sample(texts, min(len(texts), similarity["examples"]))
    phrases = rng.sample(phrases, min(len(phrases), similarity["phrases"]))
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


def token_lengths(examples: Sequence[Example], tokenizer: UniMCTokenizer) -> list[int]:
    """Tokens of every example, before anything is cut; every distinct string is tokenised once."""
    keys = ("text", "text_pair", "question")
    distinct = list(dict.fromkeys(s for e in examples for s in (*(e[k] for k in keys), *e["options"]) if s))
    count: dict[str, int] = {"": 0}
    for start in range(0, len(distinct), 10_000):
        chunk = distinct[start : start + 10_000]
        for string, ids in zip(chunk, tokenizer(chunk, add_special_tokens=False)["input_ids"]):
            count[string] = len(ids)
    return [
        2 + sum(count[o] + 1 for o in e["options"]) + sum(count[e[k]] + (e[k] != "" or k == "text") for k in keys)
        for e in examples
    ]


def held_out(data_dirs: Sequence[str | Path], config: dict[str, Any]) -> list[Example]:
    """`development_rows` rows of each development source, in their own wording.

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
                labels = labels + _sharing_no_word(menu, labels)
        chosen = random.Random(config["seed"]).sample(examples, min(len(examples), config["development_rows"]))
        for example in chosen:
            if labels:
                right = example["options"][example["label"]]
                example = {**example, "options": labels, "label": labels.index(right)}
            rows.append(example)
    return rows
