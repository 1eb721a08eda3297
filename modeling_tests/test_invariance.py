"""The headline guarantee: permuting the options permutes the scores and changes nothing else."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import BLOCK_FAMILIES, FAMILIES, ORDER_INVARIANT_FAMILIES, WORDS, tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.option_blocks import build_option_blocks, option_blocks_if_cheaper
from unimc_hf.option_structure import build_attention_mask, build_position_ids, find_options

TOLERANCE = 2e-5  # float32 sums in another order, on logits of about 1

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
menus = st.lists(words, min_size=2, max_size=6, unique=True)
texts = st.lists(st.sampled_from(WORDS), min_size=0, max_size=12).map(" ".join)
cases = st.fixed_dictionaries({"text": texts, "question": texts, "text_pair": texts, "options": menus})

ATTENTION = [
    (family, attention)
    for family in FAMILIES
    for attention in ("eager", "sdpa", "unimc", "blocks")
    # Two families have no SDPA in transformers, and ModernBERT's windows need the table of who sees whom.
    if attention == "eager" or family in BLOCK_FAMILIES or (attention == "sdpa" and family == "modernbert")
]
INVARIANT_ATTENTION = [pair for pair in ATTENTION if pair[0] in ORDER_INVARIANT_FAMILIES]


def encode(examples: list[dict], **kwargs: object) -> dict[str, torch.Tensor]:
    return tiny_tokenizer()(
        [example["text"] for example in examples],
        [example["text_pair"] for example in examples],
        options=[example["options"] for example in examples],
        question=[example["question"] for example in examples],
        return_tensors="pt",
        **{"padding": True, "max_length": 512, **kwargs},
    )


def scores(family: str, attention: str, examples: list[dict], **kwargs: object) -> torch.Tensor:
    model = tiny_model(family, "unimc" if attention == "blocks" else attention)
    # Menus this short get no blocks by themselves.
    blocks = build_option_blocks if attention == "blocks" else option_blocks_if_cheaper
    with torch.no_grad(), patch("unimc_hf.modeling_unimc.option_blocks_if_cheaper", blocks):
        return model(**encode(examples, **kwargs)).yes_no_logits


@pytest.mark.parametrize(("family", "attention"), INVARIANT_ATTENTION)
@settings(max_examples=15, deadline=None)
@given(case=cases, data=st.data())
def test_permuting_options_permutes_scores(family: str, attention: str, case: dict, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case["options"]))))
    mates = data.draw(st.lists(cases, max_size=2))
    side = data.draw(st.sampled_from(["right", "left"]))
    multiple = data.draw(st.sampled_from([None, 7, 32]))
    permuted = {**case, "options": [case["options"][i] for i in order]}

    expected = scores(family, attention, [case])[0]
    batch = scores(family, attention, [*mates, permuted], padding_side=side, pad_to_multiple_of=multiple)
    torch.testing.assert_close(batch[-1, : len(order)], expected[list(order)], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("family", "attention"), ATTENTION)
@settings(max_examples=8, deadline=None)
@given(case=cases, mates=st.lists(cases, min_size=1, max_size=3))
def test_batch_mates_and_padding_change_nothing(family: str, attention: str, case: dict, mates: list[dict]) -> None:
    alone = scores(family, attention, [case])[0]
    for batch in ([case, *mates], [*mates, case]):
        row = batch.index(case)
        together = scores(family, attention, batch, padding="max_length", max_length=200)[row]
        torch.testing.assert_close(together[: len(alone)], alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", ORDER_INVARIANT_FAMILIES)
def test_an_option_never_reads_another(family: str) -> None:
    """Options hear of each other only through the text, which they all read alike: equal options score alike."""
    options = ["red", "blue car", "red"]
    tokenizer = tiny_tokenizer()
    rows = [tokenizer(option, add_special_tokens=False)["input_ids"] for option in options]
    ids, option_ids, positions = [tokenizer.cls_token_id], [0], []
    for number, row in enumerate(rows, start=1):
        positions.append(len(ids))
        ids += [tokenizer.mask_token_id, *row]
        option_ids += [number] * (len(row) + 1)
    tail = [tokenizer.sep_token_id, *tokenizer("sky", add_special_tokens=False)["input_ids"], tokenizer.sep_token_id]
    with torch.no_grad():
        logits = tiny_model(family)(
            input_ids=torch.tensor([ids + tail]),
            option_ids=torch.tensor([option_ids + [0] * len(tail)]),
            option_positions=torch.tensor([positions]),
        ).logits[0]
    torch.testing.assert_close(logits[0], logits[2], atol=1e-5, rtol=0)
    assert not torch.isclose(logits[0], logits[1], atol=1e-3)


def test_deberta_is_labelled_as_not_order_invariant() -> None:
    assert not tiny_model("deberta-v2").config.is_order_invariant
    case = {"text": "sky", "text_pair": "", "question": "", "options": ["red", "blue", "green"]}
    straight = scores("deberta-v2", "eager", [case])[0]
    reverse = scores("deberta-v2", "eager", [{**case, "options": case["options"][::-1]}])[0].flip(0)
    assert (straight - reverse).abs().max() > 1e-3  # if this ever holds, the label is wrong


def test_deberta_warns(caplog: pytest.LogCaptureFixture) -> None:
    from tiny_models import tiny_config
    from transformers.utils import logging

    from unimc_hf import UniMCForMultipleChoice

    logging.get_logger("unimc_hf.modeling_unimc").warning_once.cache_clear()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_warning()
    logging.enable_propagation()
    try:
        with caplog.at_level("WARNING"):
            UniMCForMultipleChoice(tiny_config("deberta-v2"))
    finally:
        logging.disable_propagation()
        logging.set_verbosity(verbosity)
    assert "depend on the order of the options" in caplog.text


@settings(max_examples=20, deadline=None)
@given(case=cases, data=st.data())
def test_pipeline_answers_do_not_depend_on_order_or_company(case: dict, data: st.DataObject) -> None:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    item = {**case, "candidate_labels": case["options"]}
    others = data.draw(st.lists(cases, max_size=3))
    order = data.draw(st.permutations(case["options"]))
    alone = classify(item)
    batch = classify(
        [{**other, "candidate_labels": other["options"]} for other in others] + [{**item, "candidate_labels": order}]
    )
    assert sum(alone["scores"]) == pytest.approx(1.0, abs=1e-5)
    assert alone["scores"] == sorted(alone["scores"], reverse=True)
    expected = dict(zip(alone["labels"], alone["scores"]))
    assert dict(zip(batch[-1]["labels"], batch[-1]["scores"])) == pytest.approx(expected, abs=1e-5)


# -- the structure itself, on the worked example of `option_structure` -----------------------------------------------


def test_positions_and_mask_of_the_worked_example() -> None:
    option_ids = torch.tensor([[0, 1, 1, 2, 2, 0, 0, 0]])
    attention_mask = torch.ones_like(option_ids)
    assert build_position_ids(option_ids, torch.tensor([[1, 3]]), attention_mask).tolist() == [[0, 1, 2, 1, 2, 3, 4, 5]]
    allowed = build_attention_mask(option_ids, attention_mask, torch.bool)[0, 0].int().tolist()
    assert allowed == [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 1, 1, 1],
        [1, 1, 1, 0, 0, 1, 1, 1],
        [1, 0, 0, 1, 1, 1, 1, 1],
        [1, 0, 0, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]


def test_left_padding_moves_nothing_but_the_index() -> None:
    option_ids = torch.tensor([[0, 0, 0, 1, 1, 2, 0, 0]])
    attention_mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1]])
    positions = build_position_ids(option_ids, torch.tensor([[3, 5]]), attention_mask)
    assert positions[0, 2:].tolist() == [0, 1, 2, 1, 3, 4]


@pytest.mark.parametrize("side", ["right", "left"])
def test_structure_is_derived_from_segments_and_masks(side: str) -> None:
    examples = [
        {"text": "sky", "text_pair": "", "question": "", "options": ["red", "blue car", "dog"]},
        {"text": "the stock fell", "text_pair": "", "question": "what", "options": ["yes", "no"]},
    ]
    batch = encode(examples, padding_side=side)
    option_ids, option_positions = find_options(batch["input_ids"], batch["token_type_ids"], None, None)
    assert torch.equal(option_ids, batch["option_ids"])
    assert torch.equal(option_positions, batch["option_positions"])


def test_structure_that_cannot_be_told_raises() -> None:
    with pytest.raises(ValueError, match="option_ids"):
        find_options(torch.tensor([[1, 2]]), None, None, None)
    with pytest.raises(ValueError, match="no option"):
        find_options(torch.tensor([[2, 3]]), torch.zeros(1, 2).long(), torch.zeros(1, 2).long(), None)


def test_flash_attention_is_refused() -> None:
    with pytest.raises((ValueError, ImportError)):
        tiny_model("bert").set_attn_implementation("flash_attention_2")
