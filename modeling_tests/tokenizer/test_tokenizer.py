"""What the tokenizer emits, what it refuses, and that user text stays text."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SHARED
from tiny_models import SPECIAL, needs_shared, tiny_tokenizer

from unimc_hf import UniMCTokenizer


@pytest.fixture
def tokenizer() -> UniMCTokenizer:
    return tiny_tokenizer()


def test_the_layout(tokenizer: UniMCTokenizer) -> None:
    batch = tokenizer("sky blue", "rain", options=["red", "blue car"], question="what")
    assert tokenizer.decode(batch["input_ids"]) == (
        "[CLS] [MASK] red [MASK] blue car [SEP] what [SEP] sky blue [SEP] rain [SEP]"
    )
    assert batch["token_type_ids"] == [0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert batch["option_ids"] == [0, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert batch["option_positions"] == [1, 3]
    assert batch["attention_mask"] == [1] * 14


def test_an_empty_question_or_second_text_leaves_no_separator_but_an_empty_text_does(tokenizer: UniMCTokenizer) -> None:
    def text(*args: object, **kwargs: object) -> str:
        return tokenizer.decode(tokenizer(*args, options=["a", "b"], **kwargs)["input_ids"])

    assert text("sky", "", question="") == text("sky") == "[CLS] [MASK] a [MASK] b [SEP] sky [SEP]"
    assert text("", question="what") == "[CLS] [MASK] a [MASK] b [SEP] what [SEP] [SEP]"
    assert text("") == "[CLS] [MASK] a [MASK] b [SEP] [SEP]"


def test_batches_are_padded_to_one_shape(tokenizer: UniMCTokenizer) -> None:
    batch = tokenizer(
        ["sky", "the dog"], options=[["a"], ["a", "b", "red car"]], question=[None, "what"], padding=True,
        return_tensors="pt",
    )  # fmt: skip
    assert batch["input_ids"].shape == (2, 14)
    assert batch["option_ids"][0].tolist() == [0, 1, 1] + [0] * 11
    assert batch["option_positions"].tolist() == [[1, 0, 0], [1, 3, 5]]
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_left_padding_moves_the_option_positions(tokenizer: UniMCTokenizer) -> None:
    batch = tokenizer(["sky", "the dog is red"], options=["a", "b"], padding=True, padding_side="left",
                      return_tensors="pt")  # fmt: skip
    masks = batch["input_ids"].gather(1, batch["option_positions"])
    assert (masks == tokenizer.mask_token_id).all()
    assert batch["input_ids"][0, 0] == tokenizer.pad_token_id


def test_left_padding_of_one_text_and_of_what_is_padded_already(tokenizer: UniMCTokenizer) -> None:
    one = tokenizer("sky", options=["a", "b"], padding=True, padding_side="left", pad_to_multiple_of=16)
    assert [one["input_ids"][position] for position in one["option_positions"]] == [tokenizer.mask_token_id] * 2
    batch = tokenizer(["sky", "sun"], options=[["a"], ["a", "b"]], padding=True)
    again = tokenizer.pad(batch, padding_side="left", pad_to_multiple_of=16)
    shift = len(again["input_ids"][0]) - len(batch["input_ids"][0])
    assert shift > 0 and again["option_positions"] == [[1 + shift, 0], [1 + shift, 3 + shift]]


def test_tensors_are_padded_to_tensors(tokenizer: UniMCTokenizer) -> None:
    texts, menus = ["sky", "the dog"], [["a"], ["a", "b", "red car"]]
    rows = [tokenizer(text, options=menu, return_tensors="pt") for text, menu in zip(texts, menus)]
    padded = tokenizer.pad([{name: values[0] for name, values in row.items()} for row in rows])
    expected = tokenizer(texts, options=menus, padding=True, return_tensors="pt")
    assert all(torch.equal(padded[name], values) for name, values in expected.items())


def test_no_texts_are_no_examples(tokenizer: UniMCTokenizer) -> None:
    assert tokenizer([], options=["a", "b"], padding=True)["input_ids"] == []


def test_one_text_with_tensors_has_a_batch_dimension(tokenizer: UniMCTokenizer) -> None:
    batch = tokenizer("sky", options=["a", "b"], return_tensors="pt")
    assert batch["input_ids"].shape[0] == batch["option_positions"].shape[0] == 1


def test_numpy_tensors(tokenizer: UniMCTokenizer) -> None:
    assert tokenizer(["sky"], options=["a", "b"], return_tensors="np")["option_positions"].tolist() == [[1, 3]]


@given(st.lists(st.sampled_from([*SPECIAL, "sky", " "]), min_size=1, max_size=6).map("".join))
@settings(max_examples=50, deadline=None)
def test_special_tokens_in_user_text_stay_text(text: str) -> None:
    tokenizer = tiny_tokenizer()
    batch = tokenizer(text, text, options=[text + "a", text + "b"], question=text)
    ids = batch["input_ids"]
    assert ids.count(tokenizer.mask_token_id) == 2
    assert ids.count(tokenizer.cls_token_id) == 1
    assert ids.count(tokenizer.pad_token_id) == 0
    assert ids.count(tokenizer.sep_token_id) == 4 if text.strip() else True


def test_special_tokens_can_be_let_through_as_the_reference_does(tokenizer: UniMCTokenizer) -> None:
    ids = tokenizer("sky [MASK]", options=["a", "b"], split_special_tokens=False)["input_ids"]
    assert ids.count(tokenizer.mask_token_id) == 3


def test_ids_are_those_of_the_joined_string(tokenizer: UniMCTokenizer) -> None:
    """Published checkpoints were trained on one joined string; parts tokenised one by one must give the same."""
    joined = "[MASK] red car [MASK]  blue! [SEP] what? [SEP] The sky, it is blue. [SEP] rain"
    batch = tokenizer("The sky, it is blue.", "rain", options=[" red car ", " blue!"], question="what?")
    assert batch["input_ids"] == tokenizer(joined)["input_ids"]


@needs_shared
@pytest.mark.parametrize("backbone", ["all-MiniLM-L6-v2", "multilingual-e5-small-zh-en"])
def test_ids_are_those_of_the_joined_string_in_real_vocabularies(backbone: str) -> None:
    """SentencePiece puts a word-start mark of its own behind every special token."""
    tokenizer = UniMCTokenizer.from_pretrained(SHARED / "backbones" / backbone)
    text, question, options = "The stock fell. 股市下跌了。", "主题是什么？", ["体育新闻", "business news", " 好 "]
    mask, sep = tokenizer.mask_token, tokenizer.sep_token
    joined = mask + mask.join(options) + sep + question + sep + text
    assert tokenizer(text, options=options, question=question)["input_ids"] == tokenizer(joined)["input_ids"]


def test_only_the_text_is_cut_and_the_report_says_by_how_much(tokenizer: UniMCTokenizer) -> None:
    batch = tokenizer(
        ["sky " * 50, "sky"], options=["red", "blue"], question="what", max_length=20, padding=True,
        return_tensors="pt", return_overflowing_tokens=True,
    )  # fmt: skip
    assert batch["input_ids"].shape == (2, 20)
    assert batch["num_truncated_tokens"].tolist() == [6 + 2 + 51 - 20, 0]
    assert batch["input_ids"][0, -1] == tokenizer.sep_token_id
    assert "num_truncated_tokens" not in tokenizer("sky", options=["a", "b"])


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(200, 3, (85, 3)), (3, 200, (3, 85)), (200, 200, (44, 44)), (45, 44, (44, 44))]
)
def test_the_longer_of_two_texts_loses_its_end(
    first: int, second: int, kept: tuple[int, int], tokenizer: UniMCTokenizer
) -> None:
    arguments = {"options": ["red", "blue"], "return_overflowing_tokens": True}
    batch = tokenizer("sky " * first, "dog " * second, max_length=None, **arguments)
    words = [tokenizer.convert_tokens_to_ids(word) for word in ("sky", "dog")]
    assert tuple(batch["input_ids"].count(word) for word in words) == kept
    assert batch["num_truncated_tokens"] == first + second - 88
    assert batch["input_ids"].count(tokenizer.sep_token_id) == 3
    # As in the original implementation: what is last is cut, and then the first text.
    assert tokenizer("sky " * 50, "dog", max_length=20, **arguments)["input_ids"].count(words[0]) == 20 - 6 - 1


def test_a_numpy_integer_is_a_max_length(tokenizer: UniMCTokenizer) -> None:
    arguments = {"options": ["red", "blue"], "padding": "max_length", "return_overflowing_tokens": True}
    batch = tokenizer("sky " * 50, max_length=np.int64(20), **arguments)
    assert batch == tokenizer("sky " * 50, max_length=20, **arguments)
    assert type(batch["num_truncated_tokens"]) is int
    with pytest.raises(ValueError, match="`max_length` must be a positive integer"):
        tokenizer("sky", options=["red", "blue"], max_length=True)


def test_truncation_can_be_forbidden(tokenizer: UniMCTokenizer) -> None:
    with pytest.raises(ValueError, match=r"`max_length` allows 20"):
        tokenizer("sky " * 50, options=["a", "b"], max_length=20, truncation=False)


def test_options_are_never_cut(tokenizer: UniMCTokenizer) -> None:
    labels = ["red car " * n for n in range(1, 6)]
    with pytest.raises(ValueError, match=r"5 options take 35 tokens.*leaves 0 of 36 tokens"):
        tokenizer("sky", options=labels, max_length=36)
    with pytest.raises(ValueError, match=r"a question of 4 tokens"):
        tokenizer("sky", options=labels, question="what about the sky", max_length=42)
    batch = tokenizer("sky dog", options=labels, max_length=39)
    assert tokenizer.decode(batch["input_ids"]).endswith("[SEP] sky [SEP]")


def test_without_a_limit_a_long_menu_does_not_cost_the_text(tokenizer: UniMCTokenizer) -> None:
    menu = [f"red {a}{b}" for a in "abcdefghij" for b in "abcdefghij"]  # 400 tokens
    text = "sky " * 200
    for labels in (menu, menu[:4]):
        batch = tokenizer(text, options=labels, max_length=None, return_overflowing_tokens=True)
        kept = 200 - batch["num_truncated_tokens"]
        # Half of the model's 96 positions, and no more than it has beside `[CLS]` and the longest option.
        assert 96 // 2 - 4 <= kept <= 96 - 1 - 4
    with pytest.raises(ValueError, match="do not fit"):
        tokenizer(text, options=menu, max_length=96)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"options": []}, ValueError, "`options` is empty"),
        ({"options": [[]]}, TypeError, "`text` is one string"),
        ({"options": ["a", "a"]}, ValueError, "repeats 'a'"),
        ({"options": ["a", " "]}, ValueError, "empty option"),
        ({"options": "ab"}, TypeError, "`options` must be a list"),
        ({"options": ["a", 1]}, TypeError, "`options` must be a string, got int"),
        ({"options": ["a", None]}, TypeError, "got NoneType"),
        ({"text": None, "options": ["a", "b"]}, TypeError, "`text` must be a string"),
        ({"text": ["sky", 2], "options": ["a", "b"]}, TypeError, "`text` must be a string, got int"),
        ({"text": ["sky"], "options": [["a"], ["b"]]}, ValueError, "2 lists for 1 texts"),
        ({"text": ["sky"], "question": ["a", "b"], "options": ["a", "b"]}, ValueError, "`question` has 2 entries"),
        ({"question": ["what"], "options": ["a", "b"]}, TypeError, "`question` must be a string, as `text` is one"),
        ({"question": 3, "options": ["a", "b"]}, TypeError, "`question`"),
        ({"text_pair": 3, "options": ["a", "b"]}, TypeError, "`text_pair`"),
        ({"options": ["a", "b"], "max_length": 0}, ValueError, "`max_length`"),
        ({"options": ["a", "b"], "max_length": 2.5}, ValueError, "`max_length`"),
        ({"text": "a\ud800", "options": ["a", "b"]}, ValueError, "lone surrogate at character 1"),
        ({"question": "what"}, ValueError, "without `options`"),
    ],
)
def test_wrong_input_raises(tokenizer: UniMCTokenizer, arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        tokenizer(**{"text": "sky", **arguments})


def test_without_options_it_is_the_plain_tokenizer(tokenizer: UniMCTokenizer) -> None:
    assert tokenizer("sky red", "rain")["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert tokenizer(["sky", "the dog"], padding=True, return_tensors="pt")["input_ids"].shape == (2, 4)
    assert len(tokenizer("sky " * 200, truncation=True)["input_ids"]) == 96


def test_yes_and_no(tokenizer: UniMCTokenizer) -> None:
    yes, no = tokenizer.yes_no_token_ids("english")
    assert tokenizer.convert_ids_to_tokens([yes, no]) == ["yes", "no"]
    with pytest.raises(ValueError, match="not one token"):
        tokenizer.yes_no_token_ids("chinese")
    with pytest.raises(ValueError, match="`language` must be one of"):
        tokenizer.yes_no_token_ids("klingon")


def test_a_copy_and_added_tokens_are_respected(tokenizer: UniMCTokenizer) -> None:
    tokenizer("sky", options=["a", "b"])
    clone = copy.deepcopy(tokenizer)
    clone.add_tokens(["skydog"])
    assert clone("skydog", options=["a", "b"])["input_ids"][-2] == len(clone) - 1
    assert len(tokenizer) < len(clone)


def test_a_tokenizer_without_the_needed_tokens_is_refused() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    with pytest.raises(ValueError, match="has no cls_token"):
        UniMCTokenizer.from_plain(bare)
