"""The exported model answers like the model, for any number of texts, tokens and options."""

from pathlib import Path

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.onnx_unimc import OnnxUniMC, onnx_pipeline

pytest.importorskip("onnxruntime", reason='needs `pip install -e ".[onnx]"`')
pytest.importorskip("onnxscript", reason='needs `pip install -e ".[onnx]"`')

MENUS = [["red", "blue"], ["red car"], ["a dog", "the cat is blue", "sky"], [f"team {i}" for i in range(40)]]


@pytest.fixture(scope="module", params=["bert", "roberta", "modernbert"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    import export_onnx

    folder = tmp_path_factory.mktemp(request.param)
    export_onnx.export(tiny_model(request.param), tiny_tokenizer(), folder)
    return request.param, folder


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_pipeline_answers_the_same(exported: tuple[str, Path], multi_label: bool) -> None:
    family, folder = exported
    ours, onnx = UniMCZeroShotPipeline(tiny_model(family), tiny_tokenizer(), device="cpu"), onnx_pipeline(folder)
    texts = ["sky", "the team won the game " * 9, "", "stocks fell"]
    arguments = {"candidate_labels": MENUS, "question": ["", "what", "", "what"], "multi_label": True}
    if not multi_label:
        arguments |= {"candidate_labels": MENUS[2:] + MENUS[2:], "multi_label": False}
    for expected, got in zip(ours(texts, **arguments), onnx(texts, **arguments)):
        scores = dict(zip(got["labels"], got["scores"]))
        assert [scores[label] for label in expected["labels"]] == pytest.approx(expected["scores"], abs=2e-5)
    alone = onnx("sky", candidate_labels=MENUS[0])
    assert alone["scores"] == pytest.approx(ours("sky", candidate_labels=MENUS[0])["scores"], abs=2e-5)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no model\.onnx"):
        OnnxUniMC(tmp_path)


def test_order_of_options_does_not_matter(exported: tuple[str, Path]) -> None:
    onnx = onnx_pipeline(exported[1])
    menu = MENUS[3]
    expected = onnx("the team won", candidate_labels=menu)
    got = onnx("the team won", candidate_labels=menu[::-1])
    scores = dict(zip(got["labels"], got["scores"]))
    assert [scores[label] for label in expected["labels"]] == pytest.approx(expected["scores"], abs=2e-5)
