"""Groups of labels: `candidate_labels={"sport": ["football", "tennis"], ...}`."""

import itertools
import math

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline

GROUPS = {"sport": ["game", "team"], "art": ["music", "film", "book"], "sky": ["sun"]}
READ = [f"{group}: {label}" for group, labels in GROUPS.items() for label in labels]
TEXT = "the team won the game"


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def scores_of(answer: dict, names: str = "labels", scores: str = "scores") -> dict[str, float]:
    return dict(zip(answer[names], answer[scores]))


@pytest.mark.parametrize("multi_label", [False, True])
def test_leaves_are_labels_and_groups_sum_them(classify: UniMCZeroShotPipeline, multi_label: bool) -> None:
    answer = classify(TEXT, GROUPS, multi_label=multi_label, hypothesis_template="about {}.")
    flat = classify(TEXT, READ, multi_label=multi_label, hypothesis_template="about {}.")
    assert list(answer) == ["sequence", "labels", "scores", "groups", "group_scores"]
    assert [label.split(": ")[1] for label in flat["labels"]] == answer["labels"]
    assert answer["scores"] == flat["scores"]  # the same menu, to the last bit
    leaves, groups = scores_of(answer), scores_of(answer, "groups", "group_scores")
    assert answer["group_scores"] == sorted(answer["group_scores"], reverse=True) and set(groups) == set(GROUPS)
    for group, labels in GROUPS.items():
        total = max if multi_label else math.fsum
        assert groups[group] == total(leaves[label] for label in labels)
    assert multi_label or sum(answer["group_scores"]) == pytest.approx(1.0)


def test_the_order_of_groups_and_labels_changes_nothing(classify: UniMCZeroShotPipeline) -> None:
    expected = classify(TEXT, GROUPS)
    for order in itertools.permutations(GROUPS):
        assert classify(TEXT, {group: GROUPS[group][::-1] for group in order}) == expected
    assert classify(TEXT, {group: set(labels) for group, labels in GROUPS.items()}) == expected


def test_threshold_and_top_k_are_for_leaves(classify: UniMCZeroShotPipeline) -> None:
    whole = classify(TEXT, GROUPS)
    for limits in ({"top_k": 1}, {"threshold": whole["scores"][0]}, {"threshold": 1.0}):
        answer = classify(TEXT, GROUPS, **limits)
        assert len(answer["labels"]) == (limits.get("threshold") != 1.0)
        assert (answer["groups"], answer["group_scores"]) == (whole["groups"], whole["group_scores"])


def test_groups_of_its_own_for_every_text(classify: UniMCZeroShotPipeline) -> None:
    grouped, plain = classify([TEXT, {"text": "sky", "candidate_labels": ["red", "blue"]}], [GROUPS, GROUPS])
    assert set(grouped["groups"]) == set(GROUPS) and "groups" not in plain


def test_a_label_of_two_groups_is_reported_with_its_group(classify: UniMCZeroShotPipeline) -> None:
    answer = classify(TEXT, {"sport": ["game", "other"], "art": ["music", "other"]})
    assert sorted(answer["labels"]) == ["art: other", "game", "music", "sport: other"]
    alone = classify(TEXT, {"sport": ["game"]})  # one leaf: scored on its own
    assert alone["scores"] == alone["group_scores"] == classify(TEXT, ["sport: game"])["scores"]


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"sport": ["game"], "art": "films and books"}, TypeError, r"`candidate_labels\['art'\]` must be a list.*str"),
        ({"sport": ["game"], "art": None}, TypeError, r"`candidate_labels\['art'\]` must be a list.*NoneType"),
        ({"sport": ["game"], "art": {"film": "x"}}, TypeError, r"`candidate_labels\['art'\]` must be a list.*dict"),
        ({"sport": {"game": "x"}, "art": {"film": "x"}}, TypeError, r"`candidate_labels\['sport'\]`"),
        ({"sport": ["game", ["team"]]}, TypeError, r"`candidate_labels\['sport'\]` must be a string, got list"),
        ({"sport": ["game"], "art": []}, ValueError, r"`candidate_labels\['art'\]` is empty"),
        ({"sport": ["game", "game"]}, ValueError, r"`candidate_labels\['sport'\]` repeats 'game'"),
        ({"sport": ["game", " "]}, ValueError, r"`candidate_labels\['sport'\]` holds an empty"),
        ({"": ["game"], "art": ["film"]}, ValueError, "`candidate_labels` holds an empty"),
        ({1: ["game"], "art": ["film"]}, TypeError, "`candidate_labels` must be a string, got int"),
        ({"a": ["b"], "c": ["b", "a: b"]}, ValueError, r"`candidate_labels\['a'\]` holds 'b', but 'a: b' is more than"),
        ({"a": ["b: c"], "a: b": ["c"]}, ValueError, "`candidate_labels` repeats 'a: b: c'"),
    ],
)
def test_bad_nesting_raises_and_names_the_group(
    classify: UniMCZeroShotPipeline, groups: dict, error: type, message: str
) -> None:
    for call in (
        lambda: classify(TEXT, groups),
        lambda: classify({"text": TEXT, "candidate_labels": groups}),
        lambda: classify([TEXT], [groups]),
    ):
        with pytest.raises(error, match=message):
            call()
