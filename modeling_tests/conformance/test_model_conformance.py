"""transformers' `ModelTesterMixin` and `ConfigTester` on `UniMCForMultipleChoice` and `UniMCConfig`, per family."""

from __future__ import annotations

import inspect
import json
import tempfile
import unittest
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny_models import TEXT_CONFIGS, tiny_config, tiny_tokenizer
from transformers.testing_utils import torch_device

from unimc_hf import UniMCConfig, UniMCForMultipleChoice

REASON = "needs transformers' own tests: run modeling_tests/conformance/run.py"
ModelTesterMixin = pytest.importorskip("tests.test_modeling_common", reason=REASON).ModelTesterMixin
ConfigTester = pytest.importorskip("tests.test_configuration_common", reason=REASON).ConfigTester

# Some tests look a class up by its name in the tables of transformers' own models, and pass without a check otherwise.
as_base_model = patch.dict("tests.test_modeling_common.MODEL_MAPPING_NAMES", {"unimc": "UniMCForMultipleChoice"})


class UniMCModelTester:
    """Makes the tiny config of a family, and a batch of the tokenizer with menus and texts of several lengths."""

    is_training = True
    batch_size = 8  # the mixin fills up smaller batches with random integers, which are no option structure

    def __init__(self, family: str) -> None:
        self.family = family
        config = TEXT_CONFIGS[family]
        self.num_hidden_layers = config.num_hidden_layers
        self.num_attention_heads = config.num_attention_heads
        self.hidden_size = config.hidden_size
        self.seq_length = self._encode()["input_ids"].shape[1]

    def get_config(self) -> UniMCConfig:
        config = tiny_config(self.family)
        # The resizing test leaves four tokens, and yes and no must be among them.
        config.yes_token_id, config.no_token_id = 2, 3
        return config

    def prepare_config_and_inputs_for_common(self) -> tuple[UniMCConfig, dict[str, torch.Tensor]]:
        return self.get_config(), {name: tensor.to(torch_device) for name, tensor in self._encode().items()}

    def _encode(self) -> dict[str, torch.Tensor]:
        texts = ["stocks fell sharply", "the team won the game", "a good song", "it rose"]
        menus = [["business", "sports news", "music"], ["sport", "world"], ["a", "play", "film"], ["yes", "no"]]
        return tiny_tokenizer()(texts * 2, options=menus * 2, padding=True, return_tensors="pt").data


class ModelConformance(ModelTesterMixin):
    """The mixin for one family; `not_applicable.py` says what it leaves out."""

    family: str
    all_model_classes = (UniMCForMultipleChoice,)
    additional_model_inputs = ["token_type_ids", "option_ids", "option_positions"]
    test_resize_position_embeddings = True
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = UniMCModelTester(self.family)
        self.config_tester = ConfigTester(
            self,
            config_class=UniMCConfig,
            common_properties=["hidden_size", "num_attention_heads", "num_hidden_layers"],
            text_config=json.loads(self.model_tester.get_config().to_json_string())["text_config"],
        )

    def _prepare_for_class(self, inputs_dict: dict, model_class: type, return_labels: bool = False) -> dict[str, Any]:
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=return_labels)
        if return_labels:
            inputs["labels"] = torch.ones(self.model_tester.batch_size, dtype=torch.long, device=torch_device)
        return inputs

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    # -- tests that would pass on UniMC without checking anything ----------------------------------------------

    def test_can_init_all_missing_weights(self) -> None:
        # The mixin skips models whose source says no year, or one before 2023.
        get_file = inspect.getfile
        with tempfile.NamedTemporaryFile("w", suffix=".py") as source:
            print("# Copyright 2024", file=source, flush=True)
            with patch("inspect.getfile", lambda thing: source.name if thing is UniMCConfig else get_file(thing)):
                super().test_can_init_all_missing_weights()

    @as_base_model
    def test_inputs_embeds_matches_input_ids(self) -> None:
        super().test_inputs_embeds_matches_input_ids()

    @as_base_model
    def test_model_forward_default_config_values(self) -> None:
        super().test_model_forward_default_config_values()

    def test_sdpa_can_dispatch_non_composite_models(self) -> None:
        self._is_composite = False  # its config is, but it has one tower
        super().test_sdpa_can_dispatch_non_composite_models()

    def test_feed_forward_chunking(self) -> None:
        # The mixin sets the size at the top of the config, where only models without `text_config` have it.
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = UniMCForMultipleChoice(config).to(torch_device).eval()
        config.text_config.chunk_size_feed_forward = 1
        chunked = UniMCForMultipleChoice(config).to(torch_device).eval()
        chunked.load_state_dict(model.state_dict())
        torch.testing.assert_close(chunked(**inputs).logits, model(**inputs).logits, rtol=1e-3, atol=1e-3)

    def test_base_model_prefix_loads_base_weights(self) -> None:
        # The mixin makes the base model from the whole config; ours is made from `text_config`.
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        model = UniMCForMultipleChoice(config)
        with tempfile.TemporaryDirectory() as folder:
            model.get_backbone().save_pretrained(folder)
            loaded, info = UniMCForMultipleChoice.from_pretrained(
                folder, yes_token_id=config.yes_token_id, no_token_id=config.no_token_id, output_loading_info=True
            )
        self.assertFalse([key for key in info["missing_keys"] if key.startswith(f"{model.base_model_prefix}.")])
        self.assertFalse(info["unexpected_keys"])
        for name, weight in model.get_backbone().state_dict().items():
            torch.testing.assert_close(loaded.get_backbone().state_dict()[name], weight, msg=name)


class BertConformanceTest(ModelConformance, unittest.TestCase):
    family = "bert"


class RobertaConformanceTest(ModelConformance, unittest.TestCase):
    family = "roberta"


class ModernBertConformanceTest(ModelConformance, unittest.TestCase):
    family = "modernbert"


class AlbertConformanceTest(ModelConformance, unittest.TestCase):
    family = "albert"


class DistilBertConformanceTest(ModelConformance, unittest.TestCase):
    family = "distilbert"


class ElectraConformanceTest(ModelConformance, unittest.TestCase):
    family = "electra"


class MegatronBertConformanceTest(ModelConformance, unittest.TestCase):
    family = "megatron-bert"


class XLMRobertaConformanceTest(ModelConformance, unittest.TestCase):
    family = "xlm-roberta"


class ErnieConformanceTest(ModelConformance, unittest.TestCase):
    family = "ernie"


class MPNetConformanceTest(ModelConformance, unittest.TestCase):
    family = "mpnet"


class DebertaV2ConformanceTest(ModelConformance, unittest.TestCase):
    family = "deberta-v2"
