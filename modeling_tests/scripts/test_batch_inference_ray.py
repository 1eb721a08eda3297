"""Ray Data: the answers of the pipeline, in the order of the rows, whatever happens to a worker."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import IMPORTABLE
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline

ray = pytest.importorskip("ray", reason='needs `pip install -e ".[ray]"`')
pytest.importorskip("ray.data", reason='needs `pip install -e ".[ray]"`')
import batch_inference_ray  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.csv  # noqa: E402
import pyarrow.parquet  # noqa: E402

ROWS = 600
MENU = ["red", "blue", "dog"]
WORDS = "sky sun rain car train road city house tree dog cat game team stocks music".split()
TEXTS = [f"{WORDS[i % 15]} {WORDS[i // 15 % 15]} {WORDS[i // 225]} {i}" for i in range(ROWS)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # workers import the classes that they run
        patch.setenv("PYTHONPATH", os.pathsep.join([IMPORTABLE, str(Path(__file__).parent)]))
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = 600  # raise instead of waiting for ever
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_model("bert").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def expected() -> list[dict]:
    classify = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    return classify(TEXTS, candidate_labels=MENU)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_inference_ray, "ROWS_PER_BLOCK", 50)
    monkeypatch.setattr(batch_inference_ray, "BYTES_PER_BLOCK", 4096)


class DiesOnce(batch_inference_ray.Classifier):
    """A worker whose process is killed in the middle of its third table, before anything of it is answered."""

    def __call__(self, table: pa.Table) -> pa.Table:
        self.tables = getattr(self, "tables", 0) + 1
        marker = Path(self.classify.model.config.name_or_path) / "died"
        if self.tables == 3 and not marker.exists():
            marker.write_text(table["where"][0].as_py())
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(table)


def write_jsonl(path: Path, texts: list[str]) -> None:
    rows = [{"id": f"{i:05}", "text": text, "date": "2020-01-01"} for i, text in enumerate(texts)]
    rows[1]["candidate_labels"] = ["yes", "no"]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")


def check(rows: list[dict], expected: list[dict]) -> None:
    assert [row["text"] for row in rows] == TEXTS
    for row, answer in zip(rows, expected, strict=True):
        if row.get("candidate_labels"):
            assert sorted(row["labels"]) == sorted(row["candidate_labels"])
            continue
        assert row["labels"] == answer["labels"]
        assert row["scores"] == pytest.approx(answer["scores"], abs=1e-5)


def test_a_killed_worker_loses_nothing(tmp_path: Path, model_folder: str, expected: list[dict]) -> None:
    write_jsonl(tmp_path / "a.jsonl", TEXTS[:350])
    write_jsonl(tmp_path / "b.jsonl", TEXTS[350:])
    rows = batch_inference_ray.classify_files(
        [tmp_path / "a.jsonl", tmp_path / "b.jsonl"],
        tmp_path / "out.jsonl",
        model_folder,
        {"candidate_labels": MENU},
        workers=2,
        worker_class=DiesOnce,
    )
    assert rows == ROWS
    assert (Path(model_folder) / "died").exists()
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    check(found, expected)
    assert (found[7]["id"], found[7]["date"]) == ("00007", "2020-01-01")  # as they were
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "out.jsonl"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables(tmp_path: Path, model_folder: str, expected: list[dict], suffix: str) -> None:
    table = pa.table({"id": [f"{i:05}" for i in range(ROWS)], "text": TEXTS})
    file, output = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    if suffix == "csv":
        pa.csv.write_csv(table, file)
    else:
        pa.parquet.write_table(table, file, row_group_size=200)
    batch_inference_ray.classify_files([file], output, model_folder, {"candidate_labels": MENU})
    if suffix == "csv":
        as_text = pa.csv.ConvertOptions(column_types={"id": pa.string()})
        found = pa.csv.read_csv(output, convert_options=as_text).to_pylist()
        found = [{**row, "labels": json.loads(row["labels"]), "scores": json.loads(row["scores"])} for row in found]
    else:
        found = pa.parquet.read_table(output).to_pylist()
    check(found, expected)
    assert [row["id"] for row in found] == table["id"].to_pylist()


def test_wrong_input_raises_before_any_work(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", TEXTS[:3])
    for name in ("labels", "scores", "right", "no_text"):
        table = pa.table({"id": ["1"]} if name == "no_text" else {"text": ["sky"], name: ["sports"]})
        pa.csv.write_csv(table, tmp_path / f"{name}.csv")
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    for files, output, arguments, message in [
        (["in.jsonl"], "out.csv", {}, "must all end in one of"),
        (["in.txt"], "out.txt", {}, "must all end in one of"),
        (["no.jsonl"], "out.jsonl", {}, "which is no file"),
        (["in.jsonl"], "out.jsonl", {"candidate_labels": ["a", "a"]}, "`candidate_labels`"),
        (["no_text.csv"], "out.csv", {}, r"no_text\.csv: there is no column `text`; there are id"),
        (["right.parquet", "no_text.parquet"], "out.parquet", {}, r"no_text\.parquet: there is no column `text`"),
        (["labels.csv"], "out.csv", {}, "there is a column `labels` already"),
        (["scores.parquet"], "out.parquet", {}, "there is a column `scores` already"),
    ]:
        with pytest.raises(ValueError, match=message):
            batch_inference_ray.classify_files(
                [tmp_path / file for file in files], tmp_path / output, "no model", arguments
            )


@pytest.mark.parametrize("line", ['{"text": ', '["text"]', "{}", '{"text": null}'])
def test_a_wrong_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"in\.jsonl, line 2: not"):
        batch_inference_ray._parse(line, "in.jsonl, line 2")


def test_a_line_that_has_what_would_be_its_answer_is_named() -> None:
    with pytest.raises(ValueError, match=r"in\.jsonl, line 2: there is a column `labels` already"):
        batch_inference_ray._parse('{"text": "sky", "labels": ["good"]}', "in.jsonl, line 2")
