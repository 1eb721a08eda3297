"""Which examples go through the model together: of similar length, as many as keep the processor busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TOKENS_PER_BATCH = {"cpu": 4096}  # padding included; more does not help a CPU
TOKENS_PER_BATCH_ON_ACCELERATOR = 32768


def token_batches(lengths: Sequence[int], device_type: str, batch_size: int | None = None) -> Iterator[list[int]]:
    """
    Rows of similar length whose padded size stays under a budget of tokens, the longest first.

    Args:
        lengths: how many tokens each example has.
        device_type: e.g. `"cpu"` or `"cuda"`; decides the budget.
        batch_size: most rows of a batch, whatever the budget.
    """
    budget = TOKENS_PER_BATCH.get(device_type, TOKENS_PER_BATCH_ON_ACCELERATOR)
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        longest = lengths[batch[0]] if batch else 0
        is_full = len(batch) == batch_size or (len(batch) + 1) * longest > budget
        # A batch that keeps the processor busy does not take a text that would be padding for a quarter.
        is_enough = len(batch) * longest >= budget // 4 and lengths[row] < 0.75 * longest
        if batch and (is_full or is_enough):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


__all__ = ["token_batches"]
