"""Rows of the common JSONL format -> training examples of many wordings, reproducibly.

A row is `{"passage", "question", "options", "label", "task", "source"}`. What makes a zero-shot model is the variety
of tasks, label sets and wordings that it saw, so every row is reworded at random: long and short menus, other
questions or none, other label wordings, yes/no recasting, and for inference several ways to ask. The order of the
options needs no augmentation: UniMC does not see it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from unimc_hf.data_collator_unimc import add_distractors
from unimc_hf.jsonl_examples import Example, read_jsonl

# Wordings that a label can stand in, by task.
LABEL_TEMPLATES = {
    "topic": ["This text is about {}.", "The topic is {}.", "{} news", "It is about {}", "This example is {}."],
    "intent": ["The user wants: {}.", "The intent is {}.", "This message is about {}.", "This example is {}."],
    "emotion": ["This text expresses {}.", "The author feels {}.", "The emotion is {}.", "This example is {}."],
    "toxicity": ["This text is: {}.", "The message: {}"],
    "other": ["It is: {}", "The answer is {}."],
}
QUESTIONS = {
    "topic": ["What is this text about?", "Which topic fits the text?", "What is the subject?", "Classify the text."],
    "intent": ["What does the user want?", "Which intent does the message have?", "What is the request about?"],
    "emotion": ["Which emotion does the text express?", "How does the author feel?", "What is the emotion?"],
    "sentiment": ["What is the sentiment?", "How does the author judge it?", "Is this positive or negative?"],
    "toxicity": ["Is this message toxic?", "How would a moderator label this text?"],
}
YES_NO_QUESTIONS = {
    "topic": ["Is this text about {}?", "Is the topic {}?"],
    "intent": ["Does the user want this: {}?", "Is the intent {}?"],
    "emotion": ["Does the text express {}?", "Does the author feel {}?"],
    "other": ["Is this right: {}?"],
}
# (positive, negative, neutral)
SENTIMENT_WORDS = [
    ("positive", "negative", "neutral"),
    ("good", "bad", "neither good nor bad"),
    ("it's great", "it's terrible", "it's okay"),
    ("a positive opinion", "a negative opinion", "no clear opinion"),
    ("the author is happy", "the author is unhappy", "the author is indifferent"),
    ("The sentiment is positive.", "The sentiment is negative.", "The sentiment is neutral."),
    ("This text is positive.", "This text is negative.", "This text is neutral."),
    ("the author likes it", "the author dislikes it", "the author has no opinion"),
    ("I love it", "I hate it", "I do not care"),
    ("praise", "criticism", "a plain statement"),
    ("wonderful", "awful", "average"),
    ("satisfied", "dissatisfied", "undecided"),
    ("recommended", "not recommended", "no recommendation"),
    ("thumbs up", "thumbs down", "no vote"),
]
EMOTION_SENTIMENT = {
    **dict.fromkeys(("admiration", "amusement", "approval", "caring", "excitement", "gratitude"), 0),
    **dict.fromkeys(("joy", "love", "optimism", "pride", "relief"), 0),
    **dict.fromkeys(("anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment"), 1),
    **dict.fromkeys(("fear", "grief", "nervousness", "remorse", "sadness"), 1),
    "neutral": 2,
}
# (entailment, contradiction, neutral), and what "not entailed" is called when there are two options
NLI_WORDS = [
    ("entailment", "contradiction", "neutral", "not entailment"),
    ("yes", "no", "maybe", "no"),
    ("true", "false", "unknown", "not known to be true"),
    ("it follows", "it is contradicted", "it cannot be told", "it does not follow"),
    ("the second text follows from the first", "the texts contradict each other", "neither", "it does not follow"),
]
NLI_QUESTIONS = [
    "",
    "Does the second text follow from the first?",
    "What is the relation between the two texts?",
    "Given the first text, is the second one true?",
]
INFER, NOT_INFER, HARD_TO_INFER = (
    "we can infer that ",
    "we can not infer that ",
    "it is difficult for us to infer that ",
)


class Rewording:
    """Draws one wording of an example; `config` is the `augmentation` part of the recipe's config file."""

    def __init__(self, config: dict[str, Any], label_sets: dict[str, list[str]]) -> None:
        self.config = config
        self.label_sets = label_sets
        self.pools = {
            source: [label for other, labels in label_sets.items() if other != source for label in labels]
            for source in label_sets
        }

    def __call__(self, example: Example, rng: random.Random) -> Example:
        example = {**example, "text": _shorten(example["text"], self.config["max_characters"])}
        if example["options"][0].startswith(INFER):
            return self._inference(example, rng)
        if example["task"] == "sentiment":
            return self._sentiment(example, rng)
        if example["source"] == "goemotions" and rng.random() < self.config["emotion_as_sentiment"]:
            return self._emotion_as_sentiment(example, rng)
        if example["task"] in ("topic", "intent", "emotion", "toxicity", "other") and example["text"]:
            return self._label_set(example, rng)
        return example

    def _question(self, example: Example, rng: random.Random) -> str:
        draw = rng.random()
        if draw < self.config["no_question"]:
            return ""
        if draw < self.config["no_question"] + self.config["other_question"] and example["task"] in QUESTIONS:
            return rng.choice(QUESTIONS[example["task"]])
        return example["question"]

    def _label_set(self, example: Example, rng: random.Random) -> Example:
        source, task, right = example["source"], example["task"], example["options"][example["label"]]
        labels = self.label_sets.get(source, [])
        if len(labels) > len(example["options"]) and rng.random() < self.config["resample_menu"]:
            size = round(math.exp(rng.uniform(math.log(2), math.log(len(labels)))))
            wrong = rng.sample([label for label in labels if label != right], size - 1)
            example = {**example, "options": [right, *wrong], "label": 0}
        if task in YES_NO_QUESTIONS and rng.random() < self.config["yes_no"]:
            return self._yes_no(example, rng)
        if task != "other" and source in self.pools and rng.random() < self.config["distractors"]:
            words = set(right.lower().split())
            pool = [label for label in self.pools[source] if not words & set(label.lower().split())]
            longest = round(math.exp(rng.uniform(math.log(4), math.log(self.config["max_choices"]))))
            example = add_distractors(example, pool, longest, rng)
        if task in QUESTIONS:  # elsewhere the question says what the options mean
            example = {**example, "question": self._question(example, rng)}
        if rng.random() < self.config["label_template"]:
            template = rng.choice(LABEL_TEMPLATES[task])
            example = {**example, "options": [template.format(option) for option in example["options"]]}
        return example

    def _yes_no(self, example: Example, rng: random.Random) -> Example:
        label = example["label"] if rng.random() < 0.5 else rng.randrange(len(example["options"]))
        question = rng.choice(YES_NO_QUESTIONS[example["task"]]).format(example["options"][label])
        if example["task"] == "other":
            question = f"{example['question']} {question}".strip()
        return {
            **example,
            "question": question,
            "options": ["yes", "no"],
            "label": 0 if label == example["label"] else 1,
        }

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
        words = rng.choice(SENTIMENT_WORDS)[: 3 if with_neutral else 2]
        # A question about one aspect of the text decides the answer, so it stays.
        keep = '"' in example["question"]
        question = example["question"] if keep else self._question(example, rng)
        return {**example, "question": question, "options": list(words), "label": polarity}

    def _inference(self, example: Example, rng: random.Random) -> Example:
        hypothesis = example["options"][0].removeprefix(INFER)
        right = example["options"][example["label"]]
        truth = 0 if right.startswith(INFER) else 1 if right.startswith(NOT_INFER) else 2
        two_way = len(example["options"]) == 2 or rng.random() < self.config["nli_two_way"]
        if rng.random() < self.config["nli_keep_form"]:
            prefixes = (INFER, NOT_INFER) if two_way else (INFER, NOT_INFER, HARD_TO_INFER)
            options = [prefix + hypothesis for prefix in prefixes]
            return {**example, "options": options, "label": min(truth, 1) if two_way else truth}
        entailed, contradicted, neutral, not_entailed = rng.choice(NLI_WORDS)
        options = [entailed, not_entailed] if two_way else [entailed, contradicted, neutral]
        example = {**example, "options": options, "label": min(truth, 1) if two_way else truth}
        if rng.random() < 0.5:
            return {**example, "text_pair": hypothesis, "question": rng.choice(NLI_QUESTIONS)}
        asked = rng.choice(["Is this true?", "Can we infer this?", ""])
        return {**example, "question": f"{hypothesis} {asked}".strip()}


def _shorten(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else text[:max_characters].rsplit(" ", 1)[0]


def _polarity(option: str) -> int | None:
    """0, 1, 2 for a positive, negative, neutral option wording; None for anything else."""
    for words in [*SENTIMENT_WORDS, ("the economy is doing well", "the economy is doing badly", "")]:
        if option in words:
            return words.index(option)
    return None


def label_sets(examples: Iterable[Example], largest: int = 200) -> dict[str, list[str]]:
    """All options of each label-set source. A source with more than `largest` has options of its own per row."""
    found: dict[str, dict[str, None]] = {}
    for example in examples:
        if example["task"] in ("topic", "intent", "emotion", "toxicity", "other") and example["text"]:
            found.setdefault(example["source"], {}).update(dict.fromkeys(example["options"]))
    return {source: list(labels) for source, labels in found.items() if len(labels) <= largest}


def build_mixture(data_dir: str | Path, config: dict[str, Any]) -> list[Example]:
    """Every source up to its cap, every pass with other wordings, in an order fixed by `config["seed"]`.

    Texts are shortened; rows whose question or own options are too long to train on are left out.
    """
    longest = config["augmentation"]["max_characters"]
    examples = [
        example
        for source, cap in config["sources"].items()
        for example in read_jsonl(Path(data_dir) / f"{source}.jsonl.gz", limit=cap, seed=config["seed"])
        if len(example["question"]) <= longest and len("".join(example["options"])) <= longest
    ]
    reword = Rewording(config["augmentation"], label_sets(examples))
    mixture = []
    for epoch in range(config["passes"]):
        rng = random.Random(f"{config['seed']}-{epoch}")
        for example in examples:
            for _ in range(config["repeats"].get(example["source"], 1)):
                mixture.append(reword(example, rng))
    random.Random(config["seed"]).shuffle(mixture)
    return mixture


def estimate_length(example: Example) -> int:
    """Tokens of an example, to about a tenth: English word pieces have four to five characters."""
    texts = (example["text"], example["text_pair"], example["question"], *example["options"])
    return 4 + len(example["options"]) + sum(math.ceil(len(text) / 4.3) for text in texts if text)


def held_out(data_dir: str | Path, sources: Sequence[str], rows: int, seed: int) -> list[Example]:
    """`rows` rows of each development source, untouched."""
    return [
        example
        for source in sources
        for example in read_jsonl(Path(data_dir) / f"{source}.jsonl.gz", limit=rows, seed=seed)
    ]
