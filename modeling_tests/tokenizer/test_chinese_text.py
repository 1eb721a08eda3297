"""Chinese as users type it, with the multilingual tokenizer: full-width signs, mixed and traditional scripts."""

import pytest
import torch
from places import SHARED
from tiny_models import SIZES, needs_shared
from transformers import BertConfig

from unimc_hf import UniMCConfig, UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline

TEXTS = [
    "快递三天才到，客服也不回消息。",
    "第２０届ＡＣＬ在香港舉行，論文共１，２３４篇！",  # traditional characters and full-width letters and digits
    "新款iPhone的A17芯片跑分破万，but battery life 一般般……",
    "「國語」和『普通話』有什麼不同？",
    "【公告】系统将于今晚22:00～24:00升级；请提前保存。",
    "𠮷野家的牛肉饭好吃吗？😀",  # a character outside the basic plane, an emoji
]


@pytest.fixture(scope="module")
def tokenizer() -> UniMCTokenizer:
    return UniMCTokenizer.from_pretrained(SHARED / "backbones" / "multilingual-e5-small-zh-en")


@pytest.fixture(scope="module")
def classify(tokenizer: UniMCTokenizer) -> UniMCZeroShotPipeline:
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    yes, no = tokenizer.yes_no_token_ids("chinese")
    config = UniMCConfig(BertConfig(**sizes), yes_token_id=yes, no_token_id=no, language="chinese")
    return UniMCZeroShotPipeline(UniMCForMultipleChoice(config), tokenizer, device="cpu")


def scores(result: dict) -> dict[str, float]:
    return dict(zip(result["labels"], result["scores"]))


@needs_shared
def test_nothing_becomes_unknown_but_rare_characters(tokenizer: UniMCTokenizer) -> None:
    for text in TEXTS[:5]:
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text
    unknown = tokenizer(TEXTS[5], options=["是", "否"])["input_ids"].count(tokenizer.unk_token_id)
    assert unknown <= 2  # the rare character and the emoji; what stands around them is read


@needs_shared
def test_full_width_signs_are_read_as_half_width_ones(
    tokenizer: UniMCTokenizer, classify: UniMCZeroShotPipeline
) -> None:
    for wide, narrow in (("Ａｐｐ２０２６，好！", "App2026,好!"), ("类别：ＩＴ（新）", "类别:IT(新)")):
        assert tokenizer(wide)["input_ids"] == tokenizer(narrow)["input_ids"]
    first = classify("价格：９９元，包邮！", candidate_labels=["数码", "美食"], question="属于哪一类？")
    second = classify("价格:99元,包邮!", candidate_labels=["数码", "美食"], question="属于哪一类?")
    assert scores(first) == pytest.approx(scores(second), abs=1e-6)


@needs_shared
def test_traditional_characters_are_their_own_tokens(
    tokenizer: UniMCTokenizer, classify: UniMCZeroShotPipeline
) -> None:
    # Nothing converts them: a traditional text is another text, and a label in each script is two labels.
    assert tokenizer("體育新聞")["input_ids"] != tokenizer("体育新闻")["input_ids"]
    result = classify("球隊贏了決賽。", candidate_labels=["體育", "体育", "財經"])
    assert set(result["labels"]) == {"體育", "体育", "財經"}


@needs_shared
@pytest.mark.parametrize("text", TEXTS)
def test_any_text_is_answered_whatever_the_order_and_the_batch(classify: UniMCZeroShotPipeline, text: str) -> None:
    labels = ["体育", "ＡＩ科技", "財經、股票", "😀", "a mixed 混合 label"]
    alone = classify(text, candidate_labels=labels, question="这段文字是关于什么的？")
    assert alone["sequence"] == text and sum(alone["scores"]) == pytest.approx(1.0, abs=1e-5)
    batched = classify([*TEXTS, text], candidate_labels=labels[::-1], question="这段文字是关于什么的？")[-1]
    assert scores(batched) == pytest.approx(scores(alone), abs=1e-5)


@needs_shared
def test_marks_of_the_model_in_a_text_stay_text(tokenizer: UniMCTokenizer) -> None:
    encoded = tokenizer("他写道：<mask>和</s>都是符号。", options=["甲<mask>", "乙"])
    assert encoded["input_ids"].count(tokenizer.mask_token_id) == 2  # one for each option
    assert encoded["input_ids"].count(tokenizer.sep_token_id) == 2


@needs_shared
def test_errors_show_chinese_as_it_was_written(classify: UniMCZeroShotPipeline) -> None:
    with pytest.raises(ValueError, match="`candidate_labels` repeats '体育'"):
        classify("球队赢了。", candidate_labels=["体育", "财经", "体育"])
    with pytest.raises(ValueError, match=r"`hypothesis_template` must hold exactly one \{\} .*, got '这是新闻'"):
        classify("球队赢了。", candidate_labels=["体育", "财经"], hypothesis_template="这是新闻")
    with pytest.raises(ValueError, match="lone surrogate at character 2"):
        classify("坏了\ud83d", candidate_labels=["体育", "财经"])


@needs_shared
def test_commas_of_either_width_separate_labels(classify: UniMCZeroShotPipeline) -> None:
    for written in ("体育,财经,科技", "体育，财经，科技", "体育、财经、 科技"):
        assert set(classify("球队赢了。", candidate_labels=written)["labels"]) == {"体育", "财经", "科技"}


@needs_shared
def test_a_hundred_and_nineteen_options_are_one_forward_pass_and_none_is_cut(
    classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unimc_hf.evaluation.task_templates import FEWCLUE

    row = {"sentence": "这款应用" * 300, "label_des": "公共交通"}
    example = FEWCLUE["iflytek"](row)
    calls = []
    forward = classify.model.forward
    monkeypatch.setattr(classify.model, "forward", lambda **inputs: calls.append(1) or forward(**inputs))
    with pytest.raises(ValueError, match="119 options take"):  # 96 positions hold the menu, not 512 tokens of it
        classify(example, max_length=96)
    result = classify(example, max_length=480)
    assert len(calls) == 1 and set(result["labels"]) == set(example["options"]) and len(result["labels"]) == 119
    assert result["num_truncated_tokens"] > 0
