"""`UniMCTrainer` reads rows as they come: labels in any form, every row of an evaluation in its order, streams."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import tiny_config, tiny_tokenizer
from transformers import TrainingArguments, set_seed

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice
from unimc_hf.training.trainer import UniMCTrainer

OPTIONS = ["sports", "business"]
ONE, SEVERAL, NONE = (
    {"text": text, "options": OPTIONS, "label": label}
    for text, label in (("team", 0), ("stocks fell", [1, 1]), ("the sun", -100))
)


class Stream(torch.utils.data.IterableDataset):
    """A dataset without a length."""

    def __init__(self, examples: list[dict]) -> None:
        self.examples = examples

    def __iter__(self):
        return iter(self.examples)


class SizedStream(Stream):
    """PyTorch lets a stream have a length."""

    def __len__(self) -> int:
        return len(self.examples)


class Rows(torch.utils.data.Dataset):
    """What a map-style dataset promises, and no more: a length, and rows by index."""

    def __init__(self, examples: list[dict]) -> None:
        self.examples = dict(enumerate(examples))

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict:
        return self.examples[index]


def make_trainer(folder: Path, train: object = None, **kwargs: object) -> UniMCTrainer:
    set_seed(0)
    config = tiny_config("bert")
    config.text_config.hidden_dropout_prob = config.text_config.attention_probs_dropout_prob = 0.0
    arguments = TrainingArguments(
        str(folder),
        **{"report_to": "none", "use_cpu": True, "remove_unused_columns": False, "disable_tqdm": True, **kwargs},
    )
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=train is not None)
    return UniMCTrainer(UniMCForMultipleChoice(config), arguments, collator, train)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_an_evaluation_takes_labels_of_every_form_in_any_order(batch_size: int, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, per_device_eval_batch_size=batch_size)
    losses = []
    for rows in ([SEVERAL, ONE, NONE, SEVERAL], [ONE, SEVERAL, SEVERAL, NONE]):
        prediction = trainer.predict(rows)
        losses.append(prediction.metrics["test_loss"])
        assert [row["label"] if row is ONE else -100 for row in rows] == prediction.label_ids.tolist()
        assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(losses[0], abs=1e-5)
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    both = [SEVERAL, SEVERAL]
    for rows in (both, Stream(both), Rows(both), SizedStream(both)):
        assert trainer.predict(rows).label_ids.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("form", [tuple, np.array, torch.tensor])
def test_several_labels_may_be_a_row_of_any_kind(form, tmp_path: Path) -> None:
    rows = [{**SEVERAL, "label": form([1.0, 0.0])}, {**SEVERAL, "label": form([0.0, 1.0])}]
    assert make_trainer(tmp_path).predict(rows).label_ids.tolist() == [[1, 0], [0, 1]]


def test_a_stream_that_mixes_forms_of_labels_is_refused(tmp_path: Path) -> None:
    for rows in ([ONE, SEVERAL], [SEVERAL, ONE]):
        with pytest.raises(ValueError, match="`label` is one number in some batches"):
            make_trainer(tmp_path, per_device_eval_batch_size=1).predict(Stream(rows))


def test_an_evaluation_reads_every_row_in_order_whatever_the_training_does(tmp_path: Path) -> None:
    rows = [{**ONE, "text": "team " * (1 + i * 5 % 7), "label": i % 2, "length": 1 + i * 5 % 7} for i in range(7)]
    expected = make_trainer(tmp_path).predict(rows)
    sampling = {"dataloader_drop_last": True, "train_sampling_strategy": "group_by_length"}
    trainer = make_trainer(tmp_path, per_device_eval_batch_size=4, **sampling)
    for loader in (trainer.get_eval_dataloader(rows), trainer.get_test_dataloader(rows)):
        assert torch.cat([batch["labels"] for batch in loader]).tolist() == [row["label"] for row in rows]
    prediction = trainer.predict(rows)
    assert prediction.label_ids.tolist() == expected.label_ids.tolist() == [row["label"] for row in rows]
    np.testing.assert_allclose(prediction.predictions, expected.predictions, atol=1e-5)
    assert trainer.args.dataloader_drop_last and trainer.args.train_sampling_strategy == "group_by_length"


def test_a_stream_is_read_again_with_other_masks_and_whole_steps(tmp_path: Path) -> None:
    rows = [{**ONE, "text": text} for text in ("team game won", "stocks fell sky", "the sun rose")]
    settings = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 3}
    more = {"learning_rate": 0.0, "logging_steps": 1, "save_strategy": "no"}
    trainer = make_trainer(tmp_path, Stream(rows), **settings, **more)
    epochs = []
    trainer.data_collator.set_epoch = epochs.append
    trainer.train()
    trainer.data_collator.mlm = False
    assert epochs == [0, 1, 2]
    trainer.train()
    assert epochs == [0, 1, 2, 0, 1, 2]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    # The third batch is half a step, which is not taken: every step is of the first two.
    assert len(losses) == 3 and losses == pytest.approx(losses[:1] * 3, abs=1e-4)
