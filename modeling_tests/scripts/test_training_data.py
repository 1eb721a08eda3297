"""The recipe's data: rewording never changes what is right, menus of held-out tasks are whole, lengths are exact."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import ablate
import multiple_choice_data as data
import pytest
import torch
import wordings
import wordings_chinese
from derived_rows import derive, idiom_rows, keyword_rows, pronoun_rows
from places import EXAMPLES
from rewording import CHINESE, Rewording, _polarity, _shorten
from similarity_targets import SimilarityTeacher
from text_overlap import without_texts_of
from tiny_models import tiny_tokenizer

from unimc_hf.evaluation.task_templates import BLANK
from unimc_hf.training.recipes import read_recipe
from unimc_hf.training.token_lengths import token_lengths

ENGLISH, CHINESE_MODEL = EXAMPLES / "models" / "english", EXAMPLES / "models" / "chinese"
RECIPE = json.loads((ENGLISH / "train_english.json").read_text())
TOPICS = ["sports", "business", "music", "science", "travel"]


def example(options: list[str], label: int, task: str = "topic", source: str = "news", text: str = "sky") -> dict:
    row = {"text": text, "text_pair": "", "question": "", "options": options, "label": label}
    return {**row, "task": task, "source": source}


@pytest.fixture(scope="module")
def reword() -> Rewording:
    sets = {"news": TOPICS, "intents": [f"intent {i}" for i in range(150)]}
    answers = {"quiz": [f"answer {i}" for i in range(200)], "nli": [f"statement {i}" for i in range(200)]}
    return Rewording(RECIPE["augmentation"], sets, answers)


def test_the_right_label_stays_right(reword: Rewording) -> None:
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


def test_answers_of_others_keep_the_answer(reword: Rewording) -> None:
    rng = random.Random(0)
    found = [reword(example(["a", "b", "answer 7"], 2, "mcqa", "quiz"), rng) for _ in range(300)]
    assert {row["options"][row["label"]] for row in found} == {"answer 7"}
    assert max(len(row["options"]) for row in found) > 8
    assert all(len(set(row["options"])) == len(row["options"]) >= 2 for row in found)


def test_sentiment_keeps_its_polarity(reword: Rewording) -> None:
    rng = random.Random(0)
    for _ in range(300):
        result = reword(example(["it's great", "it's terrible"], 1, "sentiment"), rng)
        assert any(result["options"][result["label"]] == words[1] for words in wordings.SENTIMENT_WORDS)
        with_neutral = reword(example(["positive", "negative", "neutral"], 2, "sentiment"), rng)
        assert any(with_neutral["options"][with_neutral["label"]] == words[2] for words in wordings.SENTIMENT_WORDS)


def test_what_is_offensive_is_toxic_and_not_hate(reword: Rewording) -> None:
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


def test_inference_keeps_its_truth(reword: Rewording) -> None:
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
    for row, length in zip(examples, token_lengths(examples, tokenizer)):
        encoded = tokenizer(row["text"], row["text_pair"] or None, options=row["options"], question=row["question"])
        assert length == len(encoded["input_ids"])


def test_an_ablation_changes_one_thing_and_refuses_unknown_names() -> None:
    changed = ablate.changed(RECIPE, {"augmentation.yes_no": 0.0})
    assert changed["augmentation"]["yes_no"] == 0.0
    assert {**changed, "augmentation": None} == {**RECIPE, "augmentation": None}
    assert RECIPE["augmentation"]["yes_no"] > 0
    with pytest.raises(SystemExit, match=r"no augmentation\.nothing"):
        ablate.changed(RECIPE, {"augmentation.nothing": 1})


@pytest.mark.parametrize("file", [ENGLISH / "ablations_english.json", CHINESE_MODEL / "ablations_chinese.json"])
def test_the_committed_ablations_are_of_their_recipe_and_have_their_table(file: Path) -> None:
    spec = json.loads(file.read_text())
    recipe = read_recipe(file.parent / spec["recipe"])
    for run in spec["runs"].values():
        ablate.changed(recipe, run["changes"])
    assert ablate.markdown(spec) == file.with_suffix(".md").read_text()


def test_half_of_the_written_tasks_are_every_second_one(tmp_path: Path) -> None:
    for name, lines in (("a", "1\n2\n3\n"), ("b", "4\n")):
        (tmp_path / f"{name}.jsonl").write_text(lines)
    half = ablate.some_tasks([tmp_path], 0.5, tmp_path / "half")
    assert [file.read_text() for folder in half for file in folder.iterdir()] == ["2\n4\n"]
    assert ablate.some_tasks([tmp_path], 1, tmp_path / "all") == [tmp_path]
    assert ablate.some_tasks([tmp_path], 0, tmp_path / "none") == []


def test_an_ablation_is_compared_with_the_first_run_task_by_task() -> None:
    first = {"a": 0.5, "b": 0.25, "mean_macro_f1": 0.375, "mean_accuracy": 0.4}
    # The same on every task, and better on one as much as it is worse on the other.
    shifted = {**first, "a": 0.625, "b": 0.375, "mean_macro_f1": 0.5}
    swapped = {**first, "a": 0.25, "b": 0.5}
    results = zip("123", (first, shifted, swapped))
    runs = {name: {"changes": {}, "examples": 9000, "result": result} for name, result in results}
    table = ablate.markdown({"steps": 1, "backbone": "x", "tasks": 2, "note": "", "runs": runs})
    assert "| 2 | 9,000 | 0.500 | +0.125 | +0.125 to +0.125 |" in table
    assert "| 3 | 9,000 | 0.375 | +0.000 | -0.250 to +0.250 |" in table


# -- Chinese


@pytest.fixture(scope="module")
def reword_chinese() -> Rewording:
    recipe = read_recipe(CHINESE_MODEL / "train_chinese.json")
    sets = {"news": TOPICS, "headlines": ["体育", "财经", "教育", "育儿"], "intents": ["查天气", "放音乐", "订机票"]}
    answers = {"pairs": [f"第{i}句话" for i in range(200)], "quiz": [f"答案{i}" for i in range(200)]}
    return Rewording(recipe["augmentation"], sets, answers, "chinese")


def test_chinese_labels_stay_right_and_alone(reword_chinese: Rewording) -> None:
    rng, questions = random.Random(0), set()
    for _ in range(1000):
        result = reword_chinese(example(["体育", "财经", "教育"], 2, source="headlines", text="高考成绩公布"), rng)
        right = result["options"][result["label"]]
        questions.add(result["question"])
        if result["options"] == list(wordings_chinese.YES_NO):
            assert ("教育" in result["question"]) == (right == wordings_chinese.YES_NO[0])
        elif len(result["options"]) == 2 and any("不" in o or "无" in o for o in result["options"]):
            assert ("教育" in right) != ("不" in right or "无" in right)
        else:
            assert "教育" in right
        assert not [o for o in result["options"] if any(topic in o for topic in TOPICS)]  # no label of another language
    assert len(questions) > 5 and not [q for q in questions if q and not CHINESE.search(q)]


def test_english_rows_are_worded_in_both_languages(reword_chinese: Rewording) -> None:
    rng, languages = random.Random(0), Counter()
    for _ in range(400):
        result = reword_chinese(example(["positive", "negative"], 1, "sentiment", "films", text="dull"), rng)
        words = result["options"][result["label"]]
        languages[bool(CHINESE.search(words))] += 1
        assert _polarity(words) == 1
    assert 0.2 < languages[True] / 400 < 0.5


@pytest.mark.parametrize("options", [["不能理解为：乙", "可以理解为：乙"], ["可以理解为：乙", "不能理解为：乙"]])
def test_matching_keeps_its_truth_in_every_form(reword_chinese: Rewording, options: list[str]) -> None:
    rng, forms = random.Random(0), Counter()
    same = {words[0] for words in wordings_chinese.MATCHING_WORDS}
    for right in options:
        for _ in range(300):
            row = example(options, options.index(right), "semantic_matching", "pairs", text="甲")
            result = reword_chinese(row, rng)
            answer, is_same = result["options"][result["label"]], right.startswith(wordings_chinese.MATCH)
            if result["text_pair"]:
                forms["words"] += 1
                assert (answer in same) == is_same
            elif answer == "乙":
                forms["among others"] += 1
                assert is_same and len(result["options"]) > 1
            else:
                forms["prefix"] += 1
                assert answer.endswith("乙") and ("不" in answer) != is_same
    assert len(forms) == 3


def test_chinese_inference_keeps_its_truth(reword_chinese: Rewording) -> None:
    rng = random.Random(0)
    options = [prefix + "下雨" for prefix in ("不能推断出：", "很难推断出：", "可以推断出：")]
    for label, column in ((0, 1), (1, 2), (2, 0)):
        for _ in range(100):
            result = reword_chinese(example(options, label, "nli", "nli"), rng)
            answer = result["options"][result["label"]]
            if len(result["options"]) == 3:
                prefix = (wordings_chinese.INFER, wordings_chinese.NOT_INFER, wordings_chinese.HARD_TO_INFER)[column]
                assert answer == prefix + "下雨" or answer in {words[column] for words in wordings_chinese.NLI_WORDS}
            else:
                entailing = {"可以推断出：下雨", *(words[0] for words in wordings_chinese.NLI_WORDS)}
                assert (answer in entailing) == (column == 0)


def test_a_blank_survives_shortening_and_moves_into_options(reword_chinese: Rewording) -> None:
    rng, lengths = random.Random(0), set()
    text = "很长的开头，" * 100 + "他__地走了。" + "很长的结尾。" * 100
    for _ in range(100):
        result = reword_chinese(example(["得意洋洋", "一目了然"], 0, "cloze", "idioms", text=text), rng)
        assert "__" in result["text"] and len(result["text"]) <= 400
        assert result["options"][result["label"]] in ("得意洋洋", "他得意洋洋地走了。")
        lengths.add(len(result["options"][0]))
    assert lengths == {4, 9}


def test_a_long_text_without_spaces_is_cut_where_it_is_full() -> None:
    assert _shorten("今天 " + "好" * 500, 400) == ("今天 " + "好" * 500)[:400]
    assert _shorten("seven " * 20, 100) == ("seven " * 16).strip()


def test_cloze_rows_from_other_sources_are_found() -> None:
    other = example(["甲"], 0, text="春天来了，他得意洋洋地走在回家的路上，什么也没有说。")
    copied = example(["得意洋洋", "一目了然"], 0, text="春天来了，他__地走在回家的路上。")
    own = example(["得意洋洋", "一目了然"], 1, text="这张图表__，谁都看得懂里面的数字。")
    short = example(["得意洋洋"], 0, text="他__。")
    assert without_texts_of([copied, own, short], [other]) == [own]


def test_keywords_are_terms_of_the_title_and_the_rest_is_not() -> None:
    text = "测量温度传感器的误差，重复测量以减少影响，影响很小；"
    rows = [
        example([f"基于光纤{i}网络的桥梁{i}监测研究"], 0, text=f"第{i}次{text}桥梁{i}监测用到光纤{i}网络。")
        for i in range(30)
    ]
    made = keyword_rows(rows, 200, random.Random(0))
    assert {row["label"] for row in made} == {0, 1} and len(made) > 150
    for row in made:
        i = row["text"].removeprefix("第").partition("次")[0]
        terms = {f"光纤{i}网络", f"桥梁{i}监测"}
        found = {term for term in terms if term in row["options"][0]}
        assert (row["label"] == 0) == (not any(word in row["options"][0] for word in ("测量", "温度", "影响", "误差")))
        assert row["label"] == 1 or found == terms


def test_a_pronoun_is_one_name_and_not_the_other() -> None:
    text = "Ann met Eve before *she* left."
    row = {**example(["Ann", "Eve", "neither of them"], 1, "coref", text=text), "question": "Who does *she* refer to?"}
    made = pronoun_rows([row], 2, random.Random(0))
    assert [entry["text"] for entry in made] == ["[Ann] met Eve before _she_ left.", "Ann met [Eve] before _she_ left."]
    assert [entry["label"] for entry in made] == [1, 0]
    assert all("she" in option for entry in made for option in entry["options"])
    cut = {**row, "text": "Ann met Eve. " + "So it went on. " * 30 + "Then *she* left."}
    assert pronoun_rows([cut], 2, random.Random(0)) == []


def test_idioms_are_blanked_where_they_stand() -> None:
    text = "大家齐心协力，终于按时完工。"
    row = {"text": text, "text_pair": "", "options": ["他画蛇添足。"], "label": 0, "source": "s", "task": "other"}
    idioms = ["齐心协力", "画蛇添足", "一五一十", "三心二意", "四通八达", "五光十色", "七上八下", "十全十美", "短"]
    made = idiom_rows([row], 10, random.Random(0), idioms)
    assert {made_row["options"][made_row["label"]] for made_row in made} == {"齐心协力", "画蛇添足"}
    for made_row in made:
        assert len(set(made_row["options"])) == 7 and "短" not in made_row["options"]
        filled = made_row["text"].replace(BLANK, made_row["options"][made_row["label"]])
        assert filled in (text, "他画蛇添足。")


def test_derived_rows_may_come_from_several_sources() -> None:
    sources = {
        "a": [{"text": "大家齐心协力。", "text_pair": "", "options": ["x"], "label": 0}],
        "b": [{"text": "这是画蛇添足。", "text_pair": "", "options": ["y"], "label": 0}],
        "words": [{"options": ["齐心协力", "画蛇添足", "一五一十", "三心二意", "四通八达", "五光十色", "七上八下"]}],
    }
    parts = {"idioms": {"from": ["a", "b"], "rows": 9, "words_of": "words"}}
    made = derive(parts, sources.__getitem__, seed=0)
    assert {row["options"][row["label"]] for row in made} == {"齐心协力", "画蛇添足"}


def test_a_recipe_extends_another(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps({"seed": 1, "sources": {"a": 1, "b": 2}, "development": ["c", "d"]}))
    (tmp_path / "more.json").write_text(
        json.dumps({"extends": "base.json", "sources": {"b": 3, "e": 4}, "development": ["d"]})
    )
    merged = read_recipe(tmp_path / "more.json")
    assert merged == {"seed": 1, "sources": {"a": 1, "b": 3, "e": 4}, "development": ["d"]}


CHINESE_RECIPES = ["train_chinese.json", "train_chinese_research.json", "train_chinese_research_second.json"]


@pytest.mark.parametrize("name", CHINESE_RECIPES)
def test_chinese_recipes_leave_out_what_they_say(name: str) -> None:
    recipe = read_recipe(CHINESE_MODEL / name)
    kin = {"ocnli_train10k", "oppo_xiaobu", "tnews_dataclue", "toutiao_small", "csl_discipline", "csl_keyword"}
    research_only = {"c3_mixed", "cmmlu", "cmnli", "csnli", "afqmc", "lcqmc", "stsb_zh", "idiom_nli", "logiqa2_zh"}
    assert not kin & set(recipe["sources"])
    assert not set(recipe["development"]) & set(recipe["sources"])
    assert bool(research_only & set(recipe["sources"])) == ("research" in name)
    dropped = set(recipe["without_texts_of"]["idiom_cloze"])
    assert kin <= dropped
    # The last run learns from sources that the runs before it were judged on.
    assert "second" in name or not dropped & set(recipe["sources"])


def test_the_free_recipe_takes_texts_of_sources_that_state_a_licence_only() -> None:
    recipe = read_recipe(CHINESE_MODEL / "train_chinese_free.json")
    free = {
        "cmrc2019_cloze", "csl_title", "csl_category", "agieval_zh", "pawsx_zh", "absa_zh", "cold_dev",
        "snli", "cad_nli", "med_monotonicity", "fever_symmetric", "commonsense_qa", "openbookqa", "arc_easy",
        "cosmos_qa", "codah", "comve", "gap", "goemotions", "huffpost_category", "medical_abstracts", "clinc150",
        "snips", "sgd_intents", "davidson_hate", "hatecheck", "semeval10_relations", "clickbait",
    }  # fmt: skip
    derived = {source for part in recipe["derived"].values() for source in [part["from"]] if isinstance(source, str)}
    assert set(recipe["sources"]) | derived | set(recipe["derived"]["idioms"]["from"]) <= free


def test_similarity_reads_long_texts_and_offers_terms_of_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    class Teacher:
        def __init__(self, folder: str, **kwargs: float) -> None: ...

        def unlabelled_examples(self, texts: list, phrases: list, questions: list, *_: object) -> list:
            return [{"texts": texts, "phrases": phrases}]

    monkeypatch.setattr(data, "SimilarityTeacher", Teacher)
    recipe = read_recipe(CHINESE_MODEL / "train_chinese_research_second.json")
    title = example(["工学", "法学"], 0, source="csl_category", text="基于神经网络的桥梁监测研究")
    abstract = example(["一二三四五六七八九十十一", "短语"], 1, source="other", text="这是一段很长的文字。" * 20)
    *kept, drawn = data._with_soft_targets([title, abstract], recipe, Teacher(""))
    assert kept == [title, abstract]
    assert drawn["texts"] == [abstract["text"][:240]]
    assert set(drawn["phrases"]) == {"工学", "法学", "短语", "神经网络", "桥梁监测"}


def test_a_few_phrases_are_enough_for_soft_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.eye(8)
    monkeypatch.setattr(SimilarityTeacher, "__init__", lambda self: None)
    monkeypatch.setattr(SimilarityTeacher, "embed", lambda self, texts: rows[[len(text) for text in texts]])
    teacher = SimilarityTeacher()
    teacher.temperature, teacher.centred = 0.05, False
    phrases = ["a", "bb", "ccc", "dddd"]
    examples = teacher.unlabelled_examples(["xx"] * 20, phrases, [""], max_choices=30, rng=random.Random(0))
    assert {len(example["options"]) for example in examples} <= {2, 3, 4}
    assert all(set(example["options"]) <= set(phrases) for example in examples)
