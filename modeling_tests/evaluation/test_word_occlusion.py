"""Word effects are differences of the pipeline's own scores, for the words where they stand."""

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.evaluation.word_occlusion import find_words, word_effects

LABELS = ["sports", "business", "red car"]


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def scores(result: dict) -> dict[str, float]:
    return dict(zip(result["labels"], result["scores"]))


@pytest.mark.parametrize("arguments", [{}, {"multi_label": True, "question": "what"}])
def test_effects_are_differences_of_scores(classify: UniMCZeroShotPipeline, arguments: dict) -> None:
    arguments = {"candidate_labels": LABELS, **arguments}
    effects = word_effects(classify, "stocks  fell\nsharply.", "business", **arguments)
    assert [effect.word for effect in effects] == ["stocks", "fell", "sharply."]
    whole = scores(classify("stocks fell sharply.", **arguments))["business"]
    for effect, rest in zip(effects, ["fell sharply.", "stocks sharply.", "stocks fell"]):
        without = scores(classify(rest, **arguments))["business"]
        assert effect.effect == pytest.approx(whole - without, abs=1e-6)
        assert abs(effect.effect) > 1e-4  # the tiny model reads every word


def test_words_are_found_where_they_stand() -> None:
    text = " two\twords, 股票 down[MASK]"
    assert [text[start:end] for start, end in find_words(text)] == ["two", "words,", "股", "票", "down[MASK]"]
    assert find_words(" \n") == []


def test_wrong_input_is_named(classify: UniMCZeroShotPipeline) -> None:
    with pytest.raises(ValueError, match="`label` 'music' is none of the labels"):
        word_effects(classify, "stocks fell", "music", candidate_labels=LABELS)
    with pytest.raises(ValueError, match="`text` has no words"):
        word_effects(classify, " ", "sports", candidate_labels=LABELS)
    with pytest.raises(TypeError, match="`text` must be a string"):
        word_effects(classify, ["stocks"], "sports", candidate_labels=LABELS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="threshold"):
        word_effects(classify, "stocks fell", "sports", candidate_labels=LABELS, threshold=0.5)
