"""Encoders of BERT's layers compute the last layer at the options only, and nothing else changes by it."""

import copy

import pytest
import torch
from generated_examples import blocks_of, encode
from tiny_models import tiny_config, tiny_model

from unimc_hf import UniMCForMultipleChoice
from unimc_hf.option_encoder import BERT_LAYERS, _runs_in_stages

EXAMPLES = [
    {"text": "the team won", "text_pair": "", "question": "what", "options": ["sports", "the sky is blue", "cat"]},
    {"text": "", "text_pair": "the dog", "question": "", "options": ["red", "music"]},
]


def model_and_batch(family: str, attention: str) -> tuple[UniMCForMultipleChoice, dict[str, torch.Tensor]]:
    model = tiny_model(family, "unimc" if attention == "blocks" else attention)
    return copy.deepcopy(model), dict(encode(EXAMPLES))


@pytest.mark.parametrize("attention", ["unimc", "blocks", "sdpa"])
@pytest.mark.parametrize("family", BERT_LAYERS)
def test_scores_and_gradients_are_those_of_the_whole_layer(family: str, attention: str) -> None:
    model, batch = model_and_batch(family, attention)
    assert _runs_in_stages(model.get_backbone())
    results = []
    for whole in (True, False):  # what recorded states leaves no trace
        with blocks_of(attention):
            outputs = model(**batch, labels=torch.tensor([2, 0]), output_hidden_states=whole)
        assert (outputs.hidden_states is None) != whole
        model.zero_grad()
        outputs.loss.backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((outputs.logits, outputs.loss, gradients))
    (expected, expected_loss, expected_gradients), (logits, loss, gradients) = results
    assert _runs_in_stages(model.get_backbone())
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, expected_loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-5, rtol=1e-4)


def test_fewer_rows_go_through_the_last_layer() -> None:
    model, batch = model_and_batch("bert", "unimc")
    rows = []
    for layer in model.get_backbone().encoder.layer:
        layer.output.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[1]))
    with torch.no_grad():
        model(**batch)
    assert rows == [batch["input_ids"].shape[1]] * (len(rows) - 1) + [3]


@pytest.mark.parametrize("name", ["encoder", "encoder.layer.0", "encoder.layer.1.attention.self"])
def test_a_hook_on_a_whole_part_is_called(name: str) -> None:
    model, batch = model_and_batch("bert", "unimc")
    calls = []
    model.get_backbone().get_submodule(name).register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(**batch)
    assert len(calls) == 1


def test_who_needs_every_token_gets_every_token() -> None:
    model, batch = model_and_batch("bert", "unimc")
    targets = torch.full_like(batch["input_ids"], -100)
    targets[0, -3] = 7
    assert model(**batch, mlm_target_ids=targets).mlm_loss > 0
    model.get_backbone().config.output_hidden_states = True
    assert len(model(**batch).hidden_states) == model.config.num_hidden_layers + 1
    eager = UniMCForMultipleChoice(tiny_config("bert", attn_implementation="eager"))
    assert len(eager(**batch, output_attentions=True).attentions) == eager.config.num_hidden_layers
    checkpointed, _ = model_and_batch("bert", "unimc")
    checkpointed.gradient_checkpointing_enable()
    assert not _runs_in_stages(checkpointed.get_backbone())
