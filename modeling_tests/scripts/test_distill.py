"""Distillation: a student learns to answer as its teacher does, in both kinds of scores, without a label."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import distill
import pytest
import torch
from places import EXAMPLES
from tiny_models import FAMILIES, tiny_model, tiny_tokenizer
from train_tiny import make_examples
from transformers import TrainingArguments

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice, UniMCZeroShotPipeline
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.training.trainer import UniMCTrainer

TEXTS = [{**example, "text_pair": "", "question": "", "label": None} for example in make_examples(12)]


def no_dropout(model: UniMCForMultipleChoice) -> UniMCForMultipleChoice:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture
def teacher() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(copy.deepcopy(tiny_model("bert")), tiny_tokenizer(), device="cpu")


def test_the_student_learns_what_its_teacher_knows(tmp_path: Path, teacher: UniMCZeroShotPipeline) -> None:
    how = {
        "remove_unused_columns": False,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "max_steps": 60,
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 12,
    }
    labelled = [{**example, "label": i % 2, "option_probs": None} for i, example in enumerate(TEXTS)]
    UniMCTrainer(
        model=no_dropout(teacher.model),
        args=TrainingArguments(str(tmp_path), **how),
        train_dataset=labelled,
        data_collator=DataCollatorForUniMC(tiny_tokenizer(), mlm=False),
    ).train()
    choices = distill.choose(teacher, TEXTS)
    assert distill.measure(teacher, choices, labelled) == {"agreement": 1.0, "accuracy": 1.0}

    student = no_dropout(distill.with_fewer_layers(copy.deepcopy(tiny_model("bert")), 1))
    pipeline = UniMCZeroShotPipeline(student, tiny_tokenizer(), device="cpu")

    def distance(**arguments: bool) -> float:
        """Mean difference of a score between teacher and student."""
        both = [unimc_classifier(p, **arguments)(TEXTS) for p in (teacher, pipeline)]
        pairs = [(a, b) for rows in zip(*both) for a, b in zip(*rows)]
        return sum(abs(a - b) for a, b in pairs) / len(pairs)

    assert distill.measure(pipeline, choices, labelled)["accuracy"] < 0.75
    assert min(distance(), distance(multi_label=True)) > 0.2
    distill.distill(teacher, student, tiny_tokenizer(), TEXTS, **how)  # no label in them
    assert distill.measure(pipeline, choices, labelled) == {"agreement": 1.0, "accuracy": 1.0}
    assert max(distance(), distance(multi_label=True)) < 0.05


def test_what_is_taught(teacher: UniMCZeroShotPipeline) -> None:
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(TEXTS[:6])
    with torch.no_grad():
        output = teacher.model(**{name: tensor for name, tensor in batch.items() if name != "option_probs"})
    texts = [{"text": example["text"], "options": example["options"]} for example in TEXTS[:6]]  # no `label` in them
    for row, example in enumerate(distill.teach(teacher, texts, temperature=2.0)):
        size = len(example["options"])
        expected = (output.logits[row, :size] / 2).softmax(-1)
        assert example["option_probs"] == pytest.approx(expected.tolist(), abs=1e-4)
        yes, no = output.yes_no_logits[row, :size].unbind(-1)
        assert example["label"] == pytest.approx((yes - no).sigmoid().tolist(), abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(
    tmp_path: Path, teacher: UniMCZeroShotPipeline, temperature: float
) -> None:
    """The gradient vanishes where both agree, and grows with the square of the temperature for the same difference."""
    model = teacher.model
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    trainer = UniMCTrainer(model=model, args=arguments, temperature=temperature)
    taught = [{**example, "label": -100} for example in distill.teach(teacher, TEXTS[:8], temperature)]
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(taught)
    trainer.compute_loss(model, batch).backward()
    assert max(p.grad.abs().max() for p in model.parameters() if p.grad is not None) < 1e-3
    model.zero_grad()
    batch["option_probs"] = batch["option_probs"].flip(-1)
    loss = trainer.compute_loss(model, batch)
    log_probs = (model(**{k: v for k, v in batch.items() if k != "option_probs"}).logits / temperature).log_softmax(-1)
    terms = torch.where(batch["option_probs"] > 0, batch["option_probs"] * log_probs, 0.0)
    torch.testing.assert_close(loss, -terms.sum() / 8 * temperature**2)


def test_option_probs_need_no_label(tmp_path: Path) -> None:
    model = copy.deepcopy(tiny_model("bert"))
    trainer = UniMCTrainer(model=model, args=TrainingArguments(str(tmp_path), report_to="none", use_cpu=True))
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    example = {"text": "sky", "options": ["red", "blue"], "option_probs": [0.25, 0.75]}
    with torch.no_grad():
        loss = trainer.compute_loss(model, collator([example]))
        torch.testing.assert_close(loss, trainer.compute_loss(model, collator([{**example, "label": -100}])))
        with pytest.raises(ValueError, match="to compute a loss from"):
            trainer.compute_loss(model, collator([{"text": "sky", "options": ["red", "blue"]}]))


def test_an_evaluation_weighs_what_has_a_target(tmp_path: Path) -> None:
    """Every kind of example alone in a batch and beside the others; -100 and no label are the same."""
    one = {"text": "sky", "options": ["red", "blue"]}
    taught = {**one, "option_probs": [0.25, 0.75]}
    rows = [{**one, "label": 0}, {**one, "label": 1}, taught, {**one, "label": -100}, one, one, one]
    arguments = {"report_to": "none", "use_cpu": True, "disable_tqdm": True, "remove_unused_columns": False}
    seen = []
    for batch_size in (1, 2, 4, 7):
        trainer = UniMCTrainer(
            no_dropout(copy.deepcopy(tiny_model("bert"))),
            TrainingArguments(str(tmp_path), per_device_eval_batch_size=batch_size, **arguments),
            DataCollatorForUniMC(tiny_tokenizer()),
            compute_metrics=lambda prediction: seen.append(prediction.label_ids.tolist()) or {"seen": 1.0},
        )
        alone = [trainer.evaluate([row])["eval_loss"] for row in rows[:3]]
        figures = trainer.evaluate(rows)
        assert figures["eval_loss"] == pytest.approx(sum(alone) / 3, abs=1e-5) and figures["eval_seen"] == 1.0
        prediction = trainer.predict(rows[::-1])
        assert seen[-2:] == [[0, 1] + [-100] * 5, [-100] * 5 + [1, 0]]
        assert prediction.predictions.shape == (7, 2) and prediction.label_ids.tolist() == seen[-1]
        seen.clear()
        soft, unlabelled = trainer.predict([taught] * 2), trainer.predict(rows[3:])
        assert soft.metrics["test_loss"] == pytest.approx(alone[2], abs=1e-5)
        assert soft.label_ids is None and unlabelled.label_ids is None and not seen
        assert "test_loss" not in unlabelled.metrics


def test_wrong_temperatures_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        UniMCTrainer(model=tiny_model("bert"), args=TrainingArguments(str(tmp_path)), temperature=0.0)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "albert"])
def test_layers_are_left_out(family: str, tmp_path: Path) -> None:
    student = distill.with_fewer_layers(copy.deepcopy(tiny_model(family)), 1)
    assert student.num_parameters() < tiny_model(family).num_parameters()
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(TEXTS[:3])
    batch.pop("option_probs", None)
    student.save_pretrained(tmp_path)
    reloaded = UniMCForMultipleChoice.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(reloaded(**batch).logits, student.eval()(**batch).logits)
    with pytest.raises(ValueError, match="`layers` must be between 1 and the teacher's 2"):
        distill.with_fewer_layers(copy.deepcopy(tiny_model(family)), 3)


def test_layers_that_share_their_weights_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="cannot tell the layers of a albert"):
        distill.with_fewer_layers(copy.deepcopy(tiny_model("albert")), 1)


def test_the_script(tmp_path: Path) -> None:
    tiny_model("bert").save_pretrained(tmp_path / "teacher")
    tiny_tokenizer().save_pretrained(tmp_path / "teacher")
    rows = [{"passage": e["text"], "options": e["options"], "label": max(0, e["label"])} for e in make_examples(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [
        sys.executable,
        str(EXAMPLES / "fine_tune" / "distill.py"),
        str(tmp_path / "rows.jsonl"),
        "--layers",
        "1",
    ]
    command += ["--teacher", str(tmp_path / "teacher"), "--output", str(tmp_path / "student"), "--test-rows", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "student" / "distillation.json").read_text())["figures"]
    assert figures["teacher"]["agreement"] == 1.0
    assert f"{figures['student after']['agreement']:.3f}" in done.stdout
    assert UniMCForMultipleChoice.from_pretrained(tmp_path / "student").config.text_config.num_hidden_layers == 1
