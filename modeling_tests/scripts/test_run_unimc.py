"""`examples/fine_tune/run_unimc.py` from files to a saved and pushed model; rows of ordinary data sets as examples."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import fine_tuning
import numpy as np
import pytest
import run_unimc
import torch
from loopback_hub import LoopbackHub
from places import EXAMPLES, ROOT
from tiny_models import FAMILIES, tiny_config, tiny_model, tiny_tokenizer
from transformers import EvalPrediction, pipeline, set_seed

from unimc_hf import UniMCForMultipleChoice, UniMCZeroShotPipeline
from unimc_hf.evaluation.classification_examples import classification_examples
from unimc_hf.evaluation.metrics import option_metrics

REVIEWS = [("good film", 1), ("great play", 1), ("bad film", 0), ("terrible play", 0)]
TOPICS = ["sports", "business", "music"]
NEWS = [("team won", 0), ("stocks fell", 1), ("the song", 2), ("game lost", 0)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    set_seed(0)
    model = UniMCForMultipleChoice(tiny_config("bert", softmax_temperature=2.0, prefer_bfloat16=True))
    UniMCZeroShotPipeline(model, tiny_tokenizer()).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same kind of data in two forms: integer labels in a CSV file, options in the common format."""
    folder = tmp_path_factory.mktemp("data")
    with open(folder / "reviews.csv", "w", newline="") as file:
        csv.writer(file).writerows([("review", "stars"), *REVIEWS * 3])
    rows = [{"passage": text, "options": TOPICS, "label": label, "source": "news"} for text, label in NEWS * 3]
    (folder / "news.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(folder / "reviews.csv"), str(folder / "news.jsonl")


def arguments(model: str, output: Path, *more: str) -> list[str]:
    columns = ["--text_column", "review", "--label_column", "stars", "--class_names", "bad", "good"]
    training = ["--learning_rate", "3e-3", "--per_device_train_batch_size", "12", "--dtype", "float32", "--use_cpu"]
    quiet = ["--report_to", "none", "--disable_tqdm", "true"]
    return ["--model_name_or_path", model, "--output_dir", str(output), *columns, *training, *quiet, *more]


# -- rows of ordinary data sets ----------------------------------------------------------------------------------------


def test_labels_become_options() -> None:
    rows = [{"sentence": "good", "y": 1}, {"sentence": "bad", "y": "negative"}, {"sentence": None, "y": -1}]
    columns = {"text": "sentence", "label": "y"}
    first, second, third = classification_examples(
        rows, ["negative", "positive"], columns=columns, hypothesis_template="It is {}.", question="how?"
    )
    assert first == {"text": "good", "text_pair": "", "question": "how?", "options": ["It is negative.",
                     "It is positive."], "label": 1, "task": "other", "source": "data"}  # fmt: skip
    assert (second["label"], third["label"], third["text"]) == (0, None, "")
    several = classification_examples([{"text": "x", "label": y} for y in ([2, "a"], [0, 1], [])], ["a", "b", "c"])
    assert [row["label"] for row in several] == [[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    both = classification_examples([{"text": "x", "label": ["a", "b"]}], ["a", "b"])
    assert both[0]["label"] == [1.0, 1.0]
    own = classification_examples([{"text": "x", "options": ["p", "q"], "label": y} for y in (1, "q", -1, [0, 1])])
    assert own[0]["options"] == ["p", "q"] and [row["label"] for row in own] == [1, 1, None, [0.0, 1.0]]


def test_a_data_set_knows_its_label_names() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=TOPICS)})
    rows = datasets.Dataset.from_dict({"text": ["team"], "label": [2]}, features=features)
    assert classification_examples(rows)[0] | {"task": "x"} == {
        "text": "team", "text_pair": "", "question": "", "options": TOPICS, "label": 2, "task": "x", "source": "data"
    }  # fmt: skip
    features["label"] = datasets.Sequence(datasets.ClassLabel(names=["a", "b"]))
    rows = datasets.Dataset.from_dict({"text": ["team"], "label": [[0, 1]]}, features=features)
    assert classification_examples(rows)[0]["label"] == [1.0, 1.0]  # such a column holds indices


@pytest.mark.parametrize(
    ("rows", "names", "keywords", "message"),
    [
        ([{"text": "x", "label": 0}], None, {}, "`label_names` is missing"),
        ([{"text": "x", "label": 2}], ["a", "b"], {}, "`label` of row 0 is 2"),
        ([{"text": "x", "label": 0.5}], ["a", "b"], {}, "`label` of row 0 is 0.5"),
        ([{"text": "x", "label": float("nan")}], ["a", "b"], {}, "`label` of row 0 is nan"),
        ([{"text": "x", "label": float("inf")}], ["a", "b"], {}, "`label` of row 0 is inf"),
        ([{"text": "x", "label": {"a": 1}}], ["a", "b"], {}, "`label` of row 0 is {'a': 1}"),
        ([{"text": "x", "label": [0, 0, 1]}], ["a", "b", "c"], {}, r"`label` of row 0 is \[0, 0, 1\].* no repeats"),
        ([{"text": "x", "label": [0, "a"]}], ["a", "b", "c"], {}, "`label` of row 0 .* no repeats"),
        ([{"text": "x", "label": [0.0, 1.0]}], ["a", "b", "c"], {}, "`label` of row 0 .* must hold indices or names"),
        ([{"text": "x", "label": [True]}], ["a", "b", "c"], {}, "`label` of row 0 .* must hold indices or names"),
        ([{"text": "x", "label": [0, 1]}], ["a", "b"], {}, r"`label` of row 0 is \[0, 1\].* name the right ones"),
        ([{"text": "x", "label": [1, 0]}], ["a", "b"], {}, r"`label` of row 0 is \[1, 0\].* name the right ones"),
        ([{"text": "x", "label": [0]}], ["a"], {}, r"`label` of row 0 is \[0\].* name the right ones"),
        ([{"text": "x", "label": "c"}], ["a", "b"], {}, "not among `label_names`"),
        ([{"text": "x", "label": 0}], ["a", "a"], {}, "`label_names` repeats 'a'"),
        ([{"sentence": "x", "label": 0}], ["a", "b"], {}, "`columns` must say which column is `text`"),
        ([{"text": "x", "label": 0}], ["a", "b"], {"columns": {"label": "y"}}, "row 0 has no 'y'"),
        ([{"text": "x", "label": 0}], ["a", "b"], {"columns": {"texts": "text"}}, "`columns` names"),
        ([{"text": "x", "label": 0}], ["a", "b"], {"hypothesis_template": "no"}, "`hypothesis_template`"),
        ([{"text": "x", "options": ["p", "q"], "label": 7}], None, {}, "`label` of row 0 is 7"),
        ([{"text": "x", "options": ["p", "q"], "label": "zzz"}], None, {}, "'zzz', which is not among `options`"),
        ([{"text": "x", "options": ["p", "q"], "label": [1]}], None, {}, "`label` of row 0 must be one number"),
        ([{"text": "x", "options": ["p", "p"], "label": 0}], None, {}, r"`rows\[0\]\['options'\]` repeats 'p'"),
    ],
)
def test_wrong_rows_raise(rows: list, names: list | None, keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_examples(rows, names, **keywords)
    with pytest.raises(TypeError, match="`label_names` must be a list"):
        classification_examples(rows, "ab")
    with pytest.raises(TypeError, match=r"`rows\[0\]\['options'\]` must be a list"):
        classification_examples([{"text": "x", "options": "xy", "label": 0}])


@pytest.mark.parametrize("field", ["text", "text_pair", "question"])
def test_a_text_that_is_no_string_is_named(field: str) -> None:
    """pandas gives NaN for what is missing."""
    with pytest.raises(TypeError, match=rf"`rows\[1\]\['{field}'\]` must be a string, got float"):
        classification_examples([{"text": "x"}, {"text": "x", field: float("nan")}], ["a", "b"])


# -- metrics -----------------------------------------------------------------------------------------------------------


def example(options: list[str], label: int, source: str = "a") -> dict:
    return {"text": "sky", "text_pair": "", "question": "", "options": options, "label": label, "source": source}


def test_metrics_by_hand() -> None:
    examples = [example(["red", "blue"], 0), example(["blue", "red"], 0), example(["red", "blue"], 0)]
    figures = option_metrics(examples, [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], per_class=True)
    assert figures == pytest.approx(
        {"accuracy": 2 / 3, "macro_f1": 0.4, "calibration_error": (0.1 + 0.8 + 0.4) / 3, "recall_red": 1.0,
         "recall_blue": 0.0}
    )  # fmt: skip


def test_metrics_of_a_mixture_are_means_over_its_sources() -> None:
    examples = [example(["red", "blue"], 0, "a"), example(["x", "y", "z"], 2, "b"), example(["x", "y", "z"], 1, "b")]
    # The first row is padded by Trainer, and -100 is more than its logits.
    logits = np.array([[-200.0, -300.0, -100.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    figures = fine_tuning.metrics_by_source(examples)(EvalPrediction(logits, np.zeros(3)))
    assert (figures["a_accuracy"], figures["b_accuracy"], figures["accuracy"]) == (1.0, 0.5, 0.75)
    with pytest.raises(ValueError, match="one right option"):
        fine_tuning.metrics_by_source([example(["a", "b"], [1.0, 1.0])])


# -- the script --------------------------------------------------------------------------------------------------------


def test_mixed_files_train_and_the_saved_model_predicts_the_same(
    model_folder: str, files: tuple[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("datasets")
    more = ["--train_files", *files, "--validation_files", *files, "--test_files", files[1], "--max_steps", "160"]
    best = ["--eval_strategy", "steps", "--eval_steps", "80", "--save_strategy", "steps", "--save_steps", "80"]
    best += ["--load_best_model_at_end", "--metric_for_best_model", "macro_f1", "--early_stopping_patience", "3"]
    run = ["--do_train", "--do_eval", "--do_predict", *best]
    figures = run_unimc.main(arguments(model_folder, tmp_path, *more, *run))
    assert figures["eval_accuracy"] == 1.0 and figures["eval_news_recall_music"] == 1.0
    assert figures["eval_reviews_macro_f1"] == 1.0
    classify = pipeline("unimc-zero-shot", model=str(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == len(NEWS * 3)
    for line in lines[:4]:
        answer = classify(line["text"], candidate_labels=TOPICS)
        assert answer["labels"][0] == line["answer"]
        assert dict(zip(answer["labels"], answer["scores"])) == pytest.approx(line["scores"], abs=1e-5)


def test_a_model_is_evaluated_as_it_is(model_folder: str, files: tuple[str, str], tmp_path: Path) -> None:
    """Without training its calibration counts, as in the pipeline; the data are a folder with a file per split."""
    pytest.importorskip("datasets")
    for split in ("validation", "test"):
        (tmp_path / "reviews").mkdir(exist_ok=True)
        (tmp_path / "reviews" / f"{split}.csv").write_text(Path(files[0]).read_text())
    run = ["--dataset_name", str(tmp_path / "reviews"), "--do_eval", "--do_predict"]
    figures = run_unimc.main(arguments(model_folder, tmp_path, *run))
    assert figures["eval_accuracy"] == pytest.approx((figures["eval_recall_bad"] + figures["eval_recall_good"]) / 2)
    line = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    classify = pipeline("unimc-zero-shot", model=model_folder, dtype="float32")
    answer = classify(line["text"], candidate_labels=["bad", "good"])
    assert dict(zip(answer["labels"], answer["scores"])) == pytest.approx(line["scores"], abs=1e-5)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_stale_calibration_is_dropped_and_parts_can_be_frozen(model_folder: str) -> None:
    model, _ = fine_tuning.load_for_training(model_folder, dtype="float32", frozen=["word_embeddings"])
    assert model.config.softmax_temperature == 1.0 and not model.config.prefer_bfloat16
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen == ["bert.embeddings.word_embeddings.weight"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_ready_to_train(family: str, tmp_path: Path) -> None:
    """Families call their dropout by different names; that of attention is off."""
    UniMCZeroShotPipeline(tiny_model(family), tiny_tokenizer(), device="cpu").save_pretrained(tmp_path)
    model, tokenizer = fine_tuning.load_for_training(str(tmp_path), dtype="float32", dropout=0.25)
    rates = {name: rate for name, rate in model.config.text_config.to_dict().items() if "dropout" in name}
    hidden = {"distilbert": {"dropout"}, "modernbert": {"embedding_dropout", "mlp_dropout"}}
    assert {name for name, rate in rates.items() if rate == 0.25} == hidden.get(family, {"hidden_dropout_prob"})
    assert [rate for name, rate in rates.items() if name.startswith("attention")] == [0.0]
    batch = fine_tuning.make_collator(tokenizer)([example(["red", "blue"], 0)])
    assert torch.isfinite(model.train()(**batch).loss)


def test_lora_trains_an_adapter_and_saves_a_whole_model(
    model_folder: str, files: tuple[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="needs `pip install peft`, no dependency of this package")
    more = ["--train_files", files[1], "--validation_files", files[1], "--do_train", "--do_eval", "--max_steps", "3"]
    lora = ["--lora_rank", "4", "--save_strategy", "no", "--dtype", "bfloat16"]
    figures = run_unimc.main(arguments(model_folder, tmp_path, *more, *lora))
    before, after = (UniMCForMultipleChoice.from_pretrained(folder) for folder in (model_folder, tmp_path))
    changed = {n for n, p in after.named_parameters() if not torch.equal(p, before.get_parameter(n).bfloat16().float())}
    layers = [name for name, module in after.named_modules() if type(module) is torch.nn.Linear]
    assert changed == {f"{name}.weight" for name in layers if "decoder" not in name}
    classify = pipeline("unimc-zero-shot", model=str(tmp_path))
    right = [classify(text, candidate_labels=TOPICS)["labels"][0] == TOPICS[label] for text, label in NEWS]
    assert sum(right) / len(right) == figures["eval_accuracy"]


def test_push_to_hub(model_folder: str, files: tuple[str, str], tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    with LoopbackHub() as hub:
        environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(tmp_path / "home")}
        more = ["--train_files", files[1], "--do_train", "--max_steps", "1", "--save_strategy", "no"]
        push = ["--push_to_hub", "--hub_model_id", "me/tuned"]
        run = subprocess.run(
            [
                sys.executable,
                str(EXAMPLES / "fine_tune" / "run_unimc.py"),
                *arguments(model_folder, tmp_path / "out", *more, *push),
            ],
            env={**environment, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        _, pushed = hub.files("me/tuned", "main")
    assert {"model.safetensors", "config.json", "tokenizer.json", "pipeline_unimc.py", "README.md"} <= set(pushed)
    assert pushed["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()


def test_named_columns_count_and_written_tasks_are_read(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"body": "team won", "text": "x", "options": TOPICS, "label": 0}))
    (example,) = run_unimc.read_examples(str(path), run_unimc.DataArguments(text_column="body"), 0)
    assert (example["text"], example["options"], example["label"]) == ("team won", TOPICS, 0)
    task = {"task": "a", "kind": "topic", "questions": ["what?"], "labels": {"sports": [], "music": []}}
    path.write_text(json.dumps({**task, "texts": {"sports": ["team won"]}}))
    (example,) = run_unimc.read_examples(str(path), run_unimc.DataArguments(), 0)
    assert (example["text"], example["options"], example["source"]) == ("team won", ["sports", "music"], "a")


def test_texts_without_labels_are_predicted_and_not_trained_on(model_folder: str, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    path = tmp_path / "new.csv"
    path.write_text("review\ngood film\nbad play\n")
    run_unimc.main(arguments(model_folder, tmp_path, "--test_files", str(path), "--do_predict"))
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["good film", "bad play"]
    with pytest.raises(ValueError, match="`label_column`: the training examples have no labels"):
        run_unimc.main(arguments(model_folder, tmp_path, "--train_files", str(path), "--do_train"))


@pytest.mark.parametrize("unknown", ["-1", ""])
def test_rows_without_labels_are_counted_before_training(model_folder: str, tmp_path: Path, unknown: str) -> None:
    pytest.importorskip("datasets")
    path = tmp_path / "part.csv"
    path.write_text(f"review,stars\ngood film,1\nbad play,0\nwho knows,{unknown}\n")
    with pytest.raises(ValueError, match="`train_files`: 1 of the 3 training rows of 'part' have no label"):
        run_unimc.main(arguments("no model is loaded", tmp_path, "--train_files", str(path), "--do_train"))
    rows = [{"text": text, "options": TOPICS, "label": label} for text, label in (("team", 0), ("x", -1), ("y", None))]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="`train_files`: 2 of the 3 training rows of 'some' have no label"):
        run_unimc.main(arguments("no model is loaded", tmp_path, "--train_files", str(path), "--do_train"))


def test_only_an_empty_cell_of_a_csv_file_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    path = tmp_path / "words.csv"
    path.write_text("text,label\nNA,None\nnull,n/a\n,None\nnan,\n")
    examples = run_unimc.read_examples(str(path), run_unimc.DataArguments(class_names=["None", "n/a"]), 0)
    assert [(row["text"], row["label"]) for row in examples] == [("NA", 0), ("null", 1), ("", 0), ("nan", None)]


def test_checkpoints_are_chosen_on_texts_without_masks(
    model_folder: str, files: tuple[str, str], tmp_path: Path
) -> None:
    more = ["--train_files", files[1], "--validation_files", files[1], "--do_train", "--do_eval", "--mlm"]
    still = ["--learning_rate", "0", "--max_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1"]
    figures = run_unimc.main(arguments(model_folder, tmp_path, *more, *still, "--save_strategy", "no"))
    log = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    (while_training,) = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert while_training == pytest.approx(figures["eval_loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--do_train"], "`train_files`"),
        ([], "Nothing to do"),
        (["--train_files", "news.txt", "--do_train"], "must be .jsonl"),
        (["--train_files", "{news}", "--do_train", "--validation_split", "1.5"], "`validation_split`"),
        (["--train_files", "{news}", "--do_train", "--early_stopping_patience", "1"], "`early_stopping_patience`"),
        (["--train_files", "{news}", "--do_train", "--label_smoothing_factor", "0.1"], "`label_smoothing_factor`"),
    ],
)
def test_wrong_arguments_raise(
    model_folder: str, files: tuple[str, str], tmp_path: Path, more: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run_unimc.main(arguments(model_folder, tmp_path, *[word.replace("{news}", files[1]) for word in more]))
