"""`UniMCTrainer`: stock `Trainer` with batches filled by tokens, bfloat16 weights that still learn, and soft targets.

Two things that `Trainer` does not do and that decide the speed on a CPU: examples of UniMC differ in length by a
factor of fifty, so a fixed number per batch is mostly padding; and parameters in bfloat16 train three times as fast
here as autocast does, if an optimizer keeps the float32 originals.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments


class TokenBudgetBatchSampler(Sampler[list[int]]):
    """
    Batches of examples of similar length whose padded size stays under a budget; another shuffle every epoch.

    Args:
        lengths (`Sequence[int]`): length of every example in tokens; an estimate will do.
        tokens_per_batch (`int`): most tokens of a batch, padding included. An example longer than that is a batch
            of its own.
        seed (`int`): with the epoch, fixes the order.
        bucket_size (`int`, *optional*, defaults to 4096): how many shuffled examples are sorted together.
    """

    def __init__(self, lengths: Sequence[int], tokens_per_batch: int, seed: int, bucket_size: int = 4096) -> None:
        if tokens_per_batch < 1:
            raise ValueError(f"`tokens_per_batch` must be positive, got {tokens_per_batch}.")
        self.lengths = lengths
        self.tokens_per_batch = tokens_per_batch
        self.seed = seed
        self.bucket_size = bucket_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[list[int]]:
        rng = random.Random(f"{self.seed}-{self.epoch}")
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
        rng.shuffle(batches)
        return batches


class MasterWeightAdamW(torch.optim.AdamW):
    """
    AdamW whose state and arithmetic are float32 while the model's parameters are bfloat16.

    A bfloat16 number has 8 bits of precision, so an update under 1/256 of a weight would be lost; here it is added
    to a float32 original, which is then rounded into the parameter. Parameters in float32 are updated as usual.
    """

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self._rounded: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
        for group in self.param_groups:
            for i, parameter in enumerate(group["params"]):
                if parameter.dtype == torch.bfloat16:
                    master = torch.nn.Parameter(parameter.detach().float())
                    self._rounded.append((parameter, master))
                    group["params"][i] = master

    def step(self, closure: Any = None) -> Any:
        for parameter, master in self._rounded:
            master.grad = None if parameter.grad is None else parameter.grad.float()
        loss = super().step(closure)
        with torch.no_grad():
            for parameter, master in self._rounded:
                parameter.copy_(master)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter, master in self._rounded:
            parameter.grad = master.grad = None
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of AdamW and the float32 originals, so that a resumed run is the same run."""
        return {**super().state_dict(), "masters": [master.detach() for _, master in self._rounded]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        masters = state_dict.get("masters", [])
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "masters"})
        with torch.no_grad():
            for (parameter, master), saved in zip(self._rounded, masters, strict=True):
                master.copy_(saved)
                parameter.copy_(saved)


def check_training_arguments(args: TrainingArguments) -> None:
    """Raise a `ValueError` for what no trainer can do with menus of different lengths."""
    if args.label_smoothing_factor:
        raise ValueError("`label_smoothing_factor` must be 0: it would give weight to options that do not exist.")


class UniMCTrainer(Trainer):
    """
    Args:
        lengths (`Sequence[int]`, *optional*): estimated tokens of every training example. With it batches are
            filled up to `tokens_per_batch` tokens instead of `per_device_train_batch_size` examples.
        tokens_per_batch (`int`, *optional*, defaults to 4096): the budget.
        *args, **kwargs: as in [`~transformers.Trainer`].

    Raises:
        ValueError: if `args.label_smoothing_factor` is set. Trainer would smooth over options that do not exist.
    """

    def __init__(
        self, *args: Any, lengths: Sequence[int] | None = None, tokens_per_batch: int = 4096, **kwargs: Any
    ) -> None:
        self.lengths = lengths
        self.tokens_per_batch = tokens_per_batch
        super().__init__(*args, **kwargs)
        check_training_arguments(self.args)

    def get_train_dataloader(self) -> DataLoader:
        if self.lengths is None or self.train_dataset is None:
            return super().get_train_dataloader()
        sampler = TokenBudgetBatchSampler(self.lengths, self.tokens_per_batch, self.args.seed)
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The model's loss, plus the cross-entropy with `option_probs` where examples bring some.

        Both are means over the examples of the batch, so that an example weighs the same whichever target it has.
        """
        option_probs = inputs.pop("option_probs", None)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if option_probs is not None:
            # A target of 0 meets finfo.min where there is no option, and 0 * finfo.min is 0.
            log_probs = outputs["logits"].float().log_softmax(-1)
            soft = -(option_probs * log_probs).sum() / len(option_probs)
            labels = inputs.get("labels")
            labelled = (labels >= 0).float().mean() if labels is not None and labels.dim() == 1 else 1.0
            loss = loss * labelled + soft
        return (loss, outputs) if return_outputs else loss

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: TrainingArguments, model: Any = None) -> tuple[Any, dict[str, Any]]:
        optimizer_class, optimizer_kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if optimizer_class is torch.optim.AdamW and model is not None and model.dtype == torch.bfloat16:
            optimizer_class = MasterWeightAdamW
        return optimizer_class, optimizer_kwargs


__all__ = ["MasterWeightAdamW", "TokenBudgetBatchSampler", "UniMCTrainer", "check_training_arguments"]
