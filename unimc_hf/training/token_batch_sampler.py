"""`TokenBudgetBatchSampler`: training batches filled by tokens, because lengths differ by a factor of fifty."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler


class TokenBudgetBatchSampler(Sampler[list[int]]):
    """
    Batches of examples of similar length whose padded size stays under a budget; in another order every epoch.

    Which examples share a batch stays the same, so that every epoch has as many batches: `Trainer` counts them once.

    Args:
        lengths (`Sequence[int]`): length of every example in tokens, at least 1; an estimate will do.
        tokens_per_batch (`int`): most tokens of a batch, padding included. An example longer than that is a batch
            of its own.
        seed (`int`): with the epoch, fixes the order.
        bucket_size (`int`, *optional*, defaults to 4096): how many shuffled examples are sorted together.
        num_processes (`int`, *optional*, defaults to 1): the number of batches is a multiple of it, so that
            accelerate can deal them out to as many processes with no example left out or repeated.

    Raises:
        ValueError: if `tokens_per_batch` or a length is not positive, or there are fewer examples than processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        tokens_per_batch: int,
        seed: int,
        bucket_size: int = 4096,
        num_processes: int = 1,
    ) -> None:
        if tokens_per_batch < 1:
            raise ValueError(f"`tokens_per_batch` must be positive, got {tokens_per_batch}.")
        if len(lengths) < num_processes:
            raise ValueError(f"`lengths` has {len(lengths)} examples for {num_processes} processes.")
        self.lengths = [int(length) for length in lengths]  # products of NumPy's small integers would overflow
        if min(self.lengths) < 1:
            raise ValueError(f"`lengths` must be positive, got {min(self.lengths)}.")
        self.tokens_per_batch = tokens_per_batch
        self.seed = seed
        self.bucket_size = bucket_size
        self.num_processes = num_processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called at the start of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[list[int]]:
        rng = random.Random(f"{self.seed}-0")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        batches: list[list[int]] = []
        for start in range(0, len(order), self.bucket_size):
            batch: list[int] = []
            for index in sorted(order[start : start + self.bucket_size], key=self.lengths.__getitem__):
                if batch and (len(batch) + 1) * self.lengths[index] > self.tokens_per_batch:
                    batches.append(batch)
                    batch = []
                batch.append(index)
            if batch:
                batches.append(batch)
        rng = random.Random(f"{self.seed}-{self.epoch}") if self.epoch else rng
        rng.shuffle(batches)
        return self._fill_last_step(batches)

    def _fill_last_step(self, batches: list[list[int]]) -> list[list[int]]:
        """Halve the largest batches of the last step until every process has one; the steps before stay as they are."""
        last_step = len(batches) - len(batches) % self.num_processes
        while len(batches) % self.num_processes:
            largest = max(range(last_step, len(batches)), key=lambda i: len(batches[i]))
            size = len(batches[largest])
            if size > 1:
                batches[largest : largest + 1] = [batches[largest][: size // 2], batches[largest][size // 2 :]]
            else:  # the last step has fewer examples than there are processes: an earlier one must give
                last_step = 0
        return batches


__all__ = ["TokenBudgetBatchSampler"]
