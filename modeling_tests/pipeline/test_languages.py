"""`language=` finds the installed model of a language, or says how to get it; never another language's words."""

from pathlib import Path

import pytest
from places import EXAMPLES
from tiny_models import tiny_model, tiny_tokenizer
from transformers import pipeline

import unimc_hf
from unimc_hf import UniMCZeroShotPipeline, find_model
from unimc_hf.command_line.table import main
from unimc_hf.loading.installed_models import CHINESE_PACKAGE


@pytest.fixture()
def chinese_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the installed package: the same layout around a tiny model."""
    folder = tmp_path / CHINESE_PACKAGE
    model = tiny_model("bert")
    model.config.language = "chinese"
    try:
        model.save_pretrained(folder)
    finally:
        model.config.language = "english"
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(unimc_hf.UniMCTokenizer, "yes_no_token_ids", lambda self, language: (
        unimc_hf.tokenization_unimc.YES_NO_WORDS[language] and tuple(self.convert_tokens_to_ids(["yes", "no"]))
    ))  # the tiny vocabulary has no 是  # fmt: skip
    return folder


def test_english_is_inside() -> None:
    assert find_model("english") == unimc_hf.DEFAULT_MODEL
    assert pipeline("unimc-zero-shot", language="english").model.config.language == "english"


def test_chinese_is_found_where_it_is_installed(chinese_package: Path) -> None:
    assert Path(find_model("chinese")) == chinese_package
    classify = pipeline("unimc-zero-shot", language="chinese", dtype="bfloat16")
    assert Path(classify.model.config.name_or_path) == chinese_package
    assert classify.model.config.language == "chinese" and len(classify.tokenizer) == len(tiny_tokenizer())
    assert str(classify.model.dtype) == "torch.bfloat16"
    assert set(classify("red sky", candidate_labels="red，blue、green")["labels"]) == {"red", "blue", "green"}


@pytest.mark.parametrize("is_there", [False, True], ids=["not installed", "installed without weights"])
def test_where_it_is_not_installed_the_error_says_how(chinese_package: Path, is_there: bool) -> None:
    (chinese_package / "model.safetensors").unlink()
    if not is_there:
        (chinese_package / "__init__.py").unlink()
    with pytest.raises(ValueError, match=r"not installed.*pip install ./examples/chinese_model.*Or pass `model`"):
        pipeline("unimc-zero-shot", language="chinese")


def test_the_command_says_it_too(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unimc_hf.loading.installed_models.CHINESE_PACKAGE", "unimc_hf_of_no_language")
    assert main(["球队赢了。", "--labels", "体育", "财经", "--language", "chinese"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("unimc_hf: the model cannot be loaded: language=") and "is not installed." in error


def test_another_language_than_the_recorded_one_raises() -> None:
    with pytest.raises(ValueError, match="records the words for yes and no of 'english': leave `language` out"):
        UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), language="chinese")
    # Even that of the model inside: the Chinese one would answer in its place.
    named = pipeline("unimc-zero-shot", model=unimc_hf.DEFAULT_MODEL)
    unnamed = pipeline("unimc-zero-shot")
    for model in (unimc_hf.DEFAULT_MODEL, named.model, unnamed.model):
        with pytest.raises(ValueError, match="records the words for yes and no of 'english': leave `language` out"):
            pipeline("unimc-zero-shot", model=model, tokenizer=named.tokenizer, language="chinese")
    with pytest.raises(ValueError, match="`language` must be 'english' or 'chinese', got 'french'"):
        pipeline("unimc-zero-shot", language="french")


def test_the_chinese_model_answers_in_both_languages() -> None:
    folder = EXAMPLES / "chinese_model" / CHINESE_PACKAGE
    assert (folder / "model.safetensors").stat().st_size <= 80_000_000
    classify = pipeline("unimc-zero-shot", model=str(folder))
    assert classify.model.config.language == "chinese"
    news = classify(
        "球队在加时赛中赢得了冠军。", candidate_labels=["体育", "财经", "科技"], question="下面新闻属于哪一个类别？"
    )
    assert news["labels"][0] == "体育"
    assert classify("手机很好用，屏幕也清晰。", candidate_labels="好评，差评")["labels"][0] == "好评"
    assert classify("The team won the final.", candidate_labels=["sports", "finance"])["labels"][0] == "sports"
    # Full-width signs and digits are read as the usual ones; a traditional character is a word of its own.
    full, half = (classify(text, candidate_labels=["电脑", "水果"]) for text in ("ＣＰＵ　１２核！", "CPU 12核!"))
    assert full["scores"] == pytest.approx(half["scores"])
    assert set(classify("新電腦", candidate_labels=["電腦", "电脑"])["labels"]) == {"電腦", "电脑"}
