"""The written tasks of the repository are in their form, and no domain of the held-out ones is trained on."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from places import EXAMPLES

sys.path.append(str(EXAMPLES / "written_tasks"))

import wordings_chinese
from wordings import GENERAL_QUESTIONS
from write_counts import HERE, faults, read_splits, table
from written_rewording import Lures, WrittenRewording, by_language

from unimc_hf.evaluation.jsonl_examples import read_jsonl
from unimc_hf.evaluation.written_tasks import plain_examples, read_written_tasks, to_written_task

RECIPE = json.loads((EXAMPLES / "models" / "english" / "train_written.json").read_text(encoding="utf-8"))["written"]
TASK = {
    "task": "parcel",
    "kind": "intent",
    "domain": "post",
    "questions": ["What does the customer want?"],
    "labels": {"track": ["where is it", "The customer asks where it is."], "return": ["send back", "Give it back."]},
    "texts": {"track": ["No news since Monday."], "return": ["It is too small."]},
    "several": [["Where is it? I do not want it any more.", ["track", "return"]]],
    "none_fits": ["Thank you!"],
}
OTHER = {**TASK, "task": "news", "kind": "topic", "domain": "press", "questions": ["What is the article about?"]}
OTHER = {**OTHER, "labels": {"sport": ["games", "It is about sport."], "money": ["finance", "It is about money."]}}
OTHER = {**OTHER, "texts": {"sport": ["A late goal."], "money": ["Rates rose."]}, "several": [], "none_fits": []}


class LettersTeacher:
    """Embeds a string as its letters: enough to have neighbours."""

    centred = False

    def embed(self, texts: list[str]) -> torch.Tensor:
        rows = torch.tensor([[text.lower().count(chr(97 + i)) + 0.01 for i in range(26)] for text in texts])
        return torch.nn.functional.normalize(rows, dim=-1)


LANGUAGES = [path.name for path in sorted(HERE.iterdir()) if (path / "train").is_dir()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_they_are_in_their_form(language: str) -> None:
    assert faults(read_splits(language)) == []


def test_the_card_has_their_counts() -> None:
    assert table(LANGUAGES) in (HERE / "README.md").read_text(encoding="utf-8")


def test_faults_are_found() -> None:
    tasks = [to_written_task(TASK), to_written_task({**TASK, "task": "other"})]
    assert faults({"train": tasks[:1], "development": tasks[1:], "evaluation": []}) == [
        "other: its domain 'post' is trained on"
    ]
    repeated = to_written_task({**TASK, "labels": {**TASK["labels"], "empty": ["nothing"]}, "none_fits": ["a", "a"]})
    found = faults({"train": [repeated, repeated], "development": [], "evaluation": []})
    assert found[0] == "parcel: the name repeats"
    assert {"parcel: label 'empty' needs two other wordings", "parcel: label 'empty' has no text"} <= set(found)
    assert "parcel: repeats 'a'" in found


def test_rows_with_one_right_label_are_examples(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(TASK) + "\n", encoding="utf-8")
    examples = plain_examples(read_written_tasks([tmp_path]))
    assert [(e["text"], e["options"][e["label"]]) for e in examples] == [
        ("No news since Monday.", "track"),
        ("It is too small.", "return"),
    ]
    assert {e["question"] for e in examples} == {"What does the customer want?"}
    assert read_jsonl(tmp_path / "a.jsonl") == examples
    (none,) = plain_examples(read_written_tasks([tmp_path]), none_fits=True)
    assert none["text"] == "Thank you!" and none["label"] == [0.0, 0.0]


@pytest.mark.parametrize(
    "line",
    [{**TASK, "kind": "verse"}, {**TASK, "several": [["a", ["track", "lost"]]]}, {"task": "x", "labels": {}}, []],
)
def test_what_is_no_task_raises_with_its_line(line: object, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(TASK) + "\n" + json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2"):
        read_written_tasks([tmp_path])


def test_a_folder_without_tasks_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no file of written tasks"):
        read_written_tasks([tmp_path])


def test_every_wording_keeps_what_is_right() -> None:
    tasks = [to_written_task(TASK), to_written_task(OTHER)]
    rewording = WrittenRewording(tasks, {**RECIPE, "passes": 1}, LettersTeacher())
    rng = random.Random(0)
    questions, menus = set(), set()
    for _ in range(300):
        for row in tasks[0].rows:
            example = rewording(tasks[0], row, rng)
            options, label = example["options"], example["label"]
            questions.add(example["question"])
            menus.add(len(options))
            assert len({option.lower() for option in options}) == len(options)
            if options == ["yes", "no"]:
                continue
            if isinstance(label, int):
                assert any(word in options[label] for word in tasks[0].wordings[row.right[0]])
            else:
                assert sum(label) == len(row.right) and len(label) == len(options)
    assert {"", *tasks[0].questions, *tasks[1].questions} <= questions and questions & set(GENERAL_QUESTIONS)
    assert {2, 3} <= menus  # alone, and with labels of the other task


def test_lures_resemble_the_question_and_not_the_text() -> None:
    rewording = WrittenRewording([to_written_task(TASK), to_written_task(OTHER)], RECIPE, LettersTeacher())
    example = {"text": "zzz", "question": "What is the article about?", "options": ["zz", "qq"], "label": 0}
    rewording.lures.prepare([example["text"]])
    rewording.lures.too_close = 0.9
    drawn = rewording.lures.draw(example, ["zz"], 3, random.Random(0))
    assert drawn and set(drawn) <= set(rewording.phrases)
    teacher = LettersTeacher()
    assert float(np.max(teacher.embed(drawn).numpy() @ teacher.embed(["zzz"]).numpy().T)) < 0.9


def test_every_language_by_itself() -> None:
    chinese = {
        **TASK, "task": "kuaidi", "questions": ["顾客想做什么？"], "several": [], "none_fits": [],
        "labels": {"查询": ["到哪了", "想知道包裹在哪"], "退货": ["寄回去", "要把东西退掉"]},
        "texts": {"查询": ["周一起就没有消息。"], "退货": ["太小了。"]},
    }  # fmt: skip
    found = by_language([to_written_task(TASK), to_written_task(chinese)])
    assert {language: [task.name for task in tasks] for language, tasks in found.items()} == {
        "english": ["parcel"], "chinese": ["kuaidi"],
    }  # fmt: skip
    config = {
        **RECIPE,
        "passes": {"chinese": 2},
        "times": {"intent": 3},
        "questions": {"own": 0, "none": 0, "general": 1},
    }
    rewording = WrittenRewording(found["chinese"], {**config, "yes_no": 0}, LettersTeacher(), "chinese")
    examples = rewording.examples(random.Random(0))
    assert len(examples) == 2 * 2 * 3
    assert {example["question"] for example in examples} <= set(wordings_chinese.GENERAL_QUESTIONS)


def test_the_second_text_may_stand_in_the_options() -> None:
    nli = {
        **TASK, "task": "nli", "kind": "nli", "labels": {"yes": ["true", "it is so"], "no": ["false", "it is not so"]},
        "pairs": {"yes": [["The cup is red.", "It has a colour."]], "no": [["The cup is red.", "It is blue."]]},
        "texts": {}, "several": [], "none_fits": [],
    }  # fmt: skip
    task = to_written_task(nli)
    rewording = WrittenRewording([task], {**RECIPE, "passes": 1, "pair_in_options": 1}, LettersTeacher())
    for row in task.rows:
        example = rewording(task, row, random.Random(1))
        assert example["text_pair"] == "" and all(row.text_pair in option for option in example["options"][:2])


def test_a_centred_teacher_has_centred_neighbours() -> None:
    teacher = LettersTeacher()
    teacher.centred = True
    lures = Lures(teacher, ["aab", "aba", "abz"])
    assert np.allclose(np.linalg.norm(lures._phrase_rows, axis=1), 1)
    assert lures._phrase_rows[0] @ lures._phrase_rows[2] < 0  # of plain letters .67


def test_one_task_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(TASK) + "\n" + json.dumps(OTHER) + "\n", encoding="utf-8")
    assert len(read_jsonl(path)) == 4
    assert [example["text"] for example in read_jsonl(f"{path}#news")] == ["A late goal.", "Rates rose."]
    with pytest.raises(ValueError, match="has no source 'weather'"):
        read_jsonl(f"{path}#weather")
