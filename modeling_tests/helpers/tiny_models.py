"""Tiny models and tokenizers of every supported family, built on the spot; weights are random but large enough that
positions, segments and attention all move the scores."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from places import SHARED
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ErnieConfig,
    MegatronBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from unimc_hf import UniMCConfig, UniMCForMultipleChoice, UniMCTokenizer

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared (data and goldens) beside the checkout")

WORDS = (
    "yes no the a an of and is are not in on it this that stock stocks fell rose sharply game team won lost music song "
    "play film book great terrible good bad red blue green one two three four five sports business world science "
    "politics health what about text sky sun rain car train road city house tree dog cat mask sep cls pad unk"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = {
    token: i for i, token in enumerate([*SPECIAL, *dict.fromkeys([*"abcdefghijklmnopqrstuvwxyz.,!?'[]:;-", *WORDS])])
}
VOCABULARY.update({f"##{c}": len(VOCABULARY) + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")})

SIZES = dict(
    vocab_size=len(VOCABULARY),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=96,
    pad_token_id=0,
    initializer_range=0.2,
)

TEXT_CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES),
    "albert": AlbertConfig(**SIZES, embedding_size=16, layer_norm_eps=1e-12, classifier_dropout_prob=0.0),
    "megatron-bert": MegatronBertConfig(**SIZES),
    "roberta": RobertaConfig(**{**SIZES, "max_position_embeddings": 98}, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**{**SIZES, "max_position_embeddings": 98}, type_vocab_size=1),
    "electra": ElectraConfig(**SIZES, embedding_size=16),
    "distilbert": DistilBertConfig(
        vocab_size=len(VOCABULARY), dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=96,
        pad_token_id=0, initializer_range=0.2,
    ),
    "ernie": ErnieConfig(**SIZES),
    "modernbert": ModernBertConfig(
        **SIZES, local_attention=8, global_attn_every_n_layers=2, initializer_cutoff_factor=2.0,
        cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
    ),
    "mpnet": MPNetConfig(**{**SIZES, "max_position_embeddings": 98}, relative_attention_num_buckets=32),
    "deberta-v2": DebertaV2Config(
        **SIZES, relative_attention=True, position_buckets=8, share_att_key=True, norm_rel_ebd="layer_norm",
        pos_att_type=["p2c", "c2p"], conv_kernel_size=3, conv_act="gelu", position_biased_input=False,
        type_vocab_size=0,
    ),
}  # fmt: skip
FAMILIES = list(TEXT_CONFIGS)
# Those whose attention is "unimc" by default: not with windows, eager only, or distances by index.
BLOCK_FAMILIES = [family for family in FAMILIES if family not in ("modernbert", "megatron-bert", "mpnet", "deberta-v2")]
ORDER_INVARIANT_FAMILIES = [family for family in FAMILIES if family != "deberta-v2"]


@cache
def tiny_tokenizer() -> UniMCTokenizer:
    """A word-piece tokenizer like BERT's over `VOCABULARY`."""
    backend = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", VOCABULARY["[CLS]"]), ("[SEP]", VOCABULARY["[SEP]"])],
    )
    plain = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=96,
    )
    return UniMCTokenizer.from_plain(plain)


def tiny_config(family: str, **kwargs: object) -> UniMCConfig:
    """A config whose yes and no are words of `VOCABULARY`."""
    text_config = copy.deepcopy(TEXT_CONFIGS[family])
    yes, no = tiny_tokenizer().yes_no_token_ids("english")
    return UniMCConfig(text_config, yes_token_id=yes, no_token_id=no, language="english", **kwargs)


@cache
def tiny_model(family: str, attn_implementation: str | None = None) -> UniMCForMultipleChoice:
    """The model of a family, always with the same weights; treat it as read-only."""
    torch.manual_seed(0)
    config = tiny_config(family)
    if attn_implementation is not None:
        config._attn_implementation = attn_implementation
    model = UniMCForMultipleChoice(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:  # zero after initialisation, and a head that forgot its bias would go unseen
                parameter.normal_(0.0, 0.2)
            elif parameter.dim() > 1:
                parameter.normal_(0.0, 0.3)
    return model
