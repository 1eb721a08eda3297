"""How texts meet the model's limits: a long one in windows, and those of similar length in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

TOKENS_PER_BATCH = {"cpu": 2048}  # padding included; the activations of more leave the cache
TOKENS_PER_BATCH_ON_ACCELERATOR = 32768


def text_windows(
    text: str, num_excess_tokens: int, stride: int, spans_of: Callable[[str], list[tuple[int, int]]]
) -> list[str]:
    """Cut a text that has `num_excess_tokens` more tokens than fit into overlapping pieces that do.

    Args:
        stride: least tokens that two neighbours share; the last piece is as long as the others, and shares more.
        spans_of: gives the (start, end) in characters of every token of a string.

    Raises:
        ValueError: if there is no room for any of the text, or for `stride` tokens and one more.
    """
    spans = spans_of(text)
    room = len(spans) - num_excess_tokens
    if room < 1:
        raise ValueError("`text_pair` does not fit: `stride` cuts the text only, for which there is no room left.")
    if stride >= room:
        raise ValueError(f"`stride` must be less than the {room} tokens of text that fit at once, got {stride}.")
    pieces: list[str] = []
    start = end = 0
    while end < len(spans):
        end = min(start + room, len(spans))
        # A piece that begins or ends within a word may have more tokens than the text has there.
        while end > start + 1 and (excess := len(spans_of(text[spans[start][0] : spans[end - 1][1]])) - room) > 0:
            end = max(end - excess, start + 1)
        pieces.append(text[spans[start][0] : spans[end - 1][1]])
        start = max(min(end - stride, len(spans) - room), start + 1)
    return pieces


def token_batches(lengths: Sequence[int], device_type: str, batch_size: int | None = None) -> Iterator[list[int]]:
    """Rows of similar length (`lengths`, in tokens), the longest first: as many as fill a device, or `batch_size`."""
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
