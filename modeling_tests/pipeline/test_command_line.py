"""`python -m unimc_hf --file`: a column of a file, in order, in bounded memory, and what happens to broken lines."""

import csv
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.command_line.classify_file import classify_file
from unimc_hf.command_line.table import format_table, main

LABELS = ["sports", "business"]
Run = Callable[..., int]


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


@pytest.fixture(scope="module")
def run(classify: UniMCZeroShotPipeline, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("model")
    classify.save_pretrained(folder)
    return lambda *arguments: main([*map(str, arguments), "--model", str(folder), "--labels", *LABELS])


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        return list(csv.DictReader(lines))


def check(row: dict, text: str, classify: UniMCZeroShotPipeline, **arguments: object) -> None:
    (result,) = classify([text], candidate_labels=LABELS, **arguments)  # alone, an empty text raises
    assert row["predicted_label"] == result["labels"][0]
    for label, score in zip(result["labels"], result["scores"]):
        assert float(row[f"score: {label}"]) == pytest.approx(score, abs=1e-6)
    assert float(row["predicted_score"]) == pytest.approx(result["scores"][0], abs=1e-6)


def test_csv_with_broken_lines(
    run: Run, classify: UniMCZeroShotPipeline, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(
        b"\xef\xbb\xbfid,text\r\n"  # 1: as Excel writes it
        b"1,stocks fell\r\n"
        b'2,"the team, won\r\nthe ""game"""\r\n'  # 3 and 4: one record
        b"3,too,many\r\n"  # 5
        b"4\r\n"  # 6
        b"\r\n"
        b"5,sky \xff\r\n"  # 8: not UTF-8
        b"6\xff,red car\r\n"  # not UTF-8 either, but not the text
        b'7,"never closed\r\n'  # 10
        b"8,blue\r\n"
        b'9,"closed" badly\r\n'  # 12
        b"10,\r\n"
        b'11,"the last one is not closed either'  # 14
    )
    assert run("--file", source, "--column", "text", "--output", target) == 1
    rows = read_csv(target)
    texts = {
        "1": "stocks fell", "2": 'the team, won\r\nthe "game"', "6\udcff": "red car", "8": "blue", "10": "",
    }  # fmt: skip
    assert {row["id"]: row["text"] for row in rows} == texts
    assert [row["id"] for row in rows] == list(texts)
    for row in rows:
        check(row, row["text"], classify)
    out, err = capfd.readouterr()
    assert out == ""
    reported = [int(line.split("line ")[1].split(":")[0]) for line in err.splitlines() if ", line " in line]
    assert reported == [5, 6, 8, 10, 12, 14]
    assert "3 fields where the header has 2" in err and "lone surrogate" in err
    assert "6 lines are broken and were left out; 5 rows written" in err


def test_a_lone_carriage_return_stays_in_its_cell(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b'text,id\nsky,"1\r2"\nsun,3\n')
    assert run("--file", source, "--column", "text", "--output", target) == 0
    assert [row["id"] for row in read_csv(target)] == ["1\r2", "3"]
    assert b"\r\n" not in target.read_bytes()


def test_the_table_of_long_and_unprintable_texts() -> None:
    start = time.perf_counter()
    table = format_table([("text", "answer"), ("x" * 1_000_000, "a"), ("\x1b[31m\u202e\ud800", "b")])
    assert time.perf_counter() - start < 5
    assert table.splitlines()[2].startswith("x" * 75 + "…  a") and r"\x1b[31m\u202e\ud800" in table


def test_a_damaged_model_is_said_to_be_one(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    tiny_model("bert").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert main(["sky", "--labels", *LABELS, "--model", str(tmp_path)]) == 2
    assert "the model cannot be loaded" in capfd.readouterr().err


def test_jsonl_with_broken_lines(
    run: Run, classify: UniMCZeroShotPipeline, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    source = tmp_path / "in.jsonl"
    good = [{"text": "天 sky", "id": [1, None]}, {"text": "stocks", "other": "\ud800"}, {"id": 7, "text": "[MASK]"}]
    lines = [
        json.dumps(good[0], ensure_ascii=False), "{broken", json.dumps(good[1]), '["text"]', '{"id": 1}',
        '{"text": null}', "", json.dumps(good[2]), '{"text": "a", "predicted_label": 1}', "[" * 100_000,
    ]  # fmt: skip
    source.write_text("\n".join(lines), encoding="utf-8")
    assert run("--file", source, "--column", "text", "--question", "what", "--multi-label") == 1
    out, err = capfd.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 3 and "天" in out
    for row, expected in zip(rows, good):
        assert {name: row[name] for name in expected} == expected
        check(row, expected["text"], classify, question="what", multi_label=True)
    reported = [int(line.split("line ")[1].split(":")[0]) for line in err.splitlines() if ", line " in line]
    assert reported == [2, 4, 5, 6, 9, 10]
    assert "there is no column 'text'; there are 'id'" in err


def test_a_good_file_ends_well_and_shows_progress(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "in.tsv", tmp_path / "out.tsv"
    source.write_text("text\tid\n" + "".join(f"sky {'sun ' * (i % 7)}\t{i}\n" for i in range(1200)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("--file", source, "--column", "text", "--output", target) == 0
    lines = target.read_text().splitlines()
    assert lines[0] == "text\tid\tpredicted_label\tpredicted_score\tscore: sports\tscore: business"
    assert [line.split("\t")[1] for line in lines[1:]] == [str(i) for i in range(1200)]
    err = capsys.readouterr().err
    assert "in.tsv: 100%" in err and "broken" not in err


def test_long_cells_are_cells(tmp_path: Path) -> None:
    def classify(texts: Iterator[str] | list[str], **_: object) -> Iterator[dict]:
        return ({"labels": LABELS, "scores": [0.75, 0.25]} for _ in texts)

    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    cells = ["sky", "".join(f"line {i}, more\n" for i in range(1200)), "word " * 40_000, "sun"]
    with source.open("w", newline="") as lines:
        csv.writer(lines).writerows([["text"], *([cell] for cell in cells)])
        lines.write('"never closed\n' + ("x" * 1000 + "\n") * 1100)
    assert classify_file(classify, source, "text", LABELS, target) == (len(cells) + 1100, 1)
    with target.open(newline="") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    assert texts == [*cells, *["x" * 1000] * 1100]


def test_texts_that_were_cut_are_counted(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    source = tmp_path / "in.csv"
    source.write_text("text\nsky\n" + "sky " * 500 + "\n")
    assert run("--file", source, "--column", "text") == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 3 and "1 texts were too long" in err


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def classify(texts: Iterator[str] | list[str], **_: object) -> Iterator[dict]:
        return ({"labels": LABELS, "scores": [0.75, 0.25]} for _ in texts)

    source = tmp_path / "in.csv"
    with source.open("w") as target:
        target.write("text\n")
        for i in range(6000):
            target.write(("x" * 2000 if i % 2 else '"y" broken') + "\n")
    assert source.stat().st_size > 6e6
    tracemalloc.start()
    counts = classify_file(classify, source, "text", LABELS, tmp_path / "out.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts == (3000, 3000)
    assert peak < 1e6


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("text\na\n", ["--file", "in.txt", "--column", "text"], "`file` must end in .csv, .tsv, .jsonl"),
        ("text\na\n", ["--file", "in.csv", "--column", "txt"], "no column 'txt'; there are 'text'"),
        ("", ["--file", "in.csv", "--column", "text"], "the file is empty"),
        ("text,text\n", ["--file", "in.csv", "--column", "text"], "repeats a column"),
        ("text,predicted_label\n", ["--file", "in.csv", "--column", "text"], "a column 'predicted_label' already"),
        ("text\na\n", ["--file", "in.csv", "--column", "text", "--output", "in.csv"], "`output` is `file` itself"),
        ("text\na\n", ["--file", "in.csv", "--column", "text", "--output", "o.jsonl"], "`output` must end in .csv"),
        ("text\na\n", ["--file", "none.csv", "--column", "text"], "No such file"),
        ("text\na\n", ["--file", "in.csv", "--column", "text", "--output", "no/o.csv"], "No such file"),
        ("text\na\n", ["--file", "in.csv", "--column", "text", "--question", "what " * 900], "`options` do not fit"),
    ],
)
def test_wrong_files_are_refused_before_anything_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture,
    content: str, arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("in.csv", "in.txt"):
        Path(name).write_text(content)
    assert run(*arguments) == 2
    out, err = capfd.readouterr()
    assert message in err and out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "in.txt"]
    assert Path("in.csv").read_text() == content


@pytest.mark.parametrize("name", ["threshold", "top_k"])
def test_scores_that_would_be_left_out_are_refused(name: str, classify: UniMCZeroShotPipeline, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\nstocks fell\n")
    with pytest.raises(ValueError, match=f"`{name}` must be left out"):
        classify_file(classify, source, "text", LABELS, target, **{name: 1})
    assert not target.exists()
    made_with = UniMCZeroShotPipeline(classify.model, classify.tokenizer, device="cpu", **{name: 1})
    assert classify_file(made_with, source, "text", LABELS, target) == (1, 0)
    check(read_csv(target)[0], "stocks fell", classify)


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        ({"g": ["a", "b"], "h": ["c"]}, {}, "for all rows, without groups; got {'g'"),
        ([["a", "b"]], {}, "`labels` must be one list of labels"),
        (LABELS, {"question": ["what"]}, "`question` must be one string for all rows"),
        (LABELS, {"progress_bar": True}, "`progress_bar` must be left out"),
        (LABELS, {"stride": 600}, "`stride` must be less than the 89 tokens"),
        (LABELS, {"max_length": 64, "stride": 63}, "`stride` must be less than the 57 tokens"),
        (LABELS, {"max_length": 7}, "which leaves 1 of 7 tokens"),  # enough for an empty text
    ],
)
def test_wrong_arguments_leave_the_old_output(
    classify: UniMCZeroShotPipeline, tmp_path: Path, labels: Any, arguments: dict, message: str
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\n" + "sky " * 600 + "\n")
    target.write_text("old")
    with pytest.raises(ValueError, match=message):
        classify_file(classify, source, "text", labels, target, **arguments)
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("labels", ["sports, business", dict.fromkeys(LABELS, "what it is"), np.array(LABELS)])
def test_labels_in_the_other_forms_of_the_pipeline(
    classify: UniMCZeroShotPipeline, tmp_path: Path, labels: Any
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\nsky\n")
    assert classify_file(classify, source, "text", labels, target) == (1, 0)
    (row,) = read_csv(target)
    assert list(row)[-2:] == [f"score: {label}" for label in LABELS]


def test_a_jsonl_file_without_the_column_is_refused(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"txt": "sky"}\n{"id": 1}\n')
    assert run("--file", source, "--column", "text", "--output", target) == 2
    assert "there is no column 'text' in any of the rows" in capfd.readouterr().err
    source.write_text('\n{"id": 1}\n{"text": null}\n')
    assert run("--file", source, "--column", "text", "--output", target) == 1
    source.write_text("")
    assert run("--file", source, "--column", "text", "--output", target) == 0
    assert target.read_text() == "" and len(list(tmp_path.iterdir())) == 2


def test_a_run_that_fails_leaves_the_old_output_and_its_own_rows(tmp_path: Path) -> None:
    def classify(texts: Iterator[str] | list[str], **_: object) -> Iterator[dict]:
        for text in texts:
            if text == "sun":
                raise RuntimeError("out of memory")
            yield {"labels": LABELS, "scores": [0.75, 0.25]}

    source, target, link = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "link.csv"
    source.write_text("text\nsky\nsun\n")
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(RuntimeError, match="out of memory"):
        classify_file(classify, source, "text", LABELS, link)
    assert target.read_text() == "old"
    assert [row["text"] for row in read_csv(tmp_path / "out.csv.unfinished")] == ["sky"]
    source.write_text("text\nsky\n")
    classify_file(classify, source, "text", LABELS, link)
    assert link.is_symlink() and [row["text"] for row in read_csv(target)] == ["sky"]
    with pytest.raises(IsADirectoryError):  # before anything is computed
        (tmp_path / "folder.csv").mkdir()
        classify_file(classify, source, "text", LABELS, tmp_path / "folder.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "in.csv", "link.csv", "out.csv"]


@pytest.mark.parametrize(
    "arguments",
    [["--file", "in.csv"], ["--column", "text"], ["--output", "x.csv"], ["a", "--file", "b", "--column", "c"]],
)
def test_wrong_combinations_of_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*arguments, "--labels", *LABELS])
    assert raised.value.code == 2
