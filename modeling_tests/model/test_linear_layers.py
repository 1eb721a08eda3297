"""Linear layers by oneDNN: the same scores for every family, and PyTorch's own wherever the operator would not do."""

import copy

import pytest
import torch
from generated_examples import encode
from tiny_models import FAMILIES, tiny_model
from torch import nn
from torch.nn import functional as F

from unimc_hf.deployment import linear_layers
from unimc_hf.deployment.linear_layers import ONEDNN_LINEAR, OneDnnLinear, onednn_is_faster

pytestmark = pytest.mark.skipif(
    ONEDNN_LINEAR is None or not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN"
)
EXAMPLES = [
    {"text": "the team won", "text_pair": "", "question": "what", "options": ["sports", "the sky is blue", "cat"]},
    {"text": "", "text_pair": "the dog", "question": "", "options": ["red", "music"]},
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every call of oneDNN, on a processor for which it was chosen."""
    made: list[int] = []

    def counted(states: torch.Tensor, *args: object) -> torch.Tensor:
        made.append(1)
        return ONEDNN_LINEAR(states, *args)

    monkeypatch.setattr(linear_layers, "ONEDNN_LINEAR", counted)
    monkeypatch.setattr(linear_layers, "onednn_is_faster", lambda: True)
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scores_are_those_of_plain_linear_layers(
    family: str, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = tiny_model(family), encode(EXAMPLES)
    with torch.inference_mode():
        logits = model(**batch).logits
        assert calls
        monkeypatch.setattr(linear_layers, "onednn_is_faster", lambda: False)
        count = len(calls)
        torch.testing.assert_close(logits, model(**batch).logits, atol=1e-5, rtol=1e-5)
    assert len(calls) == count


def test_training_autocast_and_other_precisions_are_left_alone(calls: list[int]) -> None:
    model, batch = copy.deepcopy(tiny_model("bert")), encode(EXAMPLES)
    model(**batch, labels=torch.tensor([2, 0])).loss.backward()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model(**batch)
    with torch.no_grad():
        torch.export.export(model, (), kwargs=dict(batch), strict=False)
        model.to(torch.bfloat16)(**batch)
    assert not calls


class Scaled(torch.Tensor):
    """A weight that is more than its numbers, as quantised ones are."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        plain = [2 * arg.as_subclass(torch.Tensor) if isinstance(arg, cls) else arg for arg in args]
        return func(*plain, **(kwargs or {}))


def test_weights_of_a_class_of_their_own_and_empty_batches_take_their_own_way(calls: list[int]) -> None:
    states, weight = torch.randn(3, 4), torch.randn(5, 4)
    with torch.no_grad(), OneDnnLinear():
        scaled = F.linear(states, weight.as_subclass(Scaled), None)
        empty = nn.Linear(4, 5)(states[:0])
        assert not calls
        strided = F.linear(states.repeat(1, 2)[:, ::2], weight.t().contiguous().t())
    assert len(calls) == 1
    assert empty.shape == (0, 5)
    torch.testing.assert_close(scaled, 2 * states @ weight.t())
    torch.testing.assert_close(strided, states.repeat(1, 2)[:, ::2] @ weight.t(), atol=1e-5, rtol=1e-5)


def test_only_amds_processors_with_avx512_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    for name, avx512, expected in (
        ("AMD EPYC", True, True),
        ("AMD Ryzen 7 5800X", False, False),
        ("Intel Xeon", True, False),
    ):
        facts = {"cpu_name": name, "avx512_f": avx512}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda facts=facts: facts, raising=False)
        assert onednn_is_faster.__wrapped__() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not onednn_is_faster.__wrapped__()
