"""How many tokens examples have, which batches that are filled by tokens need to know beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.jsonl_examples import Example
from ..tokenization_unimc import UniMCTokenizer


def token_lengths(examples: Sequence[Example], tokenizer: UniMCTokenizer) -> list[int]:
    """Tokens of every example, before anything is cut; every distinct string is tokenised once."""
    keys = ("text", "text_pair", "question")
    distinct = list(dict.fromkeys(s for e in examples for s in (*(e[k] for k in keys), *e["options"]) if s))
    count: dict[str, int] = {"": 0}
    for start in range(0, len(distinct), 10_000):
        chunk = distinct[start : start + 10_000]
        for string, ids in zip(chunk, tokenizer(chunk, add_special_tokens=False)["input_ids"]):
            count[string] = len(ids)
    return [
        2 + sum(count[o] + 1 for o in e["options"]) + sum(count[e[k]] + (e[k] != "" or k == "text") for k in keys)
        for e in examples
    ]


__all__ = ["token_lengths"]
