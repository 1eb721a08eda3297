"""Soft targets of a better teacher: no label attracts every text, menus hold no two of one meaning, files are checked."""

import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from multiple_choice_data import read_taught_rows
from taught_rows import TOO_CLOSE, joined_menus, taught_probs, texts_of_menu


def test_a_label_that_attracts_every_text_is_brought_down() -> None:
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.1, 0.2]]).log()
    cosines = torch.tensor([[0.3, 0.4, 0.1], [0.3, 0.1, 0.4]])
    plain = taught_probs(shares, cosines, share=1.0, scale=1.0, centring=0.0)
    centred = taught_probs(shares, cosines, share=1.0, scale=1.0, centring=1.0)
    assert plain.argmax(1).tolist() == [0, 0]
    assert centred.argmax(1).tolist() == [1, 2]
    assert torch.allclose(centred.sum(1), torch.ones(2))
    # Without centring it is the product of the two opinions.
    expected = (shares.exp() * cosines.exp()) / (shares.exp() * cosines.exp()).sum(1, keepdim=True)
    assert torch.allclose(plain, expected)


def test_texts_of_a_menu_are_those_of_all_its_labels() -> None:
    cosines = torch.zeros(300, 3)
    for label in range(3):
        cosines[label * 12 : label * 12 + 12, label] = 1.0
    rng, found = random.Random(0), []
    for _ in range(50):
        chosen = texts_of_menu(cosines, rng)
        assert len(chosen) == len(set(chosen)) <= 16
        found += [index // 12 for index in chosen if index < 36]
    counts = [found.count(label) for label in range(3)]
    assert min(counts) > 0.25 * len(found)
    # A long menu gets more texts, up to a bound, also where there are few to choose from.
    assert 16 < len(texts_of_menu(torch.rand(500, 70), rng)) <= 40
    assert texts_of_menu(torch.rand(2, 5), rng)


def test_joined_menus_hold_no_two_labels_of_one_meaning() -> None:
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(60, 8), dim=-1)
    rows = torch.cat([rows, rows])  # every phrase twice
    phrases = [f"phrase {i % 60}" for i in range(120)]
    menus = list(joined_menus(phrases, rows, 20, random.Random(0)))
    assert len(menus) == 20
    for menu in menus:
        assert 2 < len(menu) == len(set(menu)) <= 64
        chosen = rows[[int(phrase.split()[1]) for phrase in menu]]
        assert bool(((chosen @ chosen.T).fill_diagonal_(0) <= TOO_CLOSE).all())


def test_a_recipe_takes_as_many_rows_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "taught.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.writelines(json.dumps({"text": str(i), "option_probs": [1.0]}) + "\n" for i in range(5))
    rows = read_taught_rows(file, 3, seed=1)
    assert len({row["text"] for row in rows}) == 3 and rows == read_taught_rows(file, 3, seed=1)
    with pytest.raises(ValueError, match=r"`taught` is 6, but .* has 5 rows"):
        read_taught_rows(file, 6, seed=1)
    with pytest.raises(ValueError, match="pass `--taught`"):
        read_taught_rows(None, 3, seed=1)
