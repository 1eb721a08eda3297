"""Zero-shot classifiers of one backbone size with random weights, each in a process of its own.

    python examples/benchmark/contenders.py "unimc bfloat16" minilm cpu

answers JSON lines on standard input, `{"texts": [...], "labels": [...]}`, by lines with the seconds of each call, the
tokens it computed and its peak memory. `speed.py` starts and feeds these processes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline

from unimc_hf import DEFAULT_MODEL, UniMCConfig, UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline

BATCH_SIZE = 8  # measured to be as good as 16 or 32 on a CPU
BATCH_SIZE_ON_ACCELERATOR = 128
SIZES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
PRECISIONS = ("float32", "bfloat16")
Contender = tuple[Any, Callable[[list[str], list[str]], Any]]  # the model, and what classifies


def bert_config(size: str, **kwargs: Any) -> BertConfig:
    # Room for contenders whose labels need positions of their own.
    return BertConfig(**SIZES[size], vocab_size=30522, max_position_embeddings=8192, **kwargs)


def unimc(size: str, dtype: torch.dtype, device: str) -> Contender:
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    yes, no = tokenizer.yes_no_token_ids("english")
    model = UniMCForMultipleChoice(UniMCConfig(bert_config(size), yes_token_id=yes, no_token_id=no)).to(dtype)
    classify = UniMCZeroShotPipeline(model, tokenizer, device=device)
    return model, lambda texts, labels: classify(texts, candidate_labels=labels)


def reference_loop(size: str, dtype: torch.dtype, device: str) -> Contender:
    """As the original code predicts: texts encoded one by one, padded, a table of L x L, the whole vocabulary."""
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    yes, no = tokenizer.yes_no_token_ids("english")
    config = UniMCConfig(bert_config(size), yes_token_id=yes, no_token_id=no, attn_implementation="eager")
    model = UniMCForMultipleChoice(config).eval().to(device, dtype)
    head = model.get_masked_lm_head()

    @torch.no_grad()
    def classify(texts: list[str], labels: list[str]) -> list[list[float]]:
        answers = []
        for start in range(0, len(texts), BATCH_SIZE):
            rows = [tokenizer(text, options=labels, max_length=None) for text in texts[start : start + BATCH_SIZE]]
            batch = tokenizer.pad({key: [row[key] for row in rows] for key in rows[0]}, return_tensors="pt").to(device)
            hidden = model(**batch, output_hidden_states=True).hidden_states[-1]
            vocabulary_logits = head.decode(head.transform(hidden))
            at_options = batch["option_positions"].unsqueeze(-1).expand(-1, -1, vocabulary_logits.shape[-1])
            answers += vocabulary_logits.gather(1, at_options)[..., yes].softmax(-1).tolist()
        return answers

    return model, classify


def zero_shot_pipeline(size: str, dtype: torch.dtype, device: str) -> Contender:
    labels = {"contradiction": 0, "neutral": 1, "entailment": 2}
    config = bert_config(size, num_labels=3, label2id=labels, id2label={i: label for label, i in labels.items()})
    model = BertForSequenceClassification(config).eval().to(dtype)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(DEFAULT_MODEL)
    classify = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device=device)
    return model, lambda texts, labels: classify(texts, candidate_labels=labels, batch_size=batch_size(device))


def gliclass(size: str, dtype: torch.dtype, device: str) -> Contender:
    from gliclass import GLiClassModel, GLiClassModelConfig, ZeroShotClassificationPipeline

    tokenizer = PreTrainedTokenizerFast.from_pretrained(DEFAULT_MODEL, model_max_length=8192)
    tokenizer.add_tokens(["<<LABEL>>", "<<SEP>>"])
    encoder = bert_config(size)
    encoder.vocab_size = len(tokenizer)
    config = GLiClassModelConfig(
        encoder_config=encoder, encoder_model="none", class_token_index=tokenizer.vocab_size, vocab_size=len(tokenizer)
    )
    config.class_token_index, config.text_token_index = tokenizer.convert_tokens_to_ids(["<<LABEL>>", "<<SEP>>"])
    model = GLiClassModel(config).eval().to(dtype)
    classify = ZeroShotClassificationPipeline(
        model, tokenizer, max_classes=10_000, max_length=8192, classification_type="single-label", device=device,
        progress_bar=False,
    )  # fmt: skip
    return model, lambda texts, labels: classify(texts, labels, batch_size=batch_size(device))


def batch_size(device: str) -> int:
    """Of the contenders that take one."""
    return BATCH_SIZE if device == "cpu" else BATCH_SIZE_ON_ACCELERATOR


OURS = "unimc"
BUILDERS: dict[str, Callable[[str, torch.dtype, str], Contender]] = {
    OURS: unimc,
    "gliclass": gliclass,
    "transformers zero-shot": zero_shot_pipeline,
    "reference loop": reference_loop,
}
CONTENDERS = [f"{name} {precision}" for precision in PRECISIONS for name in BUILDERS]


class TokenCount:
    """Counts tokens that go into a model, with and without padding."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.padded = self.real = 0
        model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, model: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.padded += kwargs["attention_mask"].numel()
        self.real += int(kwargs["attention_mask"].sum())


def matrix_parameters(model: torch.nn.Module) -> int:
    """Weights of the encoder's linear layers, each of which costs a token one product."""
    return sum(
        p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "encoder" in n and "embedding" not in n
    )


def reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far


def peak_memory() -> int:
    """Bytes of resident memory at most since the last reset."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    name, size, device = sys.argv[1:4]
    torch.manual_seed(0)
    builder, _, precision = name.rpartition(" ")
    model, classify = BUILDERS[builder](size, getattr(torch, precision), device)
    tokens = TokenCount(model)
    print(json.dumps({"ready": name, "matrix_parameters": matrix_parameters(model)}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        tokens.padded = tokens.real = 0
        reset_peak_memory()
        start = time.perf_counter()
        classify(request["texts"], request["labels"])
        answer = {
            "seconds": time.perf_counter() - start,
            "padded_tokens": tokens.padded,
            "tokens": tokens.real,
            "peak_memory": peak_memory(),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
