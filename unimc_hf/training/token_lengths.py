"""How many tokens examples have, which batches that are filled by tokens need to know beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.jsonl_examples import Example
from ..tokenization_unimc import UniMCTokenizer


def token_lengths(examples: Sequence[Example], tokenizer: UniMCTokenizer) -> list[int]:
    """Tokens of every example, before anything is cut; every distinct string is tokenised once."""
    texts = [[example.get(key) or "" for key in ("text", "text_pair", "question")] for example in examples]
    distinct = list(dict.fromkeys(s for e, parts in zip(examples, texts) for s in (*parts, *e["options"]) if s))
    count: dict[str, int] = {"": 0}
    for start in range(0, len(distinct), 10_000):
        chunk = distinct[start : start + 10_000]
        for string, ids in zip(chunk, tokenizer(chunk, add_special_tokens=False)["input_ids"]):
            count[string] = len(ids)
    return [  # an empty text keeps its `[SEP]`
        3 + sum(count[o] + 1 for o in e["options"]) + sum(count[s] for s in parts) + sum(s != "" for s in parts[1:])
        for e, parts in zip(examples, texts)
    ]


__all__ = ["token_lengths"]
