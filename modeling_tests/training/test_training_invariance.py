"""A training step depends on no attention path and on no order of options or examples; labels stay right."""

import copy

import pytest
import torch
from generated_examples import (
    ORDER_INVARIANT_PATHS,
    PATHS,
    blocks_of,
    labels,
    menus,
    model_on,
    per_family,
    per_path,
    shuffled,
    texts,
    training_examples,
)
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer

from unimc_hf import DataCollatorForUniMC
from unimc_hf.evaluation.classification_examples import classification_examples
from unimc_hf.evaluation.metrics import option_metrics


def training_step(family: str, attention: str, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, list]:
    """The loss and the gradient of every parameter, without dropout."""
    model = model_on(family, attention)
    with blocks_of(attention):
        loss = model(**batch).loss
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return loss.detach(), [torch.zeros(()) if gradient is None else gradient for gradient in gradients]


def assert_same_step(got: tuple[torch.Tensor, list], expected: tuple[torch.Tensor, list]) -> None:
    torch.testing.assert_close(got[0], expected[0], atol=2e-5, rtol=1e-5)
    # Relative to the largest of all: keys have a bias whose gradient is rounding, because softmax ignores it.
    largest = max(float(gradient.abs().max()) for gradient in expected[1])
    for gradient, wanted in zip(got[1], expected[1], strict=True):
        torch.testing.assert_close(gradient, wanted, atol=2e-5 * largest + 1e-7, rtol=1e-4)


@pytest.mark.parametrize(("family", "attention"), [path for path in PATHS if path[1] != "eager"])
@per_path
@given(examples=training_examples(), data=st.data())
def test_a_step_is_the_same_on_every_attention_path(
    family: str, attention: str, examples: list[dict], data: st.DataObject
) -> None:
    tokenizer, mlm = tiny_tokenizer(), data.draw(st.booleans())
    batch = DataCollatorForUniMC(tokenizer, mlm=mlm, seed=data.draw(st.integers(0, 99)))(examples)
    block = data.draw(st.sampled_from([1, 6, 40]))  # options one by one, some at once, or all together
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("unimc_hf.option_attention.BLOCK", block)
        assert_same_step(training_step(family, attention, batch), training_step(family, "eager", batch))


@pytest.mark.parametrize(("family", "attention"), ORDER_INVARIANT_PATHS)
@per_path
@given(examples=training_examples(), data=st.data())
def test_shuffled_options_and_examples_give_the_same_step(
    family: str, attention: str, examples: list[dict], data: st.DataObject
) -> None:
    collator = DataCollatorForUniMC(tiny_tokenizer(), mlm=False)
    others = [data.draw(shuffled(example)) for example in data.draw(st.permutations(examples))]
    assert_same_step(
        training_step(family, attention, collator(others)), training_step(family, attention, collator(examples))
    )


@per_family
@given(examples=training_examples(), pool=st.lists(labels, min_size=1, max_size=8), data=st.data())
def test_a_batch_with_distractors_labels_the_right_tokens(
    examples: list[dict], pool: list[str], data: st.DataObject
) -> None:
    tokenizer = tiny_tokenizer()
    batch = DataCollatorForUniMC(
        tokenizer, mlm=False, distractor_options=pool, distractor_probability=1.0, seed=data.draw(st.integers(0, 99))
    )(examples)
    for row, example in enumerate(examples):
        label = example["label"]
        expected = label if isinstance(label, list) else [float(i == label) for i in range(len(example["options"]))]
        given_labels = batch["labels"][row]
        if given_labels.dim() == 0:
            given_labels = torch.arange(batch["option_positions"].shape[1]) == given_labels
        assert given_labels.tolist() == expected + [0.0] * (len(given_labels) - len(expected))
        for number, option in enumerate(example["options"], start=1):
            tokens = batch["input_ids"][row][batch["option_ids"][row] == number]
            assert tokens.tolist() == encode_option(option)


def encode_option(option: str) -> list[int]:
    """`[MASK]` and the tokens of an option that stands alone."""
    batch = tiny_tokenizer()("", options=[option])
    return [token for token, number in zip(batch["input_ids"], batch["option_ids"]) if number == 1]


@per_family
@given(examples=training_examples(max_size=4), epoch=st.integers(0, 3), data=st.data())
def test_what_is_masked_depends_on_the_example_alone(examples: list[dict], epoch: int, data: st.DataObject) -> None:
    """Not on the examples beside it, nor on the padding, on either side."""
    seed = data.draw(st.integers(0, 9))

    def collate(some: list[dict], padding_side: str) -> dict[str, torch.Tensor]:
        tokenizer = copy.copy(tiny_tokenizer())
        tokenizer.padding_side = padding_side
        collator = DataCollatorForUniMC(tokenizer, seed=seed)
        collator.set_epoch(epoch)
        return collator(some)

    batch = collate(examples, data.draw(st.sampled_from(["right", "left"])))
    for row, example in enumerate(examples):
        alone, is_token = collate([example], "right"), batch["attention_mask"][row].bool()
        for name in ("input_ids", "mlm_target_ids"):
            assert torch.equal(batch[name][row][is_token], alone[name][0]), name


@given(names=menus, rows=st.lists(st.tuples(texts, st.integers(0, 99)), min_size=1, max_size=6), data=st.data())
def test_a_label_is_the_same_option_in_any_order_of_the_names(
    names: list[str], rows: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Integers of a data set, through its names in any order, to examples, and to the figures of an evaluation."""
    order = data.draw(st.permutations(range(len(names))))
    plain = [{"text": text, "label": number % len(names)} for text, number in rows]
    renumbered = [{**row, "label": order.index(row["label"])} for row in plain]
    examples = classification_examples(plain, names)
    others = classification_examples(renumbered, [names[i] for i in order])
    for row, example, other in zip(plain, examples, others, strict=True):
        assert example["options"][example["label"]] == other["options"][other["label"]] == names[row["label"]]
    probability = dict(zip(names, data.draw(st.permutations([2.0**-i for i in range(len(names))]))))
    figures, same = (
        option_metrics(some, [[probability[option] for option in example["options"]] for example in some])
        for some in (examples, others)
    )
    assert figures == pytest.approx(same)
