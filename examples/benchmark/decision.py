"""
Speed of the `decision` pipeline on this machine: UniMC beside the chat model that transformers takes by default.

    python examples/benchmark/decision.py --output examples/benchmark/results/decision.json

Both answer the same requests, with the same tokens: a state of 20 to 120 words and a `choice` of 4 options, one of 14,
a `score` of 5 levels and a `noul`. The chat model has the shape of Qwen2.5-0.5B-Instruct and random weights, so only
speed is compared. In every round each contender answers all requests, one call each; medians over the rounds are
reported. Needs transformers 5.23 and about 2 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from contenders import bert_config
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, pipeline
from workload import make_labels, make_texts

from unimc_hf import DEFAULT_MODEL, UniMCConfig, UniMCTokenizer
from unimc_hf.command_line.table import format_table
from unimc_hf.decision import UniMCForDecision

CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'] ~ '\\n' }}{% endfor %}assistant:"
CHAT_SHAPE = {  # of Qwen2.5-0.5B-Instruct
    "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip


def chat_model(dtype: torch.dtype) -> Any:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(DEFAULT_MODEL, model_max_length=8192)
    tokenizer.chat_template = CHAT_TEMPLATE
    model = Qwen2ForCausalLM._from_config(Qwen2Config(**CHAT_SHAPE), dtype=dtype).eval()
    return pipeline("decision", model=model, tokenizer=tokenizer, device="cpu")


def unimc(size: str, dtype: torch.dtype) -> Any:
    tokenizer = UniMCTokenizer.from_pretrained(DEFAULT_MODEL)
    yes, no = tokenizer.yes_no_token_ids("english")
    model = UniMCForDecision(UniMCConfig(bert_config(size), yes_token_id=yes, no_token_id=no)).to(dtype).eval()
    return pipeline("decision", model=model, tokenizer=tokenizer, device="cpu")


CONTENDERS: dict[str, Callable[[torch.dtype], Any]] = {
    "unimc, MiniLM size": lambda dtype: unimc("minilm", dtype),
    "unimc, BERT base size": lambda dtype: unimc("bert-base", dtype),
    "chat model, 0.5B": chat_model,
}


def make_requests(count: int) -> list[dict[str, Any]]:
    questions = {
        "few": {"type": "choice", "instructions": "What is it about?", "criteria": dict.fromkeys(make_labels(4))},
        "many": {"type": "choice", "instructions": "What is it about?", "criteria": dict.fromkeys(make_labels(14))},
        "level": {"type": "score", "instructions": "How urgent is it?", "criteria": make_labels(5)},
        "true": {"type": "noul", "instructions": "Is a refund requested?"},
    }
    return [{"state": text, "questions": questions} for text in make_texts(count)]


def measure(names: list[str], requests: list[dict[str, Any]], rounds: int, dtype: torch.dtype) -> dict[str, Any]:
    contenders = {name: CONTENDERS[name](dtype) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for decide in contenders.values():
        decide(requests[0])  # warm-up
    for _ in range(rounds):
        for name, decide in contenders.items():
            start = time.perf_counter()
            for request in requests:
                decide(request)
            seconds[name].append((time.perf_counter() - start) / len(requests))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    slowest = max(medians.values())
    return {
        "torch": torch.__version__, "threads": torch.get_num_threads(), "dtype": str(dtype).removeprefix("torch."),
        "requests": len(requests), "questions_per_request": len(requests[0]["questions"]), "rounds": rounds,
        "contenders": {
            name: {
                "parameters": contenders[name].model.num_parameters(),
                "ms_per_request": round(median * 1000, 2),
                "ratio": round(slowest / median, 2),
            }
            for name, median in medians.items()
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    requests = make_requests(arguments.requests)
    figures = measure(arguments.contenders, requests, arguments.rounds, getattr(torch, arguments.dtype))
    rows = [("contender", "parameters", "ms a request", "ratio")]
    for name, row in figures["contenders"].items():
        rows.append((name, f"{row['parameters'] / 1e6:.0f}M", f"{row['ms_per_request']:.1f}", f"{row['ratio']:.1f}"))
    print(format_table(rows))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
