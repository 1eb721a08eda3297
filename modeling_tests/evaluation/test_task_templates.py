"""Task templates: raw columns become the examples that the shared FewCLUE files hold; wrong rows are named."""

from dataclasses import replace

import pytest
from places import SHARED
from tiny_models import needs_shared, tiny_model, tiny_tokenizer

from unimc_hf import DataCollatorForUniMC, UniMCZeroShotPipeline
from unimc_hf.evaluation.jsonl_examples import read_jsonl
from unimc_hf.evaluation.task_templates import TASK_TEMPLATES, TaskTemplate, move_clause_into_options

# Rows in the columns of FewCLUE's release, written for this test.
FEWCLUE_ROWS = {
    "eprstmt": ({"id": 1, "sentence": "很好用", "label": "Positive"}, "这是一条好评"),
    "csldcp": ({"content": "研究了合金的性能", "label": "材料科学与工程"}, "材料"),
    "tnews": ({"label": 104, "label_desc": "news_finance", "sentence": "股价大跌"}, "财经"),
    "iflytek": ({"label": "110", "label_des": "社区超市", "sentence": "三十分钟送菜到家"}, "超市"),
    "ocnli": ({"sentence1": "他穿着大衣", "sentence2": "他穿着衣服", "label": "entailment"}, "可以推断出：他穿着衣服"),
    "bustm": ({"sentence1": "放首歌", "sentence2": "来点音乐", "label": "1"}, "可以理解为：来点音乐"),
    "chid": ({"content": "他#idiom#地走了。", "candidates": ["得意洋洋", "一目了然"], "answer": 0}, "得意洋洋"),
    "chid_inline": (
        {"content": "天黑了,他#idiom#地走了。完", "candidates": ["得意洋洋", "一目了然"], "answer": 1},
        "他一目了然地走了。",
    ),
    "csl": ({"abst": "本文提出一种算法", "keyword": ["算法", "声呐"], "label": "0"}, "不能使用算法、声呐概括摘要"),
    "cluewsc": (
        {
            "target": {"span1_index": 0, "span1_text": "小狗", "span2_index": 5, "span2_text": "它"},
            "label": "true",
            "text": "小狗饿了，它在叫。",
        },
        "它是小狗",
    ),
}


@pytest.mark.parametrize("name", FEWCLUE_ROWS)
def test_fewclue_rows(name: str) -> None:
    row, right = FEWCLUE_ROWS[name]
    example = TASK_TEMPLATES[f"fewclue/{name}"](row)
    assert example["options"][example["label"]] == right
    assert (
        TASK_TEMPLATES[f"fewclue/{name}"]({k: v for k, v in row.items() if "label" not in k and k != "answer"})["label"]
        is None
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eprstmt", ("差评", "好评")),
        ("ocnli", ("很难推断出", "可以推断出", "不能推断出")),
        ("bustm", ("不能理解为", "可以理解为")),
        ("csl", ("不能使用", "可以使用")),
        ("cluewsc", ("它是小狗", "它不是小狗")),
    ],
)
def test_integer_labels_are_those_of_the_hub(name: str, options: tuple[str, ...]) -> None:
    """Its `clue` counts neutral, entailment, contradiction, and true before false."""
    for label, option in enumerate(options):
        example = TASK_TEMPLATES[f"fewclue/{name}"]({**FEWCLUE_ROWS[name][0], "label": label})
        assert option in example["options"][example["label"]]
    with pytest.raises(ValueError, match="`label` is 7"):
        TASK_TEMPLATES[f"fewclue/{name}"]({**FEWCLUE_ROWS[name][0], "label": 7})


def test_true_and_false_are_labels() -> None:
    for label in (True, False):
        example = TASK_TEMPLATES["fewclue/cluewsc"]({**FEWCLUE_ROWS["cluewsc"][0], "label": label})
        assert example["options"][example["label"]] == ("它是小狗" if label else "它不是小狗")
        keywords = TASK_TEMPLATES["fewclue/csl"]({**FEWCLUE_ROWS["csl"][0], "label": label})
        assert keywords["options"][keywords["label"]].startswith("可以" if label else "不能")
        paraphrase = TASK_TEMPLATES["paraphrase"]({"sentence1": "a", "sentence2": "b", "label": label})
        assert paraphrase["label"] == int(label) and type(paraphrase["label"]) is int


def test_spans_and_clauses_are_marked_as_in_the_reference() -> None:
    assert TASK_TEMPLATES["fewclue/cluewsc"](FEWCLUE_ROWS["cluewsc"][0])["text"] == "[小狗]饿了，_它_在叫。"
    assert TASK_TEMPLATES["fewclue/chid_inline"](FEWCLUE_ROWS["chid_inline"][0])["text"] == "天黑了,__完"
    wrong = {**FEWCLUE_ROWS["cluewsc"][0], "text": "它在叫，小狗饿了。"}
    with pytest.raises(ValueError, match="stands at character"):
        TASK_TEMPLATES["fewclue/cluewsc"](wrong)


@needs_shared
def test_they_are_those_of_the_shared_files() -> None:
    folder = SHARED / "data" / "chinese" / "fewclue"
    for name in FEWCLUE_ROWS:
        shared = read_jsonl(folder / f"{name}.dev.jsonl.gz", limit=1)[0]
        ours = TASK_TEMPLATES[f"fewclue/{name}"](FEWCLUE_ROWS[name][0])
        assert ours["question"] == shared["question"]
        if name in ("eprstmt", "csldcp", "tnews", "iflytek"):
            assert ours["options"] == shared["options"]
        elif name not in ("chid", "chid_inline"):
            assert len(ours["options"]) == len(shared["options"])
    plain, inline = (read_jsonl(folder / f"{name}.dev.jsonl.gz") for name in ("chid", "chid_inline"))
    for row, expected in zip(plain, inline):
        text, options = move_clause_into_options(row["text"], row["options"])
        assert (text, options) == (expected["text"], expected["options"])


def test_english_tasks() -> None:
    nli = TASK_TEMPLATES["nli"]({"premise": "A man sings.", "hypothesis": "A man makes a sound.", "label": 0})
    assert nli["options"][nli["label"]] == "we can infer that A man makes a sound."
    paraphrase = TASK_TEMPLATES["paraphrase"]({"sentence1": "a", "sentence2": "b", "label": 1})
    assert (paraphrase["text_pair"], paraphrase["options"][1]) == ("b", "it is a paraphrase")
    race = {"article": "He ran.", "question": "Who ran?", "options": ["he", "she"], "answer": "she"}
    assert TASK_TEMPLATES["multiple_choice"](race)["label"] == 1
    for positive in ("positive", 1):  # as SST-2, IMDB and Rotten Tomatoes count
        sentiment = TASK_TEMPLATES["sentiment"]({"text": "Lovely.", "label": positive})
        assert (sentiment["label"], sentiment["options"][1]) == (1, "it's great")
    pronoun = {"text": "Ann met Eve; she smiled.", "pronoun": "she", "options": ["Ann", "Eve"], "label": 1}
    assert TASK_TEMPLATES["coreference"](pronoun)["question"] == "Who does *she* refer to?"
    numbers = {"article": "", "question": "1 + 1", "options": ["3", "1", "2"], "answer": 2}
    assert TASK_TEMPLATES["multiple_choice"](numbers)["label"] == 2  # an index, not the option "2"


def test_an_own_template_feeds_pipeline_and_collator() -> None:
    template = replace(TASK_TEMPLATES["topic"], text="{body}", options={"0": "sports", "1": "the {area} business"})
    examples = [template({"body": "stocks fell {sharply}", "area": "music", "label": label}) for label in (0, 1)]
    assert examples[1]["options"] == ["sports", "the music business"]
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(examples)
    assert batch["labels"].tolist() == [0, 1]
    results = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")(examples)
    assert [set(result["labels"]) for result in results] == [{"sports", "the music business"}] * 2


def test_wrong_rows_are_named() -> None:
    template = TaskTemplate(options=["red", "blue"], question="{ask}")
    with pytest.raises(ValueError, match=r"no column 'ask'; it has \['label', 'text'\]"):
        template({"text": "sky", "label": 0})
    for label in ("green", 2, -1, True and 7):
        with pytest.raises(ValueError, match="the template knows red, blue"):
            template({"text": "sky", "ask": "what", "label": label})
    with pytest.raises(ValueError, match="no column 'options' for the options"):
        TASK_TEMPLATES["topic"]({"text": "sky"})
