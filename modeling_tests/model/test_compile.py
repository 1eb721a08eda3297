"""`torch.compile` of the model: the same scores, and few graphs whatever the sizes of batches, texts and menus."""

import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from torch._dynamo.testing import CompileCounter

MENUS = [["red", "blue"], ["red car", "dog", "sky"], ["sports", "business", "music", "a cat", "the game"]]
TEXTS = ["the sky is blue", "dog", "the team won the game and the car is red", "blue blue blue"]


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_few_graphs_and_the_same_scores(family: str) -> None:
    torch._dynamo.reset()
    model, counter = tiny_model(family).eval(), CompileCounter()
    compiled = torch.compile(model, backend=counter, dynamic=True)
    for count in (2, 3, 4):
        for menu in MENUS:
            batch = tiny_tokenizer()(TEXTS[:count], options=menu, padding=True, return_tensors="pt")
            with torch.no_grad():
                assert torch.allclose(compiled(**batch).logits, model(**batch).logits, atol=1e-5)
    # Nine shapes; one graph for all, and at most one more where a size was taken for a constant at first.
    assert counter.frame_count <= 2
