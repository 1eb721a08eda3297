"""The rows-only head against the full one, and the three losses against slow formulas written here."""

import math

import pytest
import torch
from tiny_models import FAMILIES, tiny_config, tiny_model, tiny_tokenizer

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice

EXAMPLES = [
    {"text": "stocks fell sharply", "options": ["sports", "business", "music"], "label": 1},
    {"text": "the team won the game", "question": "what about", "options": ["sports", "science"], "label": 0},
]


def make_batch(mlm: bool = False) -> dict[str, torch.Tensor]:
    """The examples as a batch; with `mlm`, one that has masked tokens, which short texts do not always get."""
    for seed in range(20):
        batch = DataCollatorForUniMC(tiny_tokenizer(), mlm=mlm, seed=seed)(EXAMPLES)
        if not mlm or (batch["mlm_target_ids"] != -100).sum() > 1:
            return batch
    raise AssertionError("no seed masks a token")


def full_logits(model: UniMCForMultipleChoice, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Vocabulary logits at every position, (batch_size, sequence_length, vocab_size), by the family's own modules."""
    hidden = model(**{k: v for k, v in batch.items() if "labels" not in k}, output_hidden_states=True)
    last = hidden.hidden_states[-1]
    if hasattr(model, "cls"):
        return model.cls(last)
    if hasattr(model, "predictions"):
        return model.predictions(last)
    if hasattr(model, "lm_head"):
        return model.lm_head(last)
    if hasattr(model, "generator_lm_head"):
        return model.generator_lm_head(model.generator_predictions(last))
    if hasattr(model, "vocab_projector"):
        return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(last))))
    return model.decoder(model.head(last))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_rows_of_the_head_equal_the_full_head(family: str) -> None:
    model, batch = tiny_model(family), make_batch()
    with torch.no_grad():
        output = model(**batch)
        full = full_logits(model, batch)
    for row, example in enumerate(EXAMPLES):
        for k, position in enumerate(batch["option_positions"][row, : len(example["options"])]):
            expected = full[row, position, [model.config.yes_token_id, model.config.no_token_id]]
            torch.testing.assert_close(output.yes_no_logits[row, k], expected, atol=1e-5, rtol=1e-5)
            assert output.logits[row, k] == output.yes_no_logits[row, k, 0]
    assert output.logits[1, 2] == torch.finfo(torch.float32).min  # the second example has two options


def cross_entropy(logits: list[float], target: int) -> float:
    highest = max(logits)
    return highest + math.log(sum(math.exp(x - highest) for x in logits)) - logits[target]


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_equal_the_slow_formula(family: str) -> None:
    model, batch = tiny_model(family), make_batch(mlm=True)
    with torch.no_grad():
        output = model(**batch)
        full = full_logits(model, batch)
    yes, no = model.config.yes_token_id, model.config.no_token_id

    option_losses, labelled_losses = [], []
    for row, example in enumerate(EXAMPLES):
        positions = batch["option_positions"][row, : len(example["options"])].tolist()
        option_losses.append(cross_entropy([float(full[row, p, yes]) for p in positions], example["label"]))
        for k, p in enumerate(positions):  # O-MLM
            labelled_losses.append(cross_entropy(full[row, p].tolist(), yes if k == example["label"] else no))
        for p, target in enumerate(batch["mlm_target_ids"][row].tolist()):  # MLM
            if target != -100:
                labelled_losses.append(cross_entropy(full[row, p].tolist(), target))
    op_loss = sum(option_losses) / len(option_losses)
    mlm_loss = sum(labelled_losses) / len(labelled_losses)
    assert output.op_loss.item() == pytest.approx(op_loss, rel=1e-4)
    assert output.mlm_loss.item() == pytest.approx(mlm_loss, rel=1e-4)
    assert output.loss.item() == pytest.approx(op_loss + mlm_loss, rel=1e-4)


def test_yes_no_variant_normalises_over_the_two_words() -> None:
    torch.manual_seed(0)
    model = UniMCForMultipleChoice(tiny_config("bert", option_mlm_loss="yes_no")).eval()
    with torch.no_grad():
        output = model(**make_batch())
    losses = [
        cross_entropy(output.yes_no_logits[row, k].tolist(), 0 if k == example["label"] else 1)
        for row, example in enumerate(EXAMPLES)
        for k in range(len(example["options"]))
    ]
    assert output.mlm_loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_several_right_options() -> None:
    model, batch = tiny_model("bert"), make_batch()
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.25, 0.0]])
    with torch.no_grad():
        output = model(**{**batch, "labels": labels})
        full = full_logits(model, batch)
    yes, no = model.config.yes_token_id, model.config.no_token_id
    rows, vocabulary = [], []
    for row, size in ((0, 3), (1, 2)):
        binary = []
        for k in range(size):
            y, position = float(labels[row, k]), batch["option_positions"][row, k]
            p = 1 / (1 + math.exp(float(full[row, position, no] - full[row, position, yes])))
            binary.append(-y * math.log(p) - (1 - y) * math.log(1 - p))
            at_mask = full[row, position].tolist()
            vocabulary.append(y * cross_entropy(at_mask, yes) + (1 - y) * cross_entropy(at_mask, no))
        rows.append(sum(binary) / size)
    assert output.op_loss.item() == pytest.approx(sum(rows) / 2, rel=1e-4)
    assert output.mlm_loss.item() == pytest.approx(sum(vocabulary) / 5, rel=1e-4)


def test_unlabelled_examples_do_not_count() -> None:
    model, batch = tiny_model("bert"), make_batch()
    with torch.no_grad():
        both = model(**{**batch, "labels": torch.tensor([1, -100])})
        first = model(**{name: tensor[:1] for name, tensor in batch.items()})
        none = model(**{**batch, "labels": torch.tensor([-100, -100])})
    torch.testing.assert_close(both.loss, first.loss, atol=1e-5, rtol=1e-5)
    assert none.loss == 0  # nothing is labelled, and that is no NaN


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns(family: str) -> None:
    torch.manual_seed(0)
    model = UniMCForMultipleChoice(tiny_config(family)).train()
    model(**make_batch(mlm=True)).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    # ERNIE has an embedding for tasks that nothing uses unless `config.use_task_id`.
    assert [name for name in without if "task_type" not in name] == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([3, 0]), r"labels\[0\]` is 3, but example 0 has 3 options"),
        (torch.tensor([0, 2]), r"labels\[1\]` is 2, but example 1 has 2 options"),
        (torch.tensor([-1, 0]), r"labels\[0\]` is -1"),
        (torch.tensor([0.0, 1.0]), "must be integers"),
        (torch.tensor([[1.0, float("nan"), 0.0], [0.0, 1.0, 0.0]]), "between 0 and 1"),
        (torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0]]), "between 0 and 1"),
        (torch.tensor([0]), "must have shape"),
    ],
)
def test_wrong_labels_raise(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_model("bert")(**{**make_batch(), "labels": labels})


def test_unknown_yes_and_no_raise() -> None:
    config = tiny_config("bert")
    config.yes_token_id = config.no_token_id = None
    with pytest.raises(ValueError, match="yes_token_id"):
        UniMCForMultipleChoice(config)(**make_batch())


def test_deberta_equals_the_stock_model_where_the_structure_is_plain() -> None:
    """One option that everything sees is an ordinary sentence: then the stock class must give the same logits."""
    from transformers import DebertaV2ForMaskedLM

    model = tiny_model("deberta-v2")
    stock = DebertaV2ForMaskedLM(model.config.text_config).eval()
    stock.load_state_dict(model.state_dict())
    batch = tiny_tokenizer()(
        ["stocks fell", "the sky"], options=["business"], padding="max_length", max_length=20, return_tensors="pt"
    )
    with torch.no_grad():
        expected = stock(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        output = model(**batch)
    at_mask = expected[torch.arange(2), batch["option_positions"][:, 0]]
    words = [model.config.yes_token_id, model.config.no_token_id]
    torch.testing.assert_close(output.yes_no_logits[:, 0], at_mask[:, words], atol=1e-5, rtol=1e-5)
