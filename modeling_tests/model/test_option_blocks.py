"""The table of blocks, and who uses it; that scores and gradients are those of the masked table is in
`test_invariance.py` and `test_training_invariance.py`."""

import pytest
import torch
from tiny_models import BLOCK_FAMILIES, FAMILIES, tiny_config, tiny_model, tiny_tokenizer

import unimc_hf.option_attention
from unimc_hf import UniMCForMultipleChoice
from unimc_hf.option_attention import BLOCK, NAME, build_option_blocks, option_blocks_if_cheaper
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


def test_the_worked_example() -> None:
    blocks = build_option_blocks(torch.tensor([[0, 1, 1, 2, 0, 0, 0]]), torch.ones(1, 7), torch.float32)
    assert blocks.text.tolist() == [[0, 4, 5, 6]]
    assert blocks.keys.tolist() == [[[1, 2, 3, 0, 4, 5, 6]]]
    assert blocks.tokens.index.tolist() == [[[1, 2, 3]]]
    assert blocks.tokens.slots.tolist() == [[3, 0, 1, 2, 4, 5, 6]]
    seen = [[True, True, False], [True, True, False], [False, False, True]]
    assert (blocks.tokens.bias[0, 0] == 0).tolist() == [row + [True] * 4 for row in seen]
    assert blocks.masks.index.tolist() == [[[0, 1]]]
    assert blocks.masks.slots.tolist() == [[0, 1]]
    assert torch.equal(blocks.masks.bias[0, 0], blocks.tokens.bias[0, 0, [0, 2]])


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_token_comes_out_once_and_sees_what_it_may(side: str) -> None:
    batch = batch_of((5, 2, 200))
    if side == "left":
        batch = {name: tensor.flip(1) for name, tensor in batch.items() if name in ("option_ids", "attention_mask")}
        batch["option_ids"] = torch.where(batch["option_ids"] > 0, 201 - batch["option_ids"], 0)
    option_ids, is_token = batch["option_ids"], batch["attention_mask"].bool()
    blocks = build_option_blocks(option_ids, batch["attention_mask"], torch.float32)
    size, num_blocks, num_keys = blocks.keys.shape
    assert num_blocks > 2
    assert blocks.tokens.index.shape[2] < BLOCK + 10  # the longest option has fewer tokens
    allowed = build_attention_mask(option_ids, batch["attention_mask"], torch.bool).squeeze(1)
    for row in range(size):
        order = torch.cat([blocks.tokens.index[row].flatten(), blocks.text[row]])
        places = is_token[row].nonzero().flatten()
        assert order[blocks.tokens.slots[row][places]].tolist() == places.tolist()
        assert blocks.tokens.slots[row][places].unique().numel() == len(places)
        bias = (blocks.tokens.bias == 0).view(size, num_blocks, -1, num_keys)[row]
        for slot, place in enumerate(blocks.tokens.index[row].flatten().tolist()):
            if blocks.tokens.slots[row][place] == slot and is_token[row][place]:
                block, query = divmod(slot, bias.shape[1])
                seen = blocks.keys[row][block][bias[block, query]]
                assert seen.sort().values.tolist() == allowed[row][place].nonzero().flatten().tolist()
        options = option_ids[row][option_ids[row] > 0].unique() - 1
        assert blocks.masks.index[row].flatten()[blocks.masks.slots[row][options]].tolist() == options.tolist()


def test_long_options_leave_no_empty_blocks() -> None:
    option_ids = torch.tensor([[0, *[1] * 90, *[2] * 90, *[3] * 10, *[4] * 10, 0]])
    blocks = build_option_blocks(option_ids, torch.ones_like(option_ids), torch.float32)
    assert blocks.tokens.index.shape[:2] == (1, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_uses_it_by_default(family: str) -> None:
    model = UniMCForMultipleChoice(tiny_config(family))
    assert (model.config._attn_implementation == NAME) == (family in BLOCK_FAMILIES)
    for asked in ("eager",) if family in ("megatron-bert", "mpnet", "deberta-v2") else ("eager", "sdpa"):
        explicit = UniMCForMultipleChoice(tiny_config(family, attn_implementation=asked))
        assert explicit.config._attn_implementation == asked


def test_only_long_menus_get_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = batch_of((7,)), batch_of((200,))
    chosen = [
        option_blocks_if_cheaper(batch["option_ids"], batch["attention_mask"], torch.float32) for batch in (short, long)
    ]
    assert chosen[0] is None
    assert chosen[1] is not None
    seen = []
    model = tiny_model("bert", NAME)
    take = unimc_hf.option_attention._take
    monkeypatch.setattr("unimc_hf.option_attention._take", lambda *args: seen.append(args) or take(*args))
    with torch.no_grad():
        model(**short)
        assert not seen
        model(**long)
    # Queries, keys, values, the text's queries and the way back; the last layer has no queries of the text.
    assert len(seen) == 5 * model.config.num_hidden_layers - 1
