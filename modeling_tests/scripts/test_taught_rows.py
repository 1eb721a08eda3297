"""Soft targets of a better teacher: every label has its texts, none attracts all of them, and files are checked."""

import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from multiple_choice_data import build_mixture, read_taught_rows
from taught_rows import TOO_CLOSE, joined_menus, taught_rows, texts_of_menu

TOPICS = ["sport", "music", "law"]


def embed(strings: list[str]) -> torch.Tensor:
    """A direction for each topic that a string names, and a little of `law` in all."""
    rows = torch.tensor([[float(topic in string) for topic in TOPICS] for string in strings])
    return torch.nn.functional.normalize(rows + torch.tensor([0.01, 0.01, 0.3]), dim=-1)


def test_targets_belong_to_their_rows_and_no_label_attracts_all() -> None:
    texts = [f"{topic} {number}" for topic in TOPICS for number in range(30)]
    asked = []

    def classify(rows: list[dict]) -> list[list[float]]:
        asked.extend(rows)
        # Drawn to `law` whatever the text, but knows the parity of the number.
        return [[0.01, 0.01, 0.98] if len(r["options"]) == 3 else [0.9, 0.1][:: 1 - 2 * (int(r["text"][-1]) % 2)]
                for r in rows]  # fmt: skip

    menus = [(TOPICS, ["Which topic?"]), (["even", "odd"], ["Which parity?"])]
    rows = taught_rows(menus, texts, embed, classify, random.Random(0))
    assert {row["question"] for row in asked} == {""}
    assert {row["question"] for row in rows} == {"", "Which topic?", "Which parity?"}
    assert len({row["text"] for row in rows if row["options"] == TOPICS}) > 15
    for row in rows:
        assert row["label"] == -100 and sum(row["option_probs"]) == pytest.approx(1, abs=1e-3)
        best = row["options"][row["option_probs"].index(max(row["option_probs"]))]
        parity = ("even", "odd")[int(row["text"][-1]) % 2]
        assert best == (row["text"].split()[0] if row["options"] == TOPICS else parity)


def test_every_label_has_texts_of_its_own() -> None:
    for num_labels in (3, 70):
        cosines = torch.zeros(2000, num_labels)
        for label in range(num_labels):
            cosines[label * 12 : label * 12 + 12, label] = 1.0
        chosen = texts_of_menu(cosines, random.Random(0))
        assert len(chosen) == len(set(chosen)) and 12 < len(chosen) < 100
        own = [index // 12 for index in chosen if index < 12 * num_labels]
        assert set(own) == set(range(num_labels))
        assert 0.6 < len(own) / len(chosen) < 1.0
    assert texts_of_menu(torch.rand(2, 5), random.Random(0))


def test_joined_menus_hold_no_two_labels_of_one_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taught_rows.JOINED_SIZES", (16, 64))
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(80, 16), dim=-1)
    rows = torch.cat([rows, rows])  # every phrase twice
    phrases = [f"phrase {i % 80}" for i in range(160)]
    menus = list(joined_menus(phrases, rows, 20, random.Random(0)))
    assert len(menus) == 20
    for menu in menus:
        assert 8 <= len(menu) == len(set(menu)) <= 64
        chosen = rows[[int(phrase.split()[1]) for phrase in menu]]
        assert bool(((chosen @ chosen.T).fill_diagonal_(0) <= TOO_CLOSE).all())
    with pytest.raises(ValueError, match="`embedder` finds 1 of"):
        next(joined_menus(phrases, torch.ones(160, 1), 1, random.Random(0)))


def test_a_recipe_takes_as_many_rows_as_it_says(tmp_path: Path) -> None:
    file = tmp_path / "taught.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.writelines(json.dumps({"text": str(i), "option_probs": [1.0]}) + "\n" for i in range(5))
    rows = read_taught_rows(file, 3, seed=1)
    assert len({row["text"] for row in rows}) == 3 and rows == read_taught_rows(file, 3, seed=1)
    with pytest.raises(ValueError, match=r"`taught` asks for 6 rows, but .* has 5"):
        read_taught_rows(file, 6, seed=1)


@pytest.mark.parametrize(("taught", "file"), [({"rows": 3}, None), (None, "taught.jsonl.gz")])
def test_a_recipe_and_its_file_come_together(taught: dict | None, file: str | None) -> None:
    """Before any source is read."""
    with pytest.raises(ValueError, match="`taught`"):
        build_mixture([], {"taught": taught}, "no teacher", taught_file=file)
