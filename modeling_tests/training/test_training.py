"""Collator and Trainer: exact batches, masking where it may be, learning, resuming, and what is refused."""

import platform
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_config, tiny_tokenizer
from transformers import Trainer, TrainingArguments, set_seed
from transformers.utils import logging

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice
from unimc_hf.evaluation.calibration import Calibration
from unimc_hf.training.data_collator import add_distractors
from unimc_hf.training.master_weights import MasterWeightAdamW
from unimc_hf.training.token_batch_sampler import TokenBudgetBatchSampler
from unimc_hf.training.token_lengths import token_lengths
from unimc_hf.training.trainer import UniMCTrainer

EXAMPLES = [
    {"text": f"{a} {b}", "options": ["sports", "business", "music"][: 2 + i % 2], "label": i % 2, "question": "what"}
    for i, (a, b) in enumerate(
        [
            ("team", "game"),
            ("stocks", "fell"),
            ("game", "won"),
            ("stock", "rose"),
            ("team won", "sky"),
            ("business", ""),
        ]
    )
]


def arguments(folder: Path, **kwargs: object) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        **{
            "remove_unused_columns": False,
            "report_to": "none",
            "use_cpu": True,
            "learning_rate": 5e-3,
            "per_device_train_batch_size": 3,
            "max_steps": 6,
            "disable_tqdm": True,
            "logging_steps": 1,
            "save_strategy": "no",
            "seed": 1,
            **kwargs,
        },
    )


def make_model(attn_implementation: str = "sdpa") -> UniMCForMultipleChoice:
    set_seed(0)
    config = tiny_config("bert", attn_implementation=attn_implementation)
    config.text_config.hidden_dropout_prob = config.text_config.attention_probs_dropout_prob = 0.0
    return UniMCForMultipleChoice(config)


# -- the collator ----------------------------------------------------------------------------------------------------


def test_the_exact_batch() -> None:
    tokenizer = tiny_tokenizer()
    batch = DataCollatorForUniMC(tokenizer, mlm=False)(
        [
            {"text": "sky", "options": ["red", "blue"], "label": 1},
            {"text": "dog", "text_pair": "cat", "question": "what", "options": ["yes"], "label": 0},
        ]
    )
    rows = [tokenizer.decode(row) for row in batch["input_ids"]]
    assert rows == ["[CLS] [MASK] red [MASK] blue [SEP] sky [SEP] [PAD] [PAD]",
                    "[CLS] [MASK] yes [SEP] what [SEP] dog [SEP] cat [SEP]"]  # fmt: skip
    assert batch["option_ids"].tolist() == [[0, 1, 1, 2, 2, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]]
    assert batch["option_positions"].tolist() == [[1, 3], [1, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert "mlm_target_ids" not in batch


def test_labels_for_several_right_options() -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    examples = [{"text": "sky", "options": ["a", "b", "c"], "label": [1, 0, 1]}, {"options": ["a", "b"], "label": 1}]
    assert collator(examples[:1])["labels"].tolist() == [[1, 0, 1]]
    batch = collator(examples)
    assert batch["labels"].tolist() == [-100, 1]
    assert batch["option_targets"].tolist() == [[1, 0, 1], [-100, -100, -100]]
    assert "labels" not in collator([{"text": "sky", "options": ["a", "b"]}])


def test_a_menu_that_the_pipeline_takes_fits_by_default() -> None:
    menu = [f"label {i}" for i in range(200)]
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)([{"text": "the sky", "options": menu, "label": 0}])
    assert batch["option_positions"].shape == (1, 200)


def test_lengths_are_those_of_the_batch() -> None:
    examples = [EXAMPLES[0], {"text": "sky", "options": ["red car", "dog"], "label": 0}, {"options": ["a", "b"]}]
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    lengths = [collator([example])["input_ids"].shape[1] for example in examples]
    assert token_lengths(examples, tiny_tokenizer()) == lengths


def test_masking_stays_in_the_text_and_keeps_its_rates() -> None:
    tokenizer = tiny_tokenizer()
    collator = DataCollatorForUniMC(tokenizer, seed=0)
    plain = DataCollatorForUniMC(tokenizer, mlm=False)
    examples = [{"text": "the sky is blue and the car is red " * 2, "options": ["red car", "dog"], "label": 0}] * 400
    batch, original = collator(examples), plain(examples)["input_ids"]
    chosen = batch["mlm_target_ids"] != -100
    may_be_masked = (batch["token_type_ids"] == 0) & (original != tokenizer.sep_token_id)
    may_be_masked &= (original != tokenizer.cls_token_id) & batch["attention_mask"].bool()
    assert not (chosen & ~may_be_masked).any()
    assert torch.equal(batch["mlm_target_ids"][chosen], original[chosen])
    assert torch.equal(batch["input_ids"][~chosen], original[~chosen])
    # 0, 10, 20 and 30 % of the text with weights .3, .3, .25 and .15: 12.5 % on average
    assert chosen.sum() / may_be_masked.sum() == pytest.approx(0.125, abs=0.015)
    changed = batch["input_ids"][chosen]
    assert (changed == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.05)
    assert (changed == original[chosen]).float().mean() == pytest.approx(0.1, abs=0.04)


def test_a_seed_makes_the_collator_reproducible() -> None:
    def batches(seed: int) -> list[list]:
        collator = DataCollatorForUniMC(tiny_tokenizer(), seed=seed)
        return [collator([{"text": "the sky " * 9, "options": ["a", "b"]}] * 4)["input_ids"].tolist() for _ in range(3)]

    assert batches(1) == batches(1) != batches(2)


def test_distractors_widen_menus_and_never_repeat() -> None:
    pool = ["a", "A", "red", "blue", "green"]
    sizes = Counter()
    rng = random.Random(0)
    for _ in range(200):
        widened = add_distractors({"options": ["b", "a"], "label": 1}, pool, 5, rng)
        assert widened["options"][:2] == ["b", "a"] and widened["label"] == 1
        lowered = [option.lower() for option in widened["options"]]
        assert len(set(lowered)) == len(lowered) <= 5
        sizes[len(lowered)] += 1
    assert len(sizes) >= 3
    several = add_distractors({"options": ["b", "a"], "label": [1, 1]}, pool, 5, random.Random(1))
    assert len(several["label"]) == len(several["options"])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{"text": "sky"}], "no `options`"),
        ([], "`features` must be a list of at least one"),
        (["sky"], "`features` must hold dicts, got str"),
        # Two strings of options would otherwise be a menu of two options for both examples.
        ([{"options": "ab"}, {"options": "cd"}], "`options` must be a list of strings, got str"),
        ([{"options": ["a", "b"], "text": 0}], "`text` must be a string, got int"),
        ([{"options": ["a", "b"], "label": 1.5}], "`label` must be an integer"),
        ([{"options": ["a", "b"], "label": "1"}], "`label` must be an integer"),
        ([{"options": ["a", "b"], "label": [1, float("nan")]}], r"`label` must be in \[0, 1\]"),
        ([{"options": ["a", "b"], "option_probs": [0.5, -1]}], r"`option_probs` must be in \[0, 1\]"),
        ([{"options": ["a", "b"], "option_probs": 0.5}], "`option_probs` must be one number per option"),
        ([{"options": ["a", "b"], "label": 2}], "`label` is 2"),
        ([{"options": ["a", "b"], "label": -1}], "`label` is -1"),
        ([{"options": ["a", "b"], "label": [1]}], "1 entries for 2 options"),
        ([{"options": ["a", "b"], "label": 1}, {"options": ["a", "b"]}], "some have none"),
        ([{"options": ["a", "b", "c"], "label": [1, 0, 1]}, {"options": ["a", "b"], "label": 2}], "`label` is 2"),
        ([{"options": ["a", "b"], "label": [1, 1]}, {"options": ["a", "b"]}], "some have none"),
    ],
)
def test_wrong_examples_raise(examples: list, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(examples)


def test_wrong_collator_arguments_raise() -> None:
    with pytest.raises(ValueError, match="`distractor_probability`"):
        DataCollatorForUniMC(tiny_tokenizer(), distractor_probability=1.5)
    with pytest.raises(ValueError, match="needs `distractor_options`"):
        DataCollatorForUniMC(tiny_tokenizer(), distractor_probability=0.5)


# -- Trainer ---------------------------------------------------------------------------------------------------------


def test_stock_trainer_learns_and_predicts(tmp_path: Path) -> None:
    model, before = make_model(), make_model().state_dict()
    trainer = Trainer(
        model=model,
        args=arguments(tmp_path, max_steps=40),
        train_dataset=EXAMPLES,
        eval_dataset=EXAMPLES,
        data_collator=DataCollatorForUniMC(tiny_tokenizer(), mlm=False),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]
    unchanged = [n for n, p in model.state_dict().items() if torch.equal(p, before[n])]
    assert [name for name in unchanged if "position_ids" not in name and "token_type_ids" not in name] == []
    prediction = trainer.predict(EXAMPLES)
    assert prediction.predictions.shape == (6, 3)  # only the logits, padded where a menu is shorter
    assert prediction.predictions.argmax(-1).tolist() == [example["label"] for example in EXAMPLES]
    trainer.save_model(str(tmp_path / "model"))
    reloaded = UniMCForMultipleChoice.from_pretrained(tmp_path / "model")
    batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(EXAMPLES)
    with torch.no_grad():
        torch.testing.assert_close(reloaded(**batch).logits, model.eval()(**batch).logits)


def trained(folder: Path, max_steps: int, resume: bool = False, dtype: torch.dtype = torch.float32) -> dict:
    trainer = UniMCTrainer(
        model=make_model().to(dtype),
        args=arguments(folder, max_steps=max_steps, save_strategy="steps", save_steps=4, lr_scheduler_type="constant"),
        train_dataset=EXAMPLES * 8,
        data_collator=DataCollatorForUniMC(tiny_tokenizer(), mlm=False),
        lengths=[len(example["text"]) + 9 for example in EXAMPLES * 8],
        tokens_per_batch=100,
    )
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer.model.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    whole = trained(tmp_path / "whole", 8, dtype=dtype)
    trained(tmp_path / "broken", 4, dtype=dtype)
    resumed = trained(tmp_path / "broken", 8, resume=True, dtype=dtype)
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_master_weights_take_over_what_was_loaded_between_steps() -> None:
    parameter = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterWeightAdamW([parameter], lr=1e-4, weight_decay=0.0)
    for value in (1.0, 3.0):  # as the best model at the end of a training, before the next one
        with torch.no_grad():
            parameter[:2] = value
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert parameter.tolist() == [3.0, 3.0, 1.0, 1.0]
    ((_, master),) = optimizer._rounded
    assert master.tolist() == pytest.approx([2.9999, 2.9999, 0.9998, 0.9998], abs=2e-5)


def test_bfloat16_with_an_optimizer_that_would_lose_updates_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.get_logger("transformers"), "propagate", True)
    for dtype, optim in ((torch.bfloat16, "sgd"), (torch.bfloat16, "adamw_torch"), (torch.float32, "sgd")):
        trainer = UniMCTrainer(make_model().to(dtype), arguments(tmp_path, optim=optim), train_dataset=EXAMPLES)
        caplog.clear()
        trainer.create_optimizer()
        told = [record for record in caplog.records if "`optim`" in record.getMessage()]
        assert len(told) == (dtype == torch.bfloat16 and optim == "sgd")


@pytest.mark.parametrize("with_model_init", [False, True])
def test_training_resets_what_was_found_on_the_old_weights(with_model_init: bool, tmp_path: Path) -> None:
    def fresh() -> UniMCForMultipleChoice:
        model = make_model()
        Calibration(1.5, 0.6, -0.3).write_to(model.config)
        model.config.prefer_bfloat16 = True
        return model

    model = {"model_init": fresh} if with_model_init else {"model": fresh()}
    collator = DataCollatorForUniMC(tiny_tokenizer())
    trainer = UniMCTrainer(
        args=arguments(tmp_path, max_steps=1), data_collator=collator, train_dataset=EXAMPLES, **model
    )
    trainer.train()
    config = trainer.model.config
    assert (config.softmax_temperature, config.sigmoid_scale, config.sigmoid_bias) == (1, 1, 0)
    assert config.prefer_bfloat16 is False


def test_master_weights_add_up_what_bfloat16_would_lose() -> None:
    for dtype, optimizer_class in ((torch.bfloat16, MasterWeightAdamW), (torch.float32, torch.optim.AdamW)):
        parameter = torch.nn.Parameter(torch.ones(4, dtype=dtype))
        optimizer = optimizer_class([parameter], lr=1e-4, weight_decay=0.0)
        for _ in range(100):  # each step is 1/40 of the gap between 1 and the next smaller bfloat16
            parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            optimizer.zero_grad()
        assert parameter.detach().float() == pytest.approx(torch.full((4,), 0.99), abs=0.003)


KEPT = """
import psutil, torch
from unimc_hf.training.freed_memory import keep_freed_memory
def left(size):
    before = psutil.Process().memory_info().rss
    tensor = torch.ones(size, dtype=torch.uint8)
    del tensor
    return psutil.Process().memory_info().rss - before
size = 200 * 2**20
returned, kept = left(size), keep_freed_memory() and left(size)
grown = [left(size) for _ in range(20)]
assert returned < size / 10 and kept > size * 0.9 and sum(grown) < 2 * size, (returned, kept, grown)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_freed_memory_is_kept_and_used_again() -> None:
    pytest.importorskip("psutil")
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_training_on_a_cpu_keeps_freed_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("unimc_hf.training.trainer.keep_freed_memory", lambda: calls.append(True))
    collator = DataCollatorForUniMC(tiny_tokenizer())
    model = UniMCForMultipleChoice(tiny_config("bert"))
    trainer = UniMCTrainer(model, arguments(tmp_path, max_steps=1), collator, EXAMPLES)
    assert not calls
    trainer.train()
    assert calls == [True]


def test_only_training_masks_and_widens(tmp_path: Path) -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), distractor_options=["car", "dog"], distractor_probability=1.0)
    trainer = UniMCTrainer(make_model(), arguments(tmp_path), collator, EXAMPLES, EXAMPLES)
    plain = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)(EXAMPLES)
    for loader in (trainer.get_eval_dataloader(), trainer.get_test_dataloader(EXAMPLES)):
        (batch,) = loader
        assert batch.keys() == plain.keys() and all(torch.equal(batch[name], plain[name]) for name in plain)
    assert all("mlm_target_ids" in batch for batch in trainer.get_train_dataloader())


def test_batches_stay_under_the_token_budget() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(5, 120) for _ in range(1000)] + [900]
    sampler = TokenBudgetBatchSampler(lengths, tokens_per_batch=600, seed=0, bucket_size=256)
    batches = list(sampler)
    assert sorted(index for batch in batches for index in batch) == list(range(1001))
    assert len(sampler) == len(batches)
    padded = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert all(size <= 600 for batch, size in zip(batches, padded) if len(batch) > 1)
    assert sum(lengths) / sum(padded) > 0.9
    assert list(sampler) == batches
    sampler.set_epoch(1)
    assert list(sampler) != batches
    with pytest.raises(ValueError, match="tokens_per_batch"):
        TokenBudgetBatchSampler(lengths, 0, seed=0)


def test_label_smoothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        UniMCTrainer(model=make_model(), args=arguments(tmp_path, label_smoothing_factor=0.1))


# -- mixed targets -----------------------------------------------------------------------------------------------------

MIXED = [
    {"text": "team", "options": ["sports", "business"], "label": 0},
    {"text": "stocks fell", "options": ["sports", "business"], "label": [1, 1]},
    {"text": "sky", "options": ["sports", "business"], "label": [0, 0]},
    {"text": "the sun", "options": ["sports", "business"], "label": -100},
    {"text": "game won", "options": ["sports", "business"], "label": -100, "option_probs": [0.75, 0.25]},
    {"text": "stock rose", "options": ["sports", "business"], "option_probs": [0.1, 0.9]},
    {"text": "business", "options": ["sports", "business"], "label": [0, 0.5]},
]


@pytest.mark.parametrize("mlm_loss", ["vocabulary", "yes_no"])
def test_the_loss_of_a_row_does_not_depend_on_its_batch_mates(tmp_path: Path, mlm_loss: str) -> None:
    """All menus have two options, so that O-MLM, a mean over options, is one over examples, too."""
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    model = make_model().eval()
    model.config.option_mlm_loss = mlm_loss
    trainer = UniMCTrainer(model=model, args=arguments(tmp_path), data_collator=collator)
    rng = random.Random(0)
    with torch.no_grad():
        alone = [float(trainer.compute_loss(model, collator([example]))) for example in MIXED]
        assert alone[3] == 0 and min(alone[:3] + alone[4:]) > 0
        for _ in range(30):
            rows = rng.sample(range(len(MIXED)), rng.randint(1, len(MIXED)))
            has_target = [row for row in rows if row != 3]
            expected = sum(alone[row] for row in has_target) / max(1, len(has_target))
            batch = collator([MIXED[row] for row in rows])
            assert float(trainer.compute_loss(model, batch)) == pytest.approx(expected, abs=1e-5), rows
            if "option_probs" not in batch and "labels" in batch:  # any Trainer's loss
                assert float(model(**batch).loss) == pytest.approx(expected, abs=1e-5), rows


def test_the_prediction_loss_is_a_mean_over_examples_whatever_their_menus() -> None:
    collator, model = DataCollatorForUniMC(tiny_tokenizer(), mlm=False), make_model().eval()
    examples = [{**MIXED[1], "options": ["a", "b", "c"], "label": [1, 0, 0]}, MIXED[0], MIXED[2]]
    with torch.no_grad():
        alone = [float(model(**collator([example])).op_loss) for example in examples]
        assert float(model(**collator(examples)).op_loss) == pytest.approx(sum(alone) / 3, abs=1e-5)


def test_pure_batches_keep_their_form_and_two_targets_of_one_row_are_refused() -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    one = collator([MIXED[0], MIXED[3]])
    assert one["labels"].tolist() == [0, -100] and one["labels"].dtype == torch.int64
    several = collator([MIXED[1], MIXED[2]])
    assert several["labels"].tolist() == [[1, 1], [0, 0]] and several["labels"].dtype == torch.float32
    soft = collator([MIXED[5]])
    assert "labels" not in soft and not [b for b in (one, several, soft) if "option_targets" in b]
    mixed = collator([MIXED[0], MIXED[2]])
    model = make_model()
    with pytest.raises(ValueError, match="both name right options"):
        model(**{**mixed, "labels": torch.tensor([0, 1])})
    with pytest.raises(ValueError, match="between 0 and 1"):
        model(**{**mixed, "option_targets": torch.full((2, 2), 2.0)})
    with pytest.raises(ValueError, match="must have shape"):
        model(**{**mixed, "option_targets": torch.zeros(2, 3)})


# -- soft targets ------------------------------------------------------------------------------------------------------


def test_option_probs_are_padded_and_checked() -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    soft = {"text": "sky", "options": ["a", "b"], "label": -100, "option_probs": [0.25, 0.75]}
    batch = collator([soft, {"text": "sky", "options": ["a", "b", "c"], "label": 2}])
    assert batch["option_probs"].tolist() == [[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]
    assert "option_probs" not in collator([EXAMPLES[0]])
    with pytest.raises(ValueError, match="`option_probs` has 1 entries for 2 options"):
        collator([{**soft, "option_probs": [1.0]}])


def test_soft_targets_weigh_as_much_as_labels(tmp_path: Path) -> None:
    """A certain teacher is worth a label: the OP part of the loss is the same, and every example counts once."""
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    model = make_model().eval()
    trainer = UniMCTrainer(model=model, args=arguments(tmp_path), data_collator=collator)
    labelled = [{"text": "team", "options": ["sports", "business"], "label": 1}] * 3
    taught = [{**labelled[0], "label": -100, "option_probs": [0.0, 1.0]}]
    with torch.no_grad():
        outputs = model(**collator(labelled[:1]))
        expected = 0.75 * outputs.loss + 0.25 * outputs.op_loss
        torch.testing.assert_close(trainer.compute_loss(model, collator(labelled + taught)), expected)


def test_a_student_learns_from_a_teacher_alone(tmp_path: Path) -> None:
    taught = [
        {**e, "label": -100, "option_probs": [float(i == e["label"]) for i in range(len(e["options"]))]}
        for e in EXAMPLES
    ]
    trainer = UniMCTrainer(
        model=make_model(),
        args=arguments(tmp_path, max_steps=40),
        train_dataset=taught,
        data_collator=DataCollatorForUniMC(tiny_tokenizer(), mlm=False),
    )
    trainer.train()
    predictions = trainer.predict(EXAMPLES).predictions.argmax(-1).tolist()
    assert predictions == [example["label"] for example in EXAMPLES]
