"""The headline guarantee: permuting the options permutes the scores and changes nothing else."""

import pytest
import torch
from generated_examples import (
    ORDER_INVARIANT_PATHS,
    PATHS,
    TOLERANCE,
    blocks_of,
    cases,
    encode,
    few_per_path,
    per_path,
    pipeline_of,
    random_cases,
    scores,
)
from hypothesis import given
from hypothesis import strategies as st
from layout_by_hand import lay_out_by_hand, scores_by_hand
from tiny_models import ORDER_INVARIANT_FAMILIES, tiny_model, tiny_tokenizer

from unimc_hf.option_structure import build_attention_mask, build_position_ids, find_options

# Mean error of 32 texts' logits, of their mean size: 15 roundings of 1/256. (One text of a random network may be
# ill-conditioned, and then no bound holds for it.)
BFLOAT16_TOLERANCE = 0.06


@pytest.mark.parametrize(("family", "attention"), ORDER_INVARIANT_PATHS)
@per_path
@given(case=cases, data=st.data())
def test_permuting_options_permutes_scores(family: str, attention: str, case: dict, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case["options"]))))
    permuted = scores(family, attention, [{**case, "options": [case["options"][i] for i in order]}])
    torch.testing.assert_close(permuted[0], scores(family, attention, [case])[0, list(order)], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("family", "attention"), PATHS)
@per_path
@given(data=st.data())
def test_company_and_padding_change_nothing(family: str, attention: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(cases, min_size=2, max_size=4))
    padding = data.draw(
        st.fixed_dictionaries(
            {"padding_side": st.sampled_from(["right", "left"]), "pad_to_multiple_of": st.sampled_from([None, 7, 32])},
            optional={"padding": st.just("max_length"), "max_length": st.just(200)},
        )
    )
    together = scores(family, attention, batch, **padding)
    row = data.draw(st.integers(0, len(batch) - 1))
    alone = scores(family, attention, [batch[row]])[0]
    torch.testing.assert_close(together[row, : len(alone)], alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("family", "attention"), ORDER_INVARIANT_PATHS)
@per_path
@given(case=cases, data=st.data())
def test_pipeline_model_and_tokenizer_equal_the_format_by_hand(
    family: str, attention: str, case: dict, data: st.DataObject
) -> None:
    """A text that is cut, too; the network by hand is transformers' own class."""
    whole = lay_out_by_hand(case, max_length=512)
    shortest = lay_out_by_hand({**case, "text": "a" if case["text"] else "", "text_pair": ""}, max_length=512)
    max_length = data.draw(st.integers(len(shortest["input_ids"]), len(whole["input_ids"]) + 1))
    layout = lay_out_by_hand(case, max_length)

    batch = encode([case], max_length=max_length)
    for name in ("input_ids", "token_type_ids", "option_ids", "option_positions"):
        assert batch[name].tolist() == [layout[name]], name
    assert build_position_ids(batch["option_ids"], batch["option_positions"], batch["attention_mask"]).tolist() == [
        layout["position_ids"]
    ]
    expected = scores_by_hand(family, layout)
    got = scores(family, attention, [case], max_length=max_length)[0]
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=1e-5)

    item = {**case, "candidate_labels": case["options"]}
    for multi_label, wanted in (
        (False, expected[:, 0].softmax(0)),
        (True, (expected[:, 0] - expected[:, 1]).sigmoid()),
    ):
        with blocks_of(attention):
            result = pipeline_of(family, attention)(item, max_length=max_length, multi_label=multi_label)
        by_label = dict(zip(result["labels"], result["scores"]))
        assert [by_label[option] for option in case["options"]] == pytest.approx(wanted.tolist(), abs=TOLERANCE)
        assert result["scores"] == sorted(result["scores"], reverse=True)
        assert result.get("num_truncated_tokens", 0) == len(whole["input_ids"]) - len(layout["input_ids"])


@pytest.mark.parametrize(("family", "attention"), PATHS)
@few_per_path
@given(seed=st.integers(0, 2**32))
def test_bfloat16_agrees_within_its_precision(family: str, attention: str, seed: int) -> None:
    batch = random_cases(seed, size=32)
    exact = scores(family, attention, batch)
    rounded = scores(family, attention, batch, dtype=torch.bfloat16)
    real = encode(batch)["option_positions"] > 0
    assert (rounded - exact)[real].abs().mean() < BFLOAT16_TOLERANCE * exact[real].abs().mean()


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
