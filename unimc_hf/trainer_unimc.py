"""`UniMCTrainer`: stock `Trainer` with batches filled by tokens, bfloat16 weights that still learn, and soft targets.

Three things that `Trainer` does not do and that decide the speed on a CPU: examples of UniMC differ in length by a
factor of fifty, so a fixed number per batch is mostly padding; parameters in bfloat16 train three times as fast here
as autocast does, if an optimizer keeps the float32 originals; and memory that a step frees is kept for the next one.

And one that decides what is learned: losses are means over all that an optimizer step saw, so that a run on one
process, on many, or with accumulated batches is the same run, and a broken one goes on as if it had not been.
"""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from .freed_memory import keep_freed_memory

logger = logging.get_logger(__name__)


class TokenBudgetBatchSampler(Sampler[list[int]]):
    """
    Batches of examples of similar length whose padded size stays under a budget; in another order every epoch.

    Which examples share a batch stays the same, so that every epoch has as many batches: `Trainer` counts them once.

    Args:
        lengths (`Sequence[int]`): length of every example in tokens; an estimate will do.
        tokens_per_batch (`int`): most tokens of a batch, padding included. An example longer than that is a batch
            of its own.
        seed (`int`): with the epoch, fixes the order.
        bucket_size (`int`, *optional*, defaults to 4096): how many shuffled examples are sorted together.
        num_processes (`int`, *optional*, defaults to 1): the number of batches is a multiple of it, so that
            accelerate can deal them out to as many processes with no example left out or repeated.

    Raises:
        ValueError: if `tokens_per_batch` is not positive, or there are fewer examples than processes.
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
        self.lengths = lengths
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
        temperature (`float`, *optional*, defaults to 1.0): divides the logits before they meet `option_probs`, which
            must have been made with the same; the loss is multiplied by its square (Hinton et al. 2015, section 2).
        *args, **kwargs: as in [`~transformers.Trainer`].

    Raises:
        ValueError: if `temperature` is not positive; if `args.label_smoothing_factor` is set, since Trainer would
            smooth over options that do not exist; or with a `compute_loss_func`, since the loss is computed here.
    """

    def __init__(
        self,
        *args: Any,
        lengths: Sequence[int] | None = None,
        tokens_per_batch: int = 4096,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"`temperature` must be positive, got {temperature}.")
        self.lengths = lengths
        self.tokens_per_batch = tokens_per_batch
        self.temperature = temperature
        super().__init__(*args, **kwargs)
        check_training_arguments(self.args)
        if self.compute_loss_func is not None:
            raise ValueError("`compute_loss_func` must be None: override `compute_loss` instead.")
        self.add_callback(_SetEpoch(self.data_collator, self.args.seed))

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As in Trainer; `resume_from_checkpoint=True` passes over checkpoints that a killed run left unfinished."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(str(self.args.output_dir))
        if self.args.device.type == "cpu":
            keep_freed_memory()
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        if self.lengths is None or self.train_dataset is None:
            return super().get_train_dataloader()
        sampler = TokenBudgetBatchSampler(
            self.lengths, self.tokens_per_batch, self.args.seed, num_processes=self.args.world_size
        )
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The batches of one optimizer step, and what all processes' batches of it are means over."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = sum((_target_counts(batch) for batch in batches), torch.zeros(NUM_COUNTS)).to(device)
        return batches, self.accelerator.reduce(counts, reduction="sum")

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The model's loss, plus the cross-entropy with `option_probs` where examples bring some.

        Both are means over the examples, so that an example weighs the same whichever target it has. While training
        they are means over the whole optimizer step, of which these inputs are one process' part: the parts of all
        processes and accumulated batches have the whole step's loss for their mean, however unequal they are.

        Raises:
            ValueError: if the batch has nothing to learn from.
        """
        option_probs = inputs.get("option_probs")
        own = _target_counts(inputs)
        outputs = model(**{name: value for name, value in inputs.items() if name != "option_probs"})
        if option_probs is None and outputs.get("loss") is None:
            raise ValueError("`inputs` has no `labels`, `option_probs` or `mlm_target_ids` to compute a loss from.")
        whole = own if num_items_in_batch is None else num_items_in_batch
        own_op, own_mlm, *_ = own.tolist()
        all_op, all_mlm, labelled, soft, examples = whole.tolist()
        loss = outputs["logits"].new_zeros((), dtype=torch.float32)
        if outputs.get("op_loss") is not None:
            loss = loss + outputs["op_loss"] * (own_op / max(1.0, all_op))
        if outputs.get("mlm_loss") is not None:
            loss = loss + outputs["mlm_loss"] * (own_mlm / max(1.0, all_mlm))
        if soft:
            loss = loss * (labelled / examples)
        if option_probs is not None:
            log_probs = (outputs["logits"].float() / self.temperature).log_softmax(-1)
            # Where there is no option, the logit is as low as can be.
            soft_loss = -(option_probs * log_probs.masked_fill(option_probs == 0, 0.0)).sum()
            loss = loss + soft_loss * self.temperature**2 / examples
        if num_items_in_batch is not None:  # Trainer averages over accumulated batches, and DDP over processes
            loss = loss * (self.current_gradient_accumulation_steps * self.args.world_size)
        return (loss, outputs) if return_outputs else loss

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: TrainingArguments, model: Any = None) -> tuple[Any, dict[str, Any]]:
        optimizer_class, optimizer_kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if optimizer_class is torch.optim.AdamW and model is not None and model.dtype == torch.bfloat16:
            optimizer_class = MasterWeightAdamW
        return optimizer_class, optimizer_kwargs


# What the losses are means over: options or examples of OP, positions of O-MLM and MLM, examples with a label, those
# with `option_probs`, and all examples.
NUM_COUNTS = 5


def _target_counts(batch: dict[str, Any]) -> torch.Tensor:
    """How many of each there are in a batch, `float32` of shape `(5,)`; the model's losses are means over these."""
    has_option = batch["option_positions"] > 0
    rows = len(has_option)
    op = mlm = soft = 0
    labelled = rows  # of a batch without labels, the MLM loss counts in full
    labels = batch.get("labels")
    if labels is not None:
        known = labels >= 0 if labels.dim() == 1 else torch.ones(rows, dtype=torch.bool, device=labels.device)
        labelled = int(known.sum())
        mlm = int(has_option[known].sum())
        op = labelled if labels.dim() == 1 else mlm
    if batch.get("mlm_target_ids") is not None:
        mlm += int((batch["mlm_target_ids"] != -100).sum())
    if batch.get("option_probs") is not None:
        soft = int((batch["option_probs"] > 0).any(-1).sum())
    return torch.tensor([op, mlm, labelled, soft, rows], dtype=torch.float32)


class _SetEpoch(TrainerCallback):
    """Tells the collator and every sampler the epoch: Trainer does not reach them all after resuming."""

    def __init__(self, collator: Any, seed: int) -> None:
        self.collator = collator if hasattr(collator, "set_epoch") else None
        if self.collator is not None and collator.seed is None:
            collator.seed = seed

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        epoch = int(state.epoch or 0)
        if self.collator is not None:
            self.collator.set_epoch(epoch)
        sampler = kwargs["train_dataloader"].batch_sampler
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            sampler = getattr(sampler, "batch_sampler", getattr(sampler, "sampler", None))


def last_complete_checkpoint(folder: str | Path) -> str:
    """The checkpoint of the highest step that was written to its end.

    Raises:
        ValueError: if `folder` has none.
    """
    step_of = {path: path.name.removeprefix("checkpoint-") for path in Path(folder).glob("checkpoint-*")}
    checkpoints = [path for path, step in step_of.items() if step.isdigit()]
    for checkpoint in sorted(checkpoints, key=lambda path: int(step_of[path]), reverse=True):
        if _is_complete(checkpoint):
            return str(checkpoint)
        logger.warning(f"{checkpoint} was not written to its end; it is passed over.")
    raise ValueError(f"`resume_from_checkpoint` is True, but {folder} has no complete checkpoint.")


def _is_complete(checkpoint: Path) -> bool:
    try:  # Trainer writes its state last
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return all(zipfile.is_zipfile(path) for path in checkpoint.glob("*.pt*"))


__all__ = [
    "MasterWeightAdamW",
    "TokenBudgetBatchSampler",
    "UniMCTrainer",
    "check_training_arguments",
    "last_complete_checkpoint",
]
