"""Adapters of peft on our class: LoRA trains, saves, loads and merges; soft prompts keep the option structure."""

import copy
from pathlib import Path

import pytest
import torch
from tiny_models import FAMILIES, ORDER_INVARIANT_FAMILIES, tiny_model, tiny_tokenizer
from transformers import Trainer, TrainingArguments

from unimc_hf import DataCollatorForUniMC, UniMCForMultipleChoice, UniMCZeroShotPipeline

peft = pytest.importorskip("peft", reason="needs `pip install peft`, no dependency of this package")

EXAMPLES = [
    {"text": "the sky is blue", "options": ["red car", "blue"], "label": 1},
    {"text": "dog", "question": "what", "options": ["a", "b", "red dog"], "label": 0},
]


def collate(examples: list[dict], mlm: bool = False) -> dict[str, torch.Tensor]:
    return DataCollatorForUniMC(tiny_tokenizer(), mlm=mlm, seed=0)(examples)


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    return model.eval()(**collate(EXAMPLES)).logits


def lora(family: str) -> "peft.PeftModel":
    # Not the usual start at zero, so that an adapter that is lost would be seen.
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    return peft.get_peft_model(copy.deepcopy(tiny_model(family)), config)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_saves_loads_and_merges(family: str, tmp_path: Path) -> None:
    adapted = lora(family)
    expected = logits(adapted)
    assert (expected - logits(tiny_model(family)))[:, :2].abs().max() > 1e-2
    adapted.save_pretrained(tmp_path)
    reloaded = peft.PeftModel.from_pretrained(copy.deepcopy(tiny_model(family)), tmp_path)
    torch.testing.assert_close(logits(reloaded), expected, atol=0, rtol=0)
    merged = adapted.merge_and_unload()
    assert type(merged) is UniMCForMultipleChoice
    torch.testing.assert_close(logits(merged), expected, atol=2e-5, rtol=1e-5)


def test_a_merged_model_is_an_ordinary_one(tmp_path: Path) -> None:
    merged = lora("bert").merge_and_unload()
    UniMCZeroShotPipeline(merged, tiny_tokenizer()).save_pretrained(tmp_path)
    torch.testing.assert_close(logits(UniMCForMultipleChoice.from_pretrained(tmp_path)), logits(merged))


def test_the_pipeline_takes_an_adapted_model() -> None:
    adapted = lora("bert")
    merged = copy.deepcopy(adapted).merge_and_unload()
    answers = [
        UniMCZeroShotPipeline(model, tiny_tokenizer())("the sky", candidate_labels=["red", "blue"])["scores"]
        for model in (adapted, merged)
    ]
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        peft.LoraConfig(r=4, target_modules="all-linear"),
        peft.PromptTuningConfig(task_type=peft.TaskType.FEATURE_EXTRACTION, num_virtual_tokens=4),
    ],
    ids=["lora", "prompt tuning"],
)
def test_trainer_moves_the_adapter_alone(config: "peft.PeftConfig", tmp_path: Path) -> None:
    base = copy.deepcopy(tiny_model("bert"))
    for module in base.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    adapted = peft.get_peft_model(base, copy.deepcopy(config))
    start = logits(adapted)
    trainer = Trainer(
        model=adapted,
        args=TrainingArguments(
            str(tmp_path / "checkpoints"), max_steps=12, learning_rate=5e-2, remove_unused_columns=False, use_cpu=True,
            report_to="none", disable_tqdm=True, logging_steps=1, save_strategy="no",
        ),
        train_dataset=EXAMPLES * 2,
        eval_dataset=EXAMPLES,
        data_collator=collate,
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert "eval_loss" in trainer.evaluate()
    assert trainer.predict(EXAMPLES).predictions.shape == (2, 3)
    trained = logits(adapted)
    assert not torch.equal(trained, start)
    frozen = adapted.get_base_model() if config.is_prompt_learning else adapted.unload()
    assert all(torch.equal(tensor, before[name]) for name, tensor in frozen.state_dict().items())


# -- soft prompts ------------------------------------------------------------------------------------------------------


def soft_prompts(family: str, config_class: type) -> "peft.PeftModel":
    model = copy.deepcopy(tiny_model(family))
    # peft finds these itself for most families, not for DistilBERT, ALBERT and ELECTRA.
    sizes = dict(token_dim=model.get_input_embeddings().embedding_dim, num_attention_heads=4, num_layers=2)
    config = config_class(task_type=peft.TaskType.FEATURE_EXTRACTION, num_virtual_tokens=4, **sizes)
    torch.manual_seed(0)
    return peft.get_peft_model(model, config)


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_prompts_are_tokens_in_front(family: str, tmp_path: Path) -> None:
    adapted = soft_prompts(family, peft.PromptTuningConfig)
    expected = logits(adapted)
    assert (expected - logits(tiny_model(family)))[:, :2].abs().max() > 1e-3
    batch = collate(EXAMPLES)
    embeddings = adapted.get_base_model().get_input_embeddings()(batch.pop("input_ids"))
    prompts = adapted.get_prompt(2).to(embeddings.dtype)
    batch["attention_mask"] = torch.nn.functional.pad(batch["attention_mask"], (4, 0), value=1)
    with torch.no_grad():
        direct = tiny_model(family)(inputs_embeds=torch.cat([prompts, embeddings], dim=1), **batch).logits
    torch.testing.assert_close(direct, expected)
    adapted.save_pretrained(tmp_path)
    reloaded = peft.PeftModel.from_pretrained(copy.deepcopy(tiny_model(family)), tmp_path)
    torch.testing.assert_close(logits(reloaded), expected, atol=0, rtol=0)


@pytest.mark.parametrize("family", ORDER_INVARIANT_FAMILIES)
def test_soft_prompts_leave_the_order_of_options_free(family: str) -> None:
    adapted = soft_prompts(family, peft.PromptEncoderConfig).eval()
    options, order = ["red car", "blue", "a dog"], [2, 0, 1]
    with torch.no_grad():
        first, second = (
            adapted(**collate([{"text": "the sky is blue", "options": menu}])).logits
            for menu in (options, [options[i] for i in order])
        )
    torch.testing.assert_close(first[:, order], second, atol=1e-5, rtol=1e-5)


def test_soft_prompts_have_no_targets_of_the_mlm_loss() -> None:
    adapted = soft_prompts("bert", peft.PromptTuningConfig).eval()
    batch = collate([{"text": "the sky is blue and the car is red " * 3, "options": ["a", "b"]}] * 4, mlm=True)
    assert (batch["mlm_target_ids"] != -100).any()
    assert torch.isfinite(adapted(**batch).loss)


def test_prefix_tuning_is_refused() -> None:
    adapted = soft_prompts("bert", peft.PrefixTuningConfig)
    with pytest.raises(ValueError, match="`past_key_values` are not supported"):
        logits(adapted)
