"""`few_shot.py` and `impossible_triangle.py`: sampling, every method, the guard against collapse, resuming."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import few_shot
import few_shot_data as data
import few_shot_methods as methods
import impossible_triangle
import pytest
import torch
from tiny_models import tiny_config, tiny_tokenizer
from transformers import PreTrainedTokenizerFast, set_seed

from unimc_hf import UniMCForMultipleChoice, UniMCZeroShotPipeline
from unimc_hf.evaluation import metrics

LABELS = ["sports", "business", "music"]
WORDS = {0: ["team", "game", "won"], 1: ["stock", "fell", "rose"], 2: ["song", "play", "sun"]}
SMALL = ["--dtype", "float32", "--learning_rate", "1e-2", "--linear_learning_rate", "3e-3"]


def write(path: Path, rows: int) -> Path:
    """Rows whose labels go 0, 1, 2, 0, ..., but a rare third one."""
    lines = []
    for i in range(rows):
        label = 2 if i % 10 == 9 else i % 2
        text = " ".join(WORDS[label][(i // (j + 3)) % 3] for j in range(3))
        lines.append({"passage": f"{text} {'abc'[i % 3]}", "question": "what", "options": LABELS, "label": label})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A UniMC model and the plain encoder inside it."""
    model_folder, encoder_folder = (tmp_path_factory.mktemp(name) for name in ("unimc", "encoder"))
    set_seed(0)
    model = UniMCForMultipleChoice(tiny_config("bert"))
    UniMCZeroShotPipeline(model, tiny_tokenizer()).save_pretrained(model_folder)
    model.get_backbone().save_pretrained(encoder_folder)
    tokens = {
        f"{name}_token": getattr(tiny_tokenizer(), f"{name}_token") for name in ("pad", "unk", "cls", "sep", "mask")
    }
    plain = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer, model_max_length=96, **tokens)
    plain.save_pretrained(encoder_folder)
    return str(model_folder), str(encoder_folder)


@pytest.fixture(autouse=True)
def few_bootstrap_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are not what is tested here, and take longer than a tiny model."""
    monkeypatch.setattr(metrics, "BOOTSTRAP_SAMPLES", 20)


# -- sampling ----------------------------------------------------------------------------------------------------------


def test_shots_are_nested_balanced_and_never_tested_on(tmp_path: Path) -> None:
    data_set = data.load_data_set(write(tmp_path / "news.jsonl", 200))
    pool, test = data.split(data_set, seed=1)
    assert data_set.num_classes == 3 and len(pool) + len(test) == 200
    ids = [{id(example) for example in part} for part in (pool, test)]
    assert not ids[0] & ids[1]
    previous: set[int] = set()
    for shots in (1, 4, 8):
        train = data.take(pool, shots, seed=1)
        assert Counter(map(data.right_class, train)) == {0: shots, 1: shots, 2: shots}
        assert previous < {id(example) for example in train} <= ids[0]
        previous = {id(example) for example in train}
    assert Counter(map(data.right_class, data.take(pool, 32, seed=1)))[2] == 10  # half of the 20 there are
    assert data.take(pool, "all", seed=1) == pool
    assert data.split(data_set, seed=1) == (pool, test) != data.split(data_set, seed=2)
    assert len(data.split(data_set, seed=1, test_rows=7)[1]) == 7
    with pytest.raises(ValueError, match="`shots` must be"):
        data.take(pool, 0, seed=1)


def test_published_samples_are_used_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "tnews.train.jsonl", 30)
    data_set = data.load_data_set(write(tmp_path / "tnews.test.jsonl", 50))
    assert data_set.name == "tnews"
    for seed in (0, 1):
        pool, test = data.split(data_set, seed)
        assert (pool, test) == (data_set.pool, data_set.test) and (len(pool), len(test)) == (30, 50)


def test_what_the_others_read(tmp_path: Path) -> None:
    """In a fixed label set the options say nothing; in other ones they are part of the text."""
    rows = [{"passage": "sky", "options": [f"it is {x}", f"it is not {x}"], "label": 1} for x in ("red", "blue")]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    varying = data.load_data_set(tmp_path / "pairs.jsonl").test[0]
    assert varying["pair"] == ("sky", "it is red / it is not red") and varying["classes"] == [0, 1]
    fixed = data.load_data_set(write(tmp_path / "news.jsonl", 10)).test
    assert [example["pair"][1] for example in fixed] == [""] * 10


# -- training ----------------------------------------------------------------------------------------------------------


def test_steps_of_few_and_many_examples() -> None:
    settings = methods.FewShotSettings(batch_size=8, epochs=20, least_epochs=3, steps=300)
    assert [settings.num_steps(n) for n in (4, 64, 256, 1000)] == [20, 160, 300, 375]
    assert methods.FewShotSettings(max_steps=5).num_steps(1000) == 5


@pytest.mark.parametrize("damage", ["one class", "not a number"])
def test_a_collapsed_training_is_repeated_then_given_up(
    folders: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    rates = []

    def collapse(model: UniMCForMultipleChoice, *args: object, learning_rate: float, **kwargs: object) -> float:
        rates.append(learning_rate)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return float("nan") if damage == "not a number" else 0.1

    monkeypatch.setattr(methods, "train_quietly", collapse)
    contender = methods.unimc(folders[0], methods.FewShotSettings(learning_rate=4e-5, dtype="float32"))
    pool, test = data.split(data.load_data_set(write(tmp_path / "news.jsonl", 60)), seed=0)
    classifier, notes = contender.fit(data.take(pool, 2, 0), 3, 0)
    assert notes == {"collapses": 3} and rates == [4e-5, 2e-5, 1e-5]
    assert classifier(test) == contender.zero_shot(test)


def test_models_and_files_that_are_called_alike_stay_apart(folders: tuple[str, str], tmp_path: Path) -> None:
    models = [shutil.copytree(folders[0], tmp_path / name / "model") for name in "ab"]
    files = [str(write(tmp_path / name / "news.jsonl", 20)) for name in "ab"]
    arguments = few_shot.FewShotArguments(
        tmp_path / "figures.json", model=list(map(str, models)), methods=["unimc"], shots=["0"], seeds=1
    )
    cells, _ = few_shot.run(arguments, methods.FewShotSettings(dtype="float32"), files)
    names = [(cell["method"], cell["data_set"]) for cell in cells.content["cells"]]
    assert sorted(names) == [(f"UniMC {m}/model", f"{d}/news") for m in "ab" for d in "ab"]


def run(monkeypatch: pytest.MonkeyPatch, module: object, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    module.main()


@pytest.mark.parametrize("setfit", [False, True], ids=["without setfit", "with setfit"])
def test_few_shot_learns_and_resumes(
    setfit: bool,
    folders: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    if setfit:
        pytest.importorskip("setfit", reason="needs `pip install setfit`, no dependency of this package")
    names = ["setfit"] if setfit else ["unimc", "linear"]
    output = tmp_path / "figures.json"
    words = ["--model", folders[0], "--backbone", folders[1], "--methods", *names, "--output", output, *SMALL]
    words += ["--setfit_learning_rate", "3e-3", "--epochs", "30", "--test_rows", "40"]
    files = [write(tmp_path / "news.jsonl", 120)]
    run(monkeypatch, few_shot, *files, *words, "--shots", "0", "6", "--seeds", "1")
    first = json.loads(output.read_text())
    shots = [(cell["method"].split()[0], cell["shots"]) for cell in first["cells"]]
    assert shots == ([("SetFit", 6)] if setfit else [("UniMC", 0), ("UniMC", 6), ("linear", 6)])
    for cell in first["cells"]:
        assert cell["rows"] == 40 and cell["training_rows"] == (18 if cell["shots"] else 0)
    accuracy = [cell["accuracy"] for cell in first["cells"]]
    assert accuracy[-1] > 0.9 and (setfit or accuracy[1] > accuracy[0] + 0.2)
    run(monkeypatch, few_shot, *files, *words, "--shots", "0", "6", "--seeds", "2")
    second = json.loads(output.read_text())
    assert second["cells"][: len(first["cells"])] == first["cells"]
    assert len(second["cells"]) == 2 * len(first["cells"])
    printed = capsys.readouterr().out
    assert "±" in printed and "mean of the data sets" in printed
    with pytest.raises(SystemExit, match="other settings"):
        run(monkeypatch, few_shot, *files, *words, "--learning_rate", "1e-5")
    (tmp_path / "other").mkdir()
    with pytest.raises(SystemExit, match=r"as 'news', which news.jsonl, sha256 .* would be called as well"):
        run(monkeypatch, few_shot, write(tmp_path / "other" / "news.jsonl", 60), *words, "--shots", "0")


def test_the_triangle_is_tabled_and_drawn(
    folders: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="needs `pip install matplotlib`, no dependency of this package")
    output, markdown, plot = (tmp_path / name for name in ("triangle.json", "triangle.md", "triangle.png"))
    files = [write(tmp_path / "news.jsonl", 60), write(tmp_path / "other.jsonl", 60)]
    words = ["--model", folders[0], "--backbone", folders[1], "--methods", "unimc", "linear", "--output", output]
    words += ["--seeds", "1", "--max_steps", "2", "--shots", "0", "2", "all", *SMALL]
    run(monkeypatch, impossible_triangle, *files, *words, "--plot", plot, "--markdown", markdown)
    lines = markdown.read_text().splitlines()
    assert lines[0] == "| method | parameters | zero-shot | few-shot, 2 per label | fine-tuned on all |"
    cells = json.loads(output.read_text())["cells"]
    assert len(cells) == 2 * (3 + 2)
    mean = sum(c["accuracy"] for c in cells if c["method"].startswith("UniMC") and c["shots"] == "all") / 2
    assert lines[2].split(" | ")[-1].startswith(f"{mean:.3f} ±") and lines[3].split(" | ")[2] == "-"
    assert plot.read_bytes().startswith(b"\x89PNG")
