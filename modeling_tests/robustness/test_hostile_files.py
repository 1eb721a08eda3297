"""Folders that are damaged, or made to do harm: an error or the same answers, and no code is run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_folders import edit
from tiny_models import TEXT_CONFIGS, VOCABULARY, tiny_model, tiny_tokenizer
from transformers import Trainer, TrainingArguments, pipeline

from unimc_hf import (
    DataCollatorForUniMC,
    UniMCConfig,
    UniMCDecisionPipeline,
    UniMCForMultipleChoice,
    UniMCTokenizer,
)
from unimc_hf.decision_requests import parse_request

TEXTS, LABELS = ["stocks fell sharply", "the team won", "sky [MASK]"], ["sports", "business", "red car"]
# The kinds of errors by which transformers, safetensors, tokenizers and PyTorch refuse a file.
REFUSED = "ValueError OSError RuntimeError SafetensorError JSONDecodeError UnpicklingError KeyError TypeError".split()


@pytest.fixture(scope="module")
def expected(saved: Path) -> list[dict]:
    return answers(saved)


def answers(folder: Path, **loading: Any) -> list[dict]:
    """What a folder answers: all of it is loaded as a user would."""
    build: Any = pipeline
    return build("unimc-zero-shot", model=str(folder), **loading)(TEXTS, candidate_labels=LABELS)


class Evil:
    """Pickled, it makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


# -- damage


def test_a_file_cut_short_or_missing_is_refused_or_changes_nothing(folder: Path, expected: list[dict]) -> None:
    outcomes: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py":
            continue  # not read where the package is installed
        whole = path.read_bytes()
        for keep in (0, 1, len(whole) // 2, len(whole) - 1, None):
            path.unlink() if keep is None else path.write_bytes(whole[:keep])
            try:
                assert answers(folder) == expected, f"{path.name} with {keep} bytes answers something else"
                outcomes["the same"] += 1
            except Exception as error:
                assert type(error).__name__ in REFUSED and str(error), (path.name, keep, repr(error))
                outcomes[f"{path.name}: refused"] += 1
            path.write_bytes(whole)
    print(dict(outcomes))
    assert outcomes["model.safetensors: refused"] == 5 and outcomes["config.json: refused"] >= 4
    assert outcomes["tokenizer.json: refused"] == 5


@pytest.mark.parametrize(
    "content", ["[]", "null", '"text"', "{}", "[" * 100_000, '{"a":' * 100_000, "\0" * 99, "9" * 9999]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_other_json(folder: Path, expected: list[dict], name: str, content: str) -> None:
    (folder / name).write_text(content)
    try:
        got = answers(folder)
    except Exception as error:
        assert str(error)
    else:
        assert got == expected


def test_renamed_weights_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    for rename in (lambda name: f"module.{name}", lambda name: name.replace("layer.1.", "layer.2.")):
        save_file({rename(name): tensor for name, tensor in weights.items()}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=r"do not fit its configuration.*missing, e.g. `"):
            answers(folder)
    # A head is random only where there was none: in a plain encoder, not in a saved UniMC model.
    headless = {name: tensor for name, tensor in weights.items() if "transform" not in name}
    save_file(headless, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"do not fit its configuration.*cls.predictions.transform"):
        answers(folder)
    plain = tiny_model("bert").config.text_config.to_dict() | {"architectures": ["BertModel"]}
    (folder / "config.json").write_text(json.dumps(plain))
    assert answers(folder, language="english")


def test_weights_of_other_shapes_or_another_family_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    save_file({**weights, name: weights[name].T.contiguous()}, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match="mismatch"):
        UniMCForMultipleChoice.from_pretrained(folder)
    tiny_model("roberta").save_pretrained(folder.parent / "roberta")
    shutil.copyfile(folder.parent / "roberta" / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(ValueError, match="do not fit its configuration"):
        answers(folder)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    """Of the same size, so that every id it gives exists."""
    order = list(VOCABULARY)
    moved = dict(zip([*order[:5], *reversed(order[5:])], VOCABULARY.values()))

    def move(content: dict) -> None:
        content["model"]["vocab"] = moved

    edit(folder / "tokenizer.json", move)
    with pytest.raises(ValueError, match=r"`tokenizer` has the words for yes and no.*do not belong together"):
        answers(folder)
    with pytest.raises(ValueError, match="do not belong together"):
        answers(folder, language="english")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.0.attention.self.query.weight"][3, 4] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="`model` gave a score that is no number"):
        answers(folder)
    model, tokenizer = UniMCForMultipleChoice.from_pretrained(folder), UniMCTokenizer.from_pretrained(folder)
    request = {"state": "sky", "questions": {"q": {"type": "noul", "instructions": "blue"}}}
    with pytest.raises(ValueError, match="`model` gave a score that is no number"):
        UniMCDecisionPipeline(model, tokenizer, device="cpu")(request)
    decision_model = pytest.importorskip("unimc_hf.decision", reason="transformers has no decision pipeline")
    model = decision_model.UniMCForDecision.from_pretrained(folder)
    [(batch, questions)] = model.decision_config.prepare_inputs(request, tokenizer)
    assert questions == list(parse_request(request, "english").questions)
    with pytest.raises(ValueError, match="`model` gave a score that is no number"):
        model.decide(questions, **batch)


@pytest.mark.parametrize(
    "loading",
    [{"device": "banana"}, {"device": 99}, {"device": "cuda:99"}, {"dtype": "banana"}, {"dtype": torch.int8}],
)
def test_wrong_devices_and_dtypes(saved: Path, expected: list[dict], loading: dict) -> None:
    """Where there is no such device or dtype, transformers takes the CPU and float32, or raises."""
    try:
        got = answers(saved, **loading)
    except (ValueError, TypeError, RuntimeError, AssertionError) as error:
        assert str(error)
    else:
        assert got == expected


# -- harm


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_pickles_run_no_code(folder: Path, legacy: bool, name: str) -> None:
    mark = folder.parent / "mark"
    content = {"bert.embeddings.word_embeddings.weight": Evil(mark)}
    torch.save(content, folder / name, _use_new_zipfile_serialization=not legacy)
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    else:
        pytest.importorskip("peft")
        (folder / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder), "target_modules": ["query"]})
        )
    with pytest.raises((pickle.UnpicklingError, ValueError, OSError, RuntimeError)):
        answers(folder)
    with pytest.raises((pickle.UnpicklingError, ValueError, OSError, RuntimeError)):
        UniMCForMultipleChoice.from_pretrained(folder, use_safetensors=False)
    assert not mark.exists()
    with pytest.raises(ValueError, match="`weights_only` must be True"):
        UniMCForMultipleChoice.from_pretrained(folder, weights_only=False)
    assert not mark.exists()
    torch.load(folder / name, weights_only=False)  # it is one indeed
    assert mark.is_dir()


def test_pickles_in_a_checkpoint_run_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    arguments = TrainingArguments(
        str(tmp_path / "run"), max_steps=2, save_steps=1, remove_unused_columns=False, report_to="none", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    examples = [{"text": "sky", "options": ["red", "blue"], "label": 1}] * 2
    trainer = Trainer(
        UniMCForMultipleChoice(tiny_model("bert").config), arguments, DataCollatorForUniMC(tiny_tokenizer()), examples
    )
    trainer.train()
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        checkpoint = Path(shutil.copytree(tmp_path / "run" / "checkpoint-1", tmp_path / name.replace(".", "-")))
        torch.save({"state": Evil(mark)}, checkpoint / name)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint))
        except pickle.UnpicklingError:
            pass
        else:
            assert name == "training_args.bin"  # never read
        assert not mark.exists()


@pytest.mark.parametrize(
    "target", ["../outside.safetensors", "/{outside}", "sub/outside.safetensors", "..", "", "config.json", 5, None]
)
@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_an_index_that_points_elsewhere(folder: Path, target: Any, kind: str) -> None:
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / "model.safetensors", outside)
    (folder / "sub").mkdir()
    shutil.copyfile(outside, folder / "sub" / outside.name)
    target = str(outside) if target == "/{outside}" else target
    weight_map = dict.fromkeys(load_file(outside), target)
    (folder / f"{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(ValueError, match=r"`weight_map` of .* names .*, no weight file of its folder"):
        answers(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": []}', '{"metadata": {}, "weight_map": "x"}'])
def test_an_index_that_is_none(folder: Path, content: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=r"is no (JSON|index)"):
        answers(folder)


def test_names_in_configurations_lead_nowhere(folder: Path, expected: list[dict]) -> None:
    """Code, another tokenizer and other weights lie outside; nothing of them is run or read."""
    mark = folder.parent / "mark"
    code = f"import os; os.mkdir({str(mark)!r})\nclass Evil: pass\n"
    for place in (folder.parent, folder):
        (place / "evil.py").write_text(code)
    outside = folder.parent / "outside"
    shutil.copytree(folder, outside)
    edit(outside / "tokenizer.json", lambda content: content["model"]["vocab"].pop("sky"))
    for reference in ("evil.Evil", "../evil.Evil", f"{folder.parent}/evil.Evil", f"{outside}--evil.Evil"):

        def redirect(content: dict, reference: str = reference) -> None:
            content["auto_map"] = {
                **dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForMultipleChoice"), reference),
                "AutoTokenizer": [reference, reference],
            }
            content["custom_pipelines"] = {"unimc-zero-shot": {"impl": reference, "pt": ["AutoModel"]}}

        edit(folder / "config.json", redirect)
        edit(folder / "tokenizer_config.json", redirect)
        assert answers(folder) == expected
        assert UniMCTokenizer.from_pretrained(folder)("sky")["input_ids"] == tiny_tokenizer()("sky")["input_ids"]
    for name in ("vocab_file", "tokenizer_file", "name_or_path", "fast_tokenizer_files", "added_tokens_file"):
        value: Any = f"../outside/{'tokenizer.json' if name != 'name_or_path' else ''}"
        value = [value] if name.endswith("files") else value
        edit(folder / "tokenizer_config.json", lambda content, name=name, value=value: content.update({name: value}))
        try:
            assert answers(folder) == expected, name
        except (ValueError, TypeError, OSError) as error:
            assert str(error)
        shutil.copyfile(outside / "tokenizer_config.json", folder / "tokenizer_config.json")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attn_implementation": "evil/kernel"}, "`attn_implementation` is 'evil/kernel', a kernel from the Hub"),
        ({"text_config": {"attn_implementation": "evil/kernel"}}, "`attn_implementation` is 'evil/kernel'"),
        ({"attn_implementation": "kernels-community/flash-attn"}, "a kernel from the Hub"),
        ({"transformers_weights": "../outside/model.safetensors"}, "inside the model directory"),
        ({"transformers_weights": "/tmp/evil.bin"}, "neither a safetensors file|inside the model directory"),
        ({"dtype": "load"}, "`dtype` must be the name of a dtype"),
        ({"text_config": {"dtype": "os"}}, "dtype"),
        ({"text_config": {"model_type": "evil"}}, "evil"),
        ({"text_config": {"model_type": "../evil"}}, "evil"),
        ({"text_config": {"hidden_act": "os.system"}}, "os.system"),
        ({"yes_token_id": "2"}, "two different token ids"),
        ({"yes_token_id": 10**30}, "outside the vocabulary"),
        ({"softmax_temperature": 1e-300}, "`softmax_temperature` must be a number from"),
        ({"language": ["english"]}, "`language` must be a string"),
    ],
)  # fmt: skip
def test_settings_that_are_wrong_or_would_load_code(folder: Path, settings: dict, message: str) -> None:
    def change(content: dict) -> None:
        inner = settings.get("text_config", {})
        content.update({**settings, "text_config": {**content["text_config"], **inner}})

    edit(folder / "config.json", change)
    with pytest.raises(Exception, match=message) as raised:
        UniMCForMultipleChoice.from_pretrained(folder)
    assert raised.type in (ValueError, TypeError, KeyError, OSError, AttributeError, ImportError), repr(raised.value)


ABSURD = [
    {"hidden_size": 10**9},
    {"num_hidden_layers": 10**6},
    {"vocab_size": 10**10},
    {"max_position_embeddings": 10**11},
    {"intermediate_size": 10**12},
    {"num_attention_heads": 10**9},
    {"type_vocab_size": 10**9},
    {"type_vocab_size": 10**30},
    {"hidden_size": 96_000, "vocab_size": 9_000_000},
    {"vocab_size": 9_000_000, "hidden_size": 1024, "num_hidden_layers": 48},
    {"hidden_size": -32},
    {"hidden_size": 0},
    {"num_hidden_layers": 0},
    {"num_hidden_layers": -1},
    {"hidden_size": "1e9"},
    {"hidden_size": float("inf")},
    {"model_type": "modernbert", "num_hidden_layers": 10**9},
    {"model_type": "albert", "num_hidden_groups": 10**9},
    {"model_type": "albert", "embedding_size": 10**9},
    {"model_type": "deberta-v2", "max_relative_positions": 10**9, "relative_attention": True},
]
LOAD_ABSURD = """
import json, resource, sys, time
from pathlib import Path
from unimc_hf import UniMCForMultipleChoice, UniMCZeroShotPipeline
folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
original = json.loads((folder / "config.json").read_text())
UniMCForMultipleChoice.from_pretrained(folder)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for case in cases:
    for nested in (True, False):  # a UniMC config, and a plain one
        text_config = {**original["text_config"], **case}
        content = {**original, "text_config": text_config} if nested else text_config
        (folder / "config.json").write_text(json.dumps(content))
        start = time.perf_counter()
        try:
            UniMCForMultipleChoice.from_pretrained(folder)
            outcome = "loaded"
        except Exception as error:
            outcome = f"{type(error).__name__}: {str(error)[:300]}"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([case, outcome, grown // 1024, time.perf_counter() - start]))
"""


def test_sizes_that_are_absurd_take_no_memory(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ABSURD, str(folder), json.dumps(ABSURD)],
        capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2 * len(ABSURD)
    for case, outcome, megabytes, _ in lines:
        print(case, outcome, megabytes)
        assert outcome != "loaded", case
        assert megabytes < 300, (case, outcome, megabytes)


def test_a_size_that_is_too_large_is_named() -> None:
    with pytest.raises(ValueError, match=r"`text_config.num_hidden_layers` is 1000000; it must be from 1 to 1000"):
        UniMCConfig({"model_type": "modernbert", "num_hidden_layers": 10**6})
    text_config = TEXT_CONFIGS["bert"].to_dict() | {"vocab_size": 10**10}
    with pytest.raises(ValueError, match=r"`text_config.vocab_size` is 10000000000"):
        UniMCConfig(text_config)


def test_saved_weights_have_no_pickles(saved: Path) -> None:
    assert not [path for path in saved.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
