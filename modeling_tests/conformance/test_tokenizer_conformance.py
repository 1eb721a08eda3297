"""transformers' `TokenizerTesterMixin` and `TokenizersBackendTesterMixin` on `UniMCTokenizer`, without the hub."""

from __future__ import annotations

import shutil
import tempfile
import unittest

import pytest
from tiny_models import VOCABULARY, tiny_tokenizer

from unimc_hf import UniMCTokenizer

REASON = "needs transformers' own tests: run modeling_tests/conformance/run.py"
common = pytest.importorskip("tests.test_tokenization_common", reason=REASON)


class LocalFolder:
    """Gives a mixin the folder of a saved `UniMCTokenizer` where it expects the name of a repository."""

    tokenizer_class = rust_tokenizer_class = UniMCTokenizer
    from_pretrained_id: str | list[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp()
        tiny_tokenizer().save_pretrained(cls.folder)
        cls.from_pretrained_id = cls.folder
        super().setUpClass()

    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        shutil.rmtree(cls.folder)


class UniMCTokenizerConformanceTest(LocalFolder, common.TokenizerTesterMixin, unittest.TestCase):
    integration_test_input_string = "Stocks fell, [MASK] the\nCat rose."
    integration_expected_tokens = ["stocks", "fell", ",", "[MASK]", "the", "cat", "rose", "."]
    integration_expected_token_ids = [VOCABULARY[token] for token in integration_expected_tokens]
    integration_expected_decoded_text = "stocks fell, [MASK] the cat rose."


class UniMCTokenizerBackendConformanceTest(LocalFolder, common.TokenizersBackendTesterMixin, unittest.TestCase):
    pass
