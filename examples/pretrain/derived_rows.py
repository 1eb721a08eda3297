"""Rows of tasks that few free Chinese sources have, made from rows of other tasks: keywords, pronouns, idioms.

`keyword_rows`: the words of a title are keywords of its abstract; the frequent words of the abstract that are not in
the title are not. `pronoun_rows`: English rows that say who a pronoun means, asked as FewCLUE asks, one row for each of
the two names. `idiom_rows`: idioms of four characters, blanked where they stand in texts. No row of a benchmark is
used.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.task_templates import BLANK

KEYWORD_WORDINGS = [
    ("可以使用{}概括摘要", "不能使用{}概括摘要"),
    ("可以使用{}概括摘要", "不能使用{}概括摘要"),
    ("{}是这段文字的关键词", "{}不是这段文字的关键词"),
    ("可以用{}概括这段文字", "不能用{}概括这段文字"),
]
PRONOUN_WORDINGS = [
    ("{pronoun}是{name}", "{pronoun}不是{name}"),
    ("{pronoun}是{name}", "{pronoun}不是{name}"),
    ("{pronoun}指的是{name}", "{pronoun}指的不是{name}"),
    ("“{pronoun}”就是“{name}”", "“{pronoun}”不是“{name}”"),
]
IDIOM_QUESTION = "文中下划线处应填入哪个成语？"
# What stands between the terms of a title.
_BETWEEN_TERMS = re.compile(
    r"[^\w]|基于|关于|及其|以及|研究|分析|应用|进展|探讨|影响|浅析|浅谈|方法|作用|为例|一种|一例|试论|试验|设计|实现"
    r"|的|与|和|及|对|在|中|下|上|之|论|从|看|以|为|其|性能"
)
_READ = 380  # characters
_CHINESE_WORD = re.compile("[\u4e00-\u9fff]{2}")


def keyword_rows(rows: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    """`count` rows of whether some words are keywords of a text.

    Args:
        rows: a text (an abstract), and the right option (its title).
        count: how many rows; half of them with words that are no keywords.
        rng: draws words and wordings.
    """
    terms = [terms_of_title(row["options"][row["label"]]) for row in rows]
    usable = [(row["text"], own) for row, own in zip(rows, terms) if len(own) > 1]
    words = _frequent_words([text for text, _ in usable])
    made: list[Example] = []
    for text, own in (usable[i % len(usable)] for i in range(count)):
        chosen = rng.sample(own, min(len(own), rng.randint(2, 5)))
        right = rng.random() < 0.5
        if not right:
            other = [word for word in words.get(text, []) if all(word not in term for term in own)]
            wrong = rng.sample(other, min(len(other), rng.randint(2, 4)))
            if not wrong:
                continue
            chosen = rng.sample(kept := chosen[: rng.randint(0, 2)], len(kept)) + wrong
            rng.shuffle(chosen)
        options = [wording.format("、".join(chosen)) for wording in rng.choice(KEYWORD_WORDINGS)]
        made.append(_row(text, options, int(not right), "keyword", "derived_keywords"))
    return made


def terms_of_title(title: str) -> list[str]:
    """What stands between the joining words of a Chinese title: terms of two to eight characters."""
    return list(dict.fromkeys(term for term in _BETWEEN_TERMS.split(title) if 2 <= len(term) <= 8))


def _frequent_words(texts: Sequence[str], least: int = 12, cohesion: float = 3.0) -> dict[str, list[str]]:
    """Of each text the two-character words that stand in it twice.

    A word is a pair of characters that stand together more often, over all texts, than their own counts make likely
    (pointwise mutual information of at least `cohesion`, in nats).
    """
    characters = Counter(character for text in texts for character in text)
    pairs = Counter(text[i : i + 2] for text in texts for i in range(len(text) - 1))
    total = characters.total()
    words = {
        pair
        for pair, n in pairs.items()
        if n >= least
        and _CHINESE_WORD.fullmatch(pair)
        and math.log(n * total / (characters[pair[0]] * characters[pair[1]])) >= cohesion
    }
    counted = {text: Counter(text[i : i + 2] for i in range(len(text) - 1)) for text in texts}
    return {text: [pair for pair, n in own.items() if n > 1 and pair in words] for text, own in counted.items()}


def pronoun_rows(rows: Sequence[Example], count: int, rng: random.Random) -> list[Example]:
    """`count` rows of whether a pronoun means a name, two from each English row that asks about `*pronoun*`."""
    made: list[Example] = []
    for row in rng.sample(list(rows), min(len(rows), count // 2)):
        pronoun = row["question"].partition("*")[2].partition("*")[0]
        for i, name in enumerate(row["options"][:2]):
            start = row["text"][:_READ]  # a recipe shortens texts, and both must stay
            if f"*{pronoun}*" not in start or name not in start:
                continue
            text = row["text"].replace(f"*{pronoun}*", f"_{pronoun}_").replace(name, f"[{name}]", 1)
            options = [wording.format(pronoun=pronoun, name=name) for wording in rng.choice(PRONOUN_WORDINGS)]
            made.append(_row(text, options, int(row["label"] != i), "coreference", "derived_pronouns"))
    return made


def idiom_rows(
    rows: Sequence[Example], count: int, rng: random.Random, idioms: Iterable[str], num_choices: int = 7
) -> list[Example]:
    """At most `count` rows of which idiom fits a blank, each around another place where one of `idioms` stands.

    Wrong options are other idioms, whatever they mean, so that a few of them may fit too.
    """
    known = list(dict.fromkeys(idiom for idiom in idioms if len(idiom) == 4))
    taken = set(known)
    texts = dict.fromkeys(text for row in rows for text in (row["text"], row["text_pair"], *row["options"]))
    places = [(text, i) for text in texts for i in range(len(text) - 3) if text[i : i + 4] in taken]
    made: list[Example] = []
    for text, i in rng.sample(places, min(count, len(places))):
        right = text[i : i + 4]
        before, after = rng.randint(10, 110), rng.randint(10, 110)
        blanked = text[max(0, i - before) : i] + BLANK + text[i + 4 : i + 4 + after]
        options = rng.sample([idiom for idiom in known if idiom != right], num_choices - 1) + [right]
        rng.shuffle(options)
        row = _row(blanked, options, options.index(right), "cloze", "derived_idioms")
        made.append({**row, "question": IDIOM_QUESTION})
    return made


def _row(text: str, options: list[str], label: int, task: str, source: str) -> Example:
    return {
        "text": text, "text_pair": "", "question": "", "options": options, "label": label, "task": task,
        "source": source,
    }  # fmt: skip


def derive(parts: dict[str, dict[str, Any]], read: Callable[[str], list[Example]], seed: int) -> list[Example]:
    """The rows that a recipe's `derived` part asks for: `{kind: {"from": source or sources, "rows": how many}}`.

    Args:
        parts: the kinds are `keywords`, `pronouns` and `idioms`; the last also names the source whose options are
            the idioms, `words_of`.
        read: gives the rows of a source.
        seed: of the draw.
    """
    makers: dict[str, Callable[..., list[Example]]] = {
        "keywords": keyword_rows,
        "pronouns": pronoun_rows,
        "idioms": idiom_rows,
    }
    made: list[Example] = []
    for kind, part in parts.items():
        sources = [part["from"]] if isinstance(part["from"], str) else part["from"]
        rows = [row for source in sources for row in read(source)]
        words = [[option for row in read(part["words_of"]) for option in row["options"]]] if "words_of" in part else []
        made += makers[kind](rows, part["rows"], random.Random(f"{seed}-{kind}"), *words)
    return made


__all__ = ["derive", "idiom_rows", "keyword_rows", "pronoun_rows", "terms_of_title"]
