"""`examples/deploy/convert_checkpoints.py` on folders of the shape of the published checkpoints, with tiny sizes."""

import importlib.util
import io
import json
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub, run
from places import EXAMPLES
from tiny_models import TEXT_CONFIGS
from transformers import MODEL_FOR_MASKED_LM_MAPPING, pipeline

SCRIPT = EXAMPLES / "deploy" / "convert_checkpoints.py"
CHINESE = [
    *("[PAD] [UNK] [CLS] [SEP] [MASK]".split()),
    *dict.fromkeys("是非股市今天大幅下跌体育财经一个男人在弹吉他球队"),
]
ROWS = 80  # more than there are tokens, as in the published MegatronBERT
FAMILIES = {"Albert": "albert", "RoBERTa": "bert", "MegatronBERT": "megatron-bert", "DeBERTa": "deberta-v2"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_checkpoints", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentencepiece_model() -> bytes:
    """`spiece.model` of ALBERT's shape: its own ids for the special tokens, lower-case pieces."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["yes no stocks fell sharply the team won", "sports business music weather"] * 20),
        model_writer=model,
        vocab_size=60,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]", "▁yes", "▁no"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def save_as_published(name: str, folder: Path) -> None:
    """`pytorch_model.bin`, `config.json` and the one old vocabulary file, without a tokenizer_config.json."""
    family = next(family for word, family in FAMILIES.items() if word in name)
    folder.mkdir(parents=True)
    if family == "albert":
        (folder / "spiece.model").write_bytes(sentencepiece_model())
    else:
        (folder / "vocab.txt").write_text("\n".join(CHINESE) + "\n", encoding="utf-8")
    config = type(TEXT_CONFIGS[family])(**{**TEXT_CONFIGS[family].to_dict(), "vocab_size": ROWS})
    torch.manual_seed(0)
    plain = MODEL_FOR_MASKED_LM_MAPPING[type(config)](config)
    weights = plain.state_dict()
    if "RoBERTa-330M" in name:
        weights["bert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings).unsqueeze(0)
    torch.save(weights, folder / "pytorch_model.bin")
    content = config.to_dict()
    content.pop("architectures", None)
    (folder / "config.json").write_text(json.dumps(content))


def test_the_seven_are_known(script: ModuleType) -> None:
    assert len(script.PUBLISHED) == 7
    assert [language for name, language in script.PUBLISHED.items() if "English" in name] == ["english"]
    for name in script.PUBLISHED:
        assert any(word in name for word in FAMILIES)
        assert script.PUBLISHED[name] == name.rsplit("-", 1)[1].lower()


@pytest.mark.parametrize(
    "name",
    [
        "Erlangshen-UniMC-Albert-235M-English",
        "Erlangshen-UniMC-RoBERTa-330M-Chinese",
        "Erlangshen-UniMC-MegatronBERT-1.3B-Chinese",
        "Erlangshen-UniMC-DeBERTa-v2-1.4B-Chinese",
    ],
)
def test_old_folders(name: str, script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_as_published(name, tmp_path / "old" / name)
    script.main([str(tmp_path / "old" / name), "--output", str(tmp_path / "new")])
    assert "logits differ by 0.0e+00" in capsys.readouterr().out
    output, language = tmp_path / "new" / name, script.PUBLISHED[name]
    assert {path.suffix for path in output.iterdir()} == {".safetensors", ".json", ".py", ".md"}
    config = json.loads((output / "config.json").read_text())
    classify = pipeline("unimc-zero-shot", model=str(output))  # no language needed any more
    tokens = classify.tokenizer.convert_ids_to_tokens([config["yes_token_id"], config["no_token_id"]])
    assert tokens == {"english": ["▁yes", "▁no"], "chinese": ["是", "非"]}[language]
    assert config["language"] == language
    assert classify.model.get_input_embeddings().weight.shape[0] == ROWS > len(classify.tokenizer)
    # The same answer as the old folder, for something that the script itself does not ask.
    old = pipeline("unimc-zero-shot", model=str(tmp_path / "old" / name), language=language)
    for question in ("股市 team?", None):
        asked = {"candidate_labels": ["男人", "sports", "a"], "question": question}
        assert classify("今天 won", **asked) == old("今天 won", **asked)
    card = ModelCard.load(output / "README.md")
    assert card.data.base_model == f"IDEA-CCNL/{name}" and card.data.language == language[:2].replace("ch", "zh")
    assert card.data.license is None  # the folder states none
    assert f"{classify.model.num_parameters():,} parameters, float32" in card.text
    assert ("depend on the order" in card.text) == ("DeBERTa" in name)


def test_a_folder_of_another_name_needs_a_language(script: ModuleType, tmp_path: Path) -> None:
    save_as_published("RoBERTa", tmp_path / "mine")
    (tmp_path / "mine" / "README.md").write_text("---\nlicense: mit\n---\nMine.\n")
    with pytest.raises(ValueError, match="`--language` is needed"):
        script.main([str(tmp_path / "mine"), "--output", str(tmp_path / "new")])
    with pytest.raises(ValueError, match="not one token"):
        script.main([str(tmp_path / "mine"), "--output", str(tmp_path / "new"), "--language", "english"])
    arguments = [str(tmp_path / "mine"), "--output", str(tmp_path / "new"), "--language", "chinese"]
    script.main(arguments)
    assert ModelCard.load(tmp_path / "new" / "mine" / "README.md").data.license == "mit"
    with pytest.raises(ValueError, match="is not empty"):
        script.main(arguments)


def test_missing_weights_are_refused(script: ModuleType, tmp_path: Path) -> None:
    save_as_published("RoBERTa", tmp_path / "old")
    weights = torch.load(tmp_path / "old" / "pytorch_model.bin")
    del weights["cls.predictions.transform.dense.weight"]
    torch.save(weights, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"do not fit.*cls\.predictions\.transform\.dense\.weight"):
        script.main([str(tmp_path / "old"), "--output", str(tmp_path / "new"), "--language", "chinese"])
    assert not (tmp_path / "new").exists()


def test_a_copy_that_answers_otherwise_is_refused(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_as_published("RoBERTa", tmp_path / "old")
    compute, calls = script.compute_logits, []

    def another_answer(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        return compute(*arguments) + (len(calls) - 1) * 1e-3

    monkeypatch.setattr(script, "compute_logits", another_answer)
    with pytest.raises(ValueError, match=r"differ from those of .* by 1\.0e-03"):
        script.main([str(tmp_path / "old"), "--output", str(tmp_path / "new"), "--language", "chinese"])
    assert not (tmp_path / "new" / "old" / "README.md").exists()


class Evil:
    """Its pickle makes a folder when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_cannot_run_code(script: ModuleType, tmp_path: Path) -> None:
    save_as_published("RoBERTa", tmp_path / "old")
    torch.save({"bert": Evil(tmp_path / "ran")}, tmp_path / "old" / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        script.main([str(tmp_path / "old"), "--output", str(tmp_path / "new"), "--language", "chinese"])
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "old" / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def test_from_hub_to_hub(tmp_path: Path) -> None:
    """A published repository by its name, with a pickle beside safetensors; converted and pushed."""
    name = "Erlangshen-UniMC-RoBERTa-110M-Chinese"
    save_as_published(name, tmp_path / "old")
    old = pipeline("unimc-zero-shot", model=str(tmp_path / "old"), language="chinese")
    old.model.save_pretrained(tmp_path / "weights")
    files = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    files["model.safetensors"] = (tmp_path / "weights" / "model.safetensors").read_bytes()
    files["pytorch_model.bin"] = b"not even fetched"
    files["README.md"] = b"---\nlicense: apache-2.0\n---\nThe original.\n"
    program = f"import runpy, sys; sys.argv[0] = {str(SCRIPT)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    with LoopbackHub() as hub:
        hub.repositories[f"IDEA-CCNL/{name}"] = {"a" * 40: files}
        arguments = [name, "--output", str(tmp_path / "new"), "--push", "me"]
        done = run(program, hub, tmp_path / "home", *arguments)
        assert done.returncode == 0, done.stderr
        assert not [request for request in hub.requests if request.endswith(".bin")]
        pushed = hub.files(f"me/{name}", "main")[1]
    assert pushed == {path.name: path.read_bytes() for path in (tmp_path / "new" / name).iterdir()}
    assert {Path(file).suffix for file in pushed} <= {".safetensors", ".json", ".py", ".md"}
    card = ModelCard(pushed["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "unimc-zero-shot")
    assert card.data.license == "apache-2.0" and f'model="me/{name}"' in card.text and "a" * 40 in card.text
