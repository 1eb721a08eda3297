"""The recipe's data: rewording never changes what is right, menus of held-out tasks are whole, lengths are exact."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import ablate
import multiple_choice_data as data
import pytest
import wordings
from tiny_models import tiny_tokenizer

EXAMPLES = Path(__file__).parents[1] / "examples"
RECIPE = json.loads((EXAMPLES / "train_english.json").read_text())
TOPICS = ["sports", "business", "music", "science", "travel"]


def example(options: list[str], label: int, task: str = "topic", source: str = "news", text: str = "sky") -> dict:
    row = {"text": text, "text_pair": "", "question": "", "options": options, "label": label}
    return {**row, "task": task, "source": source}


@pytest.fixture(scope="module")
def reword() -> data.Rewording:
    sets = {"news": TOPICS, "intents": [f"intent {i}" for i in range(150)]}
    answers = {"quiz": [f"answer {i}" for i in range(200)], "nli": [f"statement {i}" for i in range(200)]}
    return data.Rewording(RECIPE["augmentation"], sets, answers)


def test_the_right_label_stays_right(reword: data.Rewording) -> None:
    rng, sizes, affirmed = random.Random(0), Counter(), Counter()
    for _ in range(2000):
        result = reword(example(TOPICS[:3], 1), rng)
        right = result["options"][result["label"]]
        if "business" in right:
            sizes[len(result["options"])] += 1
        elif result["options"] == ["yes", "no"]:
            affirmed[("business" in result["question"], right)] += 1
        else:  # one label affirmed or denied
            assert len(result["options"]) == 2 and "business" not in result["options"][0]
            assert result["label"] == 1
    assert max(sizes) > 20 and min(sizes) == 2
    assert set(affirmed) == {(True, "yes"), (False, "no")}


def test_answers_of_others_keep_the_answer(reword: data.Rewording) -> None:
    rng = random.Random(0)
    found = [reword(example(["a", "b", "answer 7"], 2, "mcqa", "quiz"), rng) for _ in range(300)]
    assert {row["options"][row["label"]] for row in found} == {"answer 7"}
    assert max(len(row["options"]) for row in found) > 8
    assert all(len(set(row["options"])) == len(row["options"]) >= 2 for row in found)


def test_sentiment_keeps_its_polarity(reword: data.Rewording) -> None:
    rng = random.Random(0)
    for _ in range(300):
        result = reword(example(["it's great", "it's terrible"], 1, "sentiment"), rng)
        assert any(result["options"][result["label"]] == words[1] for words in wordings.SENTIMENT_WORDS)
        with_neutral = reword(example(["positive", "negative", "neutral"], 2, "sentiment"), rng)
        assert any(with_neutral["options"][with_neutral["label"]] == words[2] for words in wordings.SENTIMENT_WORDS)


def test_what_is_offensive_is_toxic_and_not_hate(reword: data.Rewording) -> None:
    rng = random.Random(0)
    options = ["this is hate speech", "this is offensive language", "this is neither hateful nor offensive"]
    hate_words = {pair[0] for pair in wordings.TOXIC_WORDS["hate"]}
    for label, is_hate, is_toxic in ((0, 0, 0), (1, 1, 0), (2, 1, 1)):
        for _ in range(200):
            result = reword(example(options, label, "toxicity"), rng)
            if len(result["options"]) == 2 and result["options"][0] in hate_words:
                assert result["label"] == is_hate
            elif len(result["options"]) == 2 and tuple(result["options"]) in wordings.TOXIC_WORDS["toxic"]:
                assert result["label"] == is_toxic


def test_inference_keeps_its_truth(reword: data.Rewording) -> None:
    rng = random.Random(0)
    options = [prefix + "it rains" for prefix in (wordings.INFER, wordings.NOT_INFER, wordings.HARD_TO_INFER)]
    first_words = {words[0] for words in wordings.NLI_WORDS} | {options[0], "it rains"}
    for _ in range(300):
        entailed = reword(example(options, 0, "nli", "nli"), rng)
        assert entailed["options"][entailed["label"]] in first_words
        neutral = reword(example(options, 2, "nli", "nli"), rng)
        assert neutral["options"][neutral["label"]] not in first_words


def test_held_out_tasks_get_their_whole_menus(tmp_path: Path) -> None:
    def write(source: str, menus: list[list[str]]) -> None:
        with gzip.open(tmp_path / f"{source}.jsonl.gz", "wt") as file:
            for menu in menus:
                row = {"passage": "x", "options": menu, "label": 0, "task": "intent", "source": source}
                file.write(json.dumps(row) + "\n")

    write("small", [["play music", "book table"], ["get weather", "play music"]])
    write("large", [["play a game", "tell a joke", "set alarm"]])
    write("plain", [["a", "b"]])
    recipe = {"development": ["small", "plain"], "development_menus": {"small": "large"}, "seed": 0}
    rows = data.held_out([tmp_path], {**recipe, "development_rows": 9})
    whole = {"play music", "book table", "get weather", "tell a joke", "set alarm"}  # "play" is in both
    assert [set(row["options"]) for row in rows] == [whole, whole, {"a", "b"}]
    assert {row["options"][row["label"]] for row in rows[:2]} == {"play music", "get weather"}


def test_lengths_are_those_of_the_tokenizer() -> None:
    tokenizer = tiny_tokenizer()
    examples = [
        example(["red car", "dog"], 0, text="the sky is blue"),
        {**example(["red"], 0, text=""), "question": "what", "text_pair": "the team"},
        {**example(["red", "sports game"], 0, text="")},
    ]
    for row, length in zip(examples, data.token_lengths(examples, tokenizer)):
        encoded = tokenizer(row["text"], row["text_pair"] or None, options=row["options"], question=row["question"])
        assert length == len(encoded["input_ids"])


def test_an_ablation_changes_one_thing_and_refuses_unknown_names() -> None:
    changed = ablate.changed(RECIPE, {"augmentation.yes_no": 0.0})
    assert changed["augmentation"]["yes_no"] == 0.0
    assert {**changed, "augmentation": None} == {**RECIPE, "augmentation": None}
    assert RECIPE["augmentation"]["yes_no"] > 0
    with pytest.raises(SystemExit, match=r"no augmentation\.nothing"):
        ablate.changed(RECIPE, {"augmentation.nothing": 1})
    spec = json.loads((EXAMPLES / "ablations_english.json").read_text())
    for run in spec["runs"].values():
        ablate.changed(RECIPE, run["changes"])
