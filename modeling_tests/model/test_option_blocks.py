"""The table of blocks, and who uses it; that scores and gradients are those of the masked table is in
`test_invariance.py` and `test_training_invariance.py`."""

import pytest
import torch
from generated_examples import blocks_of
from tiny_models import BLOCK_FAMILIES, FAMILIES, tiny_config, tiny_model, tiny_tokenizer
from torch.nn import functional as F

import unimc_hf.option_attention
from unimc_hf import UniMCForMultipleChoice
from unimc_hf.option_attention import BLOCK, NAME, OptionBlocks, option_blocks_if_cheaper
from unimc_hf.option_structure import build_attention_mask


def menu(num_choices: int) -> list[str]:
    words = ["red", "blue", "dog", "cat", "sky", "sports", "business", "music"]
    return [" ".join(words[(i + j) % 8] for j in range(1 + i % 3)) + f" {i}" for i in range(num_choices)]


def batch_of(sizes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    texts = ["the sky is blue", "", "the team won the game"][: len(sizes)]
    batch = tiny_tokenizer()(
        texts, options=[menu(n) for n in sizes], question=["what", "", ""][: len(sizes)],
        padding=True, return_tensors="pt", max_length=None,
    )  # fmt: skip
    return dict(batch)


def blocks_of_batch(option_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> OptionBlocks:
    """Whether they pay or not."""
    attention_mask = torch.ones_like(option_ids) if attention_mask is None else attention_mask
    with blocks_of("blocks"):
        blocks = option_blocks_if_cheaper(option_ids, attention_mask, int(option_ids.max()), torch.float32)
    assert blocks is not None
    return blocks


def test_the_worked_example() -> None:
    blocks = blocks_of_batch(torch.tensor([[0, 1, 1, 2, 0, 0, 0]]))
    assert blocks.text_index.tolist() == [[0, 4, 5, 6]]
    assert blocks.key_index.tolist() == [[[1, 2, 3, 0, 4, 5, 6]]]
    assert blocks.tokens.index.tolist() == [[[1, 2, 3]]]
    assert blocks.tokens.slots.tolist() == [[3, 0, 1, 2, 4, 5, 6]]
    seen = [[True, True, False], [True, True, False], [False, False, True]]
    assert (blocks.tokens.bias[0, 0] == 0).tolist() == [row + [True] * 4 for row in seen]
    assert blocks.mask_tokens.index.tolist() == [[[0, 1]]]
    assert blocks.mask_tokens.slots.tolist() == [[0, 1]]
    assert torch.equal(blocks.mask_tokens.bias[0, 0], blocks.tokens.bias[0, 0, [0, 2]])


@pytest.mark.parametrize("side", ["right", "left", "with holes"])
def test_every_token_comes_out_once_and_sees_what_it_may(side: str) -> None:
    batch = batch_of((5, 2, 200))
    option_ids, attention_mask = batch["option_ids"], batch["attention_mask"]
    if side == "left":
        option_ids, attention_mask = option_ids.flip(1), attention_mask.flip(1)
        option_ids = torch.where(option_ids > 0, 201 - option_ids, 0)
    elif side == "with holes":
        attention_mask = torch.where(torch.arange(len(option_ids[0])) % 5 == 2, 0, attention_mask)
    is_token, blocks = attention_mask.bool(), blocks_of_batch(option_ids, attention_mask)
    size, num_blocks, num_keys = blocks.key_index.shape
    assert num_blocks > 2
    assert blocks.tokens.index.shape[2] < BLOCK + 10  # the longest option has fewer tokens
    allowed = build_attention_mask(option_ids, attention_mask, torch.bool).squeeze(1)
    for row in range(size):
        order = torch.cat([blocks.tokens.index[row].flatten(), blocks.text_index[row]])
        places = is_token[row].nonzero().flatten()
        assert order[blocks.tokens.slots[row][places]].tolist() == places.tolist()
        assert blocks.tokens.slots[row][places].unique().numel() == len(places)
        bias = (blocks.tokens.bias == 0).view(size, num_blocks, -1, num_keys)[row]
        for place in places[option_ids[row][places] > 0].tolist():
            block, query = divmod(int(blocks.tokens.slots[row][place]), bias.shape[1])
            seen = blocks.key_index[row][block][bias[block, query]]
            assert seen.sort().values.tolist() == allowed[row][place].nonzero().flatten().tolist()
        options = option_ids[row][option_ids[row] > 0].unique() - 1
        asked = blocks.mask_tokens.index[row].flatten()[blocks.mask_tokens.slots[row]]
        assert asked[options].tolist() == options.tolist()


def test_blocks_grow_with_options_and_text_and_none_is_empty() -> None:
    def lengths(options: list[int], text: int) -> torch.Size:
        ids = [0, *(number for number, length in enumerate(options, start=1) for _ in range(length)), *[0] * text]
        return blocks_of_batch(torch.tensor([ids])).tokens.index.shape[1:]

    assert lengths([90, 90, 10, 10], 5) == (3, 90)
    assert lengths([4] * 100, 5) == (10, 40)
    assert lengths([4] * 100, 399) == (2, 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_uses_it_by_default(family: str) -> None:
    model = UniMCForMultipleChoice(tiny_config(family))
    assert (model.config._attn_implementation == NAME) == (family in BLOCK_FAMILIES)
    for asked in ("eager",) if family in ("megatron-bert", "mpnet", "deberta-v2") else ("eager", "sdpa"):
        explicit = UniMCForMultipleChoice(tiny_config(family, attn_implementation=asked))
        assert explicit.config._attn_implementation == asked


def test_menus_for_which_blocks_save_time_get_them() -> None:
    def gets_blocks(option_ids: torch.Tensor) -> bool:
        ones = torch.ones_like(option_ids)
        return option_blocks_if_cheaper(option_ids, ones, int(option_ids.max()), torch.float32) is not None

    assert not gets_blocks(batch_of((7,))["option_ids"])
    long = batch_of((200,))["option_ids"]
    assert gets_blocks(long)
    # All blocks are as long as the longest, so that one very long option makes the others dear.
    assert not gets_blocks(torch.cat([long[:, :1], torch.full((1, 2 * long.shape[1]), 201), long[:, 1:]], 1))


def test_every_layer_of_a_long_menu_uses_them_and_none_of_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, take = [], unimc_hf.option_attention._take
    monkeypatch.setattr("unimc_hf.option_attention._take", lambda *args: seen.append(args) or take(*args))
    model = tiny_model("bert", NAME)
    with torch.no_grad():
        model(**batch_of((7,)))
        assert not seen
        model(**batch_of((200,)))
    # Queries, keys, values, the text's queries and the way back; the last layer has no queries of the text.
    assert len(seen) == 5 * model.config.num_hidden_layers - 1


@pytest.mark.parametrize("family", sorted(BLOCK_FAMILIES))
def test_a_long_menu_has_the_scores_and_gradients_of_the_table(family: str) -> None:
    batch = batch_of((120, 3))
    batch["option_positions"] = F.pad(batch["option_positions"], (0, 2))  # as from a larger batch
    results = []
    for attention in (NAME, "eager"):
        model = tiny_model(family, attention)
        model.zero_grad()
        logits = model(**batch).logits
        logits[:, :100].logsumexp(-1).sum().backward()
        weight = next(weight for name, weight in model.named_parameters() if "query" in name or "q_lin" in name)
        assert weight.grad is not None
        results.append((logits.detach(), weight.grad.clone()))
        model.zero_grad()
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
