"""Every class out and back in; plain masked-LM repositories, also old ones, as they are; a plain class from ours."""

import copy
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from generated_examples import few_per_family, rounded_copy
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_models import FAMILIES, SIZES, VOCABULARY, tiny_config, tiny_model, tiny_tokenizer
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    ConvBertConfig,
    ConvBertForMaskedLM,
    pipeline,
)

from unimc_hf import UniMCConfig, UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline

TEXTS, LABELS = ["stocks fell sharply", "the team won", "sky"], ["sports", "business", "red car"]


def answers(classify: UniMCZeroShotPipeline) -> list[dict]:
    return classify(TEXTS, candidate_labels=LABELS, question="what about")


def expected_answers(family: str) -> list[dict]:
    return answers(UniMCZeroShotPipeline(tiny_model(family), tiny_tokenizer(), device="cpu"))


def same(got: list[dict], expected: list[dict]) -> bool:
    return all(
        a["labels"] == b["labels"] and a["scores"] == pytest.approx(b["scores"], abs=1e-6)
        for a, b in zip(got, expected, strict=True)
    )


def save_plain(family: str, folder: Path, names: dict[str, str] | None = None, pickled: bool = False) -> None:
    """A repository of the plain masked LM with the weights of `tiny_model(family)`, as published before UniMC."""
    model = tiny_model(family)
    plain = MODEL_FOR_MASKED_LM_MAPPING[type(model.config.text_config)](model.config.text_config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    if pickled:
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        for new, old in (names or {}).items():
            weights = {name.replace(new, old): tensor for name, tensor in weights.items()}
        weights["bert.embeddings.position_ids"] = torch.arange(SIZES["max_position_embeddings"]).unsqueeze(0)
        torch.save(weights, folder / "pytorch_model.bin")


def save_vocab_txt(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES)
@few_per_family
@given(
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    calibration=st.tuples(st.floats(0.1, 9), st.floats(0.1, 9), st.floats(-9, 9)),
    option_mlm_loss=st.sampled_from(["vocabulary", "yes_no"]),
    padding_side=st.sampled_from(["right", "left"]),
    max_shard_size=st.sampled_from(["5GB", "20KB"]),
    as_pipeline=st.booleans(),
)
def test_what_is_saved_is_what_is_loaded(
    family: str,
    dtype: torch.dtype,
    calibration: tuple[float, float, float],
    option_mlm_loss: str,
    padding_side: str,
    max_shard_size: str,
    as_pipeline: bool,
) -> None:
    """Weights bit by bit, in every precision, in one file or several, by every class that may save or load them."""
    model, tokenizer = rounded_copy(tiny_model(family), dtype), copy.deepcopy(tiny_tokenizer())
    settings_of_config = dict(zip(("softmax_temperature", "sigmoid_scale", "sigmoid_bias"), calibration))
    for name, value in {**settings_of_config, "option_mlm_loss": option_mlm_loss}.items():
        setattr(model.config, name, value)
    tokenizer.padding_side = padding_side
    with TemporaryDirectory() as folder:
        if as_pipeline:
            saved = UniMCZeroShotPipeline(model, tokenizer, device="cpu")
            saved.save_pretrained(folder, max_shard_size=max_shard_size)
        else:
            model.save_pretrained(folder, max_shard_size=max_shard_size)
            tokenizer.save_pretrained(folder)
        assert not list(Path(folder).glob("*.bin"))
        classify = pipeline("unimc-zero-shot", model=folder)
        models = [classify.model]
        for model_class in (UniMCForMultipleChoice, AutoModelForMultipleChoice, AutoModel):
            loaded, info = model_class.from_pretrained(folder, output_loading_info=True)
            assert not info["missing_keys"] and not info["unexpected_keys"]
            models.append(loaded)
        tokenizers = [classify.tokenizer, *(c.from_pretrained(folder) for c in (UniMCTokenizer, AutoTokenizer))]
        weights = model.state_dict()
        for loaded in models:
            assert type(loaded) is UniMCForMultipleChoice
            assert all(torch.equal(weight, weights[name]) for name, weight in loaded.state_dict().items())
            assert loaded.dtype == dtype and loaded.config.option_mlm_loss == option_mlm_loss
            assert {name: getattr(loaded.config, name) for name in settings_of_config} == settings_of_config
        for loaded in tokenizers:
            assert type(loaded) is UniMCTokenizer
            arguments = {"options": [LABELS, LABELS[1:]], "padding": True}
            assert loaded(["sky [MASK]", ""], **arguments) == tokenizer(["sky [MASK]", ""], **arguments)
        assert type(classify) is UniMCZeroShotPipeline
        classify.model.float()
        assert same(answers(classify), answers(UniMCZeroShotPipeline(model.float(), tokenizer, device="cpu")))


def test_config_round_trip(tmp_path: Path) -> None:
    config = tiny_config("albert", option_mlm_loss="yes_no")
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is UniMCConfig
    assert loaded.text_config.to_dict() == config.text_config.to_dict() | {"_name_or_path": ""}
    for name in ("yes_token_id", "no_token_id", "language", "option_mlm_loss", "hidden_size", "vocab_size"):
        assert getattr(loaded, name) == getattr(config, name)
    # Written for those without the package; kept in memory it would shadow the registered task.
    assert "unimc-zero-shot" in json.loads((tmp_path / "config.json").read_text())["custom_pipelines"]
    assert not hasattr(loaded, "custom_pipelines")


@pytest.mark.parametrize("family", FAMILIES)
def test_plain_repository_loads_without_conversion(family: str, tmp_path: Path) -> None:
    save_plain(family, tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config = {k: v for k, v in config.items() if k not in ("auto_map", "tokenizer_class")}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    yes, no = tiny_model(family).config.yes_token_id, tiny_model(family).config.no_token_id
    model, info = UniMCForMultipleChoice.from_pretrained(
        tmp_path, yes_token_id=yes, no_token_id=no, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokenizer = UniMCTokenizer.from_pretrained(tmp_path)
    assert same(answers(UniMCZeroShotPipeline(model, tokenizer, device="cpu")), expected_answers(family))
    classify = pipeline("unimc-zero-shot", model=str(tmp_path), language="english")
    assert same(answers(classify), expected_answers(family))


@pytest.mark.parametrize("family", ["bert", "megatron-bert", "deberta-v2"])
def test_old_repository(family: str, tmp_path: Path) -> None:
    """`pytorch_model.bin`, a `position_ids` buffer, `vocab.txt` and nothing else, gamma and beta for norms."""
    names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"} if family == "bert" else {}
    save_plain(family, tmp_path, names, pickled=True)
    save_vocab_txt(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "pytorch_model.bin", "vocab.txt"]
    tokenizer = UniMCTokenizer.from_pretrained(tmp_path)
    assert tokenizer("Sky blue!")["input_ids"] == BertTokenizer.from_pretrained(tmp_path)("Sky blue!")["input_ids"]
    assert same(answers(pipeline("unimc-zero-shot", model=str(tmp_path), language="english")), expected_answers(family))


def test_more_embedding_rows_than_tokens_are_kept(tmp_path: Path) -> None:
    """The published MegatronBERT has 21248 rows for 21128 tokens."""
    config = tiny_config("megatron-bert")
    config.text_config.vocab_size += 8
    model = UniMCForMultipleChoice(config)
    model.save_pretrained(tmp_path)
    loaded = UniMCForMultipleChoice.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings().weight.shape[0] == len(VOCABULARY) + 8
    assert answers(UniMCZeroShotPipeline(loaded, tiny_tokenizer(), device="cpu"))


def test_weights_may_stay_on_the_disk(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="`device_map` needs `pip install accelerate`")
    tiny_model("bert").save_pretrained(tmp_path)
    model = UniMCForMultipleChoice.from_pretrained(tmp_path, device_map={"": "disk"}, offload_folder=tmp_path / "off")
    assert next(model.parameters()).device.type == "meta"
    inputs = tiny_tokenizer()("stocks fell", options=["sports", "business", "sky"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, tiny_model("bert")(**inputs).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_weights_load_as_the_plain_masked_lm(family: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(tmp_path)
    plain = AutoModelForMaskedLM.from_config(tiny_model(family).config.text_config)
    missing, unexpected = plain.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert not unexpected
    assert all("decoder" in key or "lm_head" in key or "vocab_projector" in key for key in missing)  # tied


def test_a_plain_config_object_may_be_passed(tmp_path: Path) -> None:
    save_plain("bert", tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    model = UniMCForMultipleChoice.from_pretrained(tmp_path, config=config, yes_token_id=20, no_token_id=21)
    assert (model.config.yes_token_id, model.config.no_token_id) == (20, 21)


def test_dtype_of_a_plain_repository_is_respected(tmp_path: Path) -> None:
    save_plain("bert", tmp_path)
    assert UniMCForMultipleChoice.from_pretrained(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert UniMCForMultipleChoice.from_pretrained(tmp_path).dtype == torch.float32


def test_the_backbone_may_name_its_dtype(tmp_path: Path) -> None:
    plain = MODEL_FOR_MASKED_LM_MAPPING[BertConfig](tiny_config("bert").text_config)
    plain.save_pretrained(tmp_path)
    assert plain.config.dtype == "float32"  # what transformers leaves there
    assert UniMCConfig(plain.config).text_config.dtype == torch.float32
    for wrong in ("nn", "banana", "a.b", "\ud800", ""):
        plain.config.dtype = wrong
        with pytest.raises(ValueError, match=r"`text_config\.dtype` must be the name of a dtype"):
            UniMCConfig(plain.config)


def test_a_language_that_cannot_be_told_raises(tmp_path: Path) -> None:
    save_plain("bert", tmp_path)
    save_vocab_txt(tmp_path)
    with pytest.raises(ValueError, match="`language` is needed"):
        pipeline("unimc-zero-shot", model=str(tmp_path))
    with pytest.raises(ValueError, match="not one token"):
        pipeline("unimc-zero-shot", model=str(tmp_path), language="chinese")


def test_an_unsupported_family_is_refused_by_name(tmp_path: Path) -> None:
    config = ConvBertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    ConvBertForMaskedLM(config).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'convbert', which UniMC does not support"):
        UniMCForMultipleChoice.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'convbert', which UniMC does not support"):
        pipeline("unimc-zero-shot", model=str(tmp_path), tokenizer=tiny_tokenizer(), language="english")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"yes_token_id": 5}, "two different token ids"),
        ({"yes_token_id": np.array(["a", "b"])}, "two different token ids"),
        ({"yes_token_id": 5, "no_token_id": 5}, "two different token ids"),
        ({"yes_token_id": 5, "no_token_id": 10**6}, "outside the vocabulary"),
        ({"option_mlm_loss": "all"}, "`option_mlm_loss`"),
    ],
)
def test_wrong_config_raises(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniMCConfig(tiny_config("bert").text_config, **arguments)


def test_wrong_token_ids_raise_on_loading_too(tmp_path: Path) -> None:
    save_plain("bert", tmp_path)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        UniMCForMultipleChoice.from_pretrained(tmp_path, yes_token_id=5, no_token_id=10**6)


def test_a_decoder_is_refused() -> None:
    text_config = tiny_config("bert").text_config
    text_config.is_decoder = True
    with pytest.raises(ValueError, match="is_decoder"):
        UniMCConfig(text_config)


def test_a_tokenizer_of_another_model_is_refused() -> None:
    config = tiny_config("bert")
    config.text_config.vocab_size = 100
    config.yes_token_id, config.no_token_id = 5, 6
    with pytest.raises(ValueError, match="do not belong together"):
        UniMCZeroShotPipeline(UniMCForMultipleChoice(config), tiny_tokenizer(), device="cpu")


def test_what_is_set_on_the_config_reaches_the_backbone(tmp_path: Path) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    model = UniMCForMultipleChoice.from_pretrained(tmp_path, hidden_dropout_prob=0.3)
    assert model.config.text_config.hidden_dropout_prob == model.get_backbone().embeddings.dropout.p == 0.3
    assert "hidden_dropout_prob" not in vars(model.config)
