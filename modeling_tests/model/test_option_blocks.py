"""The table of blocks, and who uses it; that scores and gradients are those of the masked table is in
`test_invariance.py` and `test_training_invariance.py`."""

import pytest
import torch
from tiny_models import BLOCK_FAMILIES, FAMILIES, tiny_config, tiny_model, tiny_tokenizer

from unimc_hf import UniMCForMultipleChoice
from unimc_hf.option_attention import NAME, build_option_blocks, option_blocks_if_cheaper


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
    blocks = build_option_blocks(torch.tensor([[0, 1, 1, 2, 0, 0, 0]]), torch.ones(1, 7))
    assert blocks.text_index.tolist() == [[0, 4, 5, 6]]
    assert blocks.block_index.tolist() == [[[1, 2], [3, 0]]]
    assert blocks.block_mask.tolist() == [[[True, True], [True, False]]]
    assert blocks.slots.tolist() == [[0, 4, 5, 6, 1, 2, 3]]


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_token_has_one_slot(side: str) -> None:
    batch = batch_of((5, 2, 30))
    if side == "left":
        batch = {name: tensor.flip(1) for name, tensor in batch.items() if name in ("option_ids", "attention_mask")}
        batch["option_ids"] = torch.where(batch["option_ids"] > 0, 31 - batch["option_ids"], 0)
    blocks = build_option_blocks(batch["option_ids"], batch["attention_mask"])
    tokens = torch.cat([blocks.text_index, blocks.block_index.flatten(1)], 1)
    used = torch.cat([blocks.text_mask, blocks.block_mask.flatten(1)], 1)
    for row, mask in enumerate(batch["attention_mask"].bool()):
        places = mask.nonzero().flatten()
        assert tokens[row][used[row]].sort().values.tolist() == places.tolist()
        assert tokens[row][blocks.slots[row][places]].tolist() == places.tolist()
        option_of_slot = torch.arange(blocks.block_index.shape[1]).repeat_interleave(blocks.block_index.shape[2]) + 1
        in_blocks = blocks.block_mask[row].flatten()
        option_of_token = batch["option_ids"][row][blocks.block_index[row].flatten()]
        assert torch.equal(option_of_token[in_blocks], option_of_slot[in_blocks])


@pytest.mark.parametrize("family", FAMILIES)
def test_who_uses_it_by_default(family: str) -> None:
    model = UniMCForMultipleChoice(tiny_config(family))
    assert (model.config._attn_implementation == NAME) == (family in BLOCK_FAMILIES)
    for asked in ("eager",) if family in ("megatron-bert", "mpnet", "deberta-v2") else ("eager", "sdpa"):
        explicit = UniMCForMultipleChoice(tiny_config(family, attn_implementation=asked))
        assert explicit.config._attn_implementation == asked


def test_only_long_menus_get_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = batch_of((7,)), batch_of((200,))
    assert option_blocks_if_cheaper(short["option_ids"], short["attention_mask"]) is None
    assert option_blocks_if_cheaper(long["option_ids"], long["attention_mask"]) is not None
    seen = []
    model = tiny_model("bert", NAME)
    monkeypatch.setattr("unimc_hf.option_attention._by_blocks", lambda *args: seen.append(args) or args[0])
    with torch.no_grad():
        model(**short)
        assert not seen
        model(**long)
    assert len(seen) == model.config.num_hidden_layers
