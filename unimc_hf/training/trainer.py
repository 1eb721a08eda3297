"""`UniMCTrainer`: stock `Trainer` with batches filled by tokens, bfloat16 weights that still learn, and soft targets.

Three things that `Trainer` does not do and that decide the speed on a CPU: examples of UniMC differ in length by a
factor of fifty, so a fixed number per batch is mostly padding; parameters in bfloat16 train three times as fast here
as autocast does, if an optimizer keeps the float32 originals; and memory that a step frees is kept for the next one.

And one that decides what is learned: losses are means over all that an optimizer step saw, so that a run on one
process, on many, or with accumulated batches is the same run, and a broken one goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, has_length
from transformers.utils import logging

from ..configuration_unimc import UniMCConfig
from ..evaluation.calibration import Calibration
from .checkpoints import last_complete_checkpoint
from .data_collator import DataCollatorForUniMC
from .freed_memory import keep_freed_memory
from .master_weights import MasterWeightAdamW
from .token_batch_sampler import TokenBudgetBatchSampler

logger = logging.get_logger(__name__)


def check_training_arguments(args: TrainingArguments) -> None:
    """Raise a `ValueError` for what no trainer can do with menus of different lengths."""
    if args.label_smoothing_factor:
        raise ValueError("`label_smoothing_factor` must be 0: it would give weight to options that do not exist.")


class UniMCTrainer(Trainer):
    """
    `Trainer` whose losses are means over all that an optimizer step saw, and which evaluates and predicts on all
    examples, in their order and as they are: what a [`DataCollatorForUniMC`] masks or adds is for training, and so are
    `dataloader_drop_last` and `train_sampling_strategy`. An example without a label has -100 among the `label_ids` of
    an evaluation, and so has one with a number for each option, unless all have these. The loss is a mean over the
    examples that have a label or `option_probs`.

    A stream of training examples may be read several times: an optimizer step that its end leaves incomplete is not
    taken.

    Args:
        lengths (`Sequence[int]`, *optional*): estimated tokens of every training example. With it batches are
            filled up to `tokens_per_batch` tokens instead of `per_device_train_batch_size` examples.
        tokens_per_batch (`int`, *optional*, defaults to 4096): the budget.
        temperature (`float`, *optional*, defaults to 1.0): divides the logits before they meet `option_probs`, which
            must have been made with the same; the loss is multiplied by its square (Hinton et al. 2015, section 2).
        *args, **kwargs: as in [`~transformers.Trainer`].

    Raises:
        ValueError: if `temperature` is not positive; if `lengths` has more or fewer entries than `train_dataset` has
            examples; if `args.label_smoothing_factor` is set, since Trainer would smooth over options that do not
            exist; with a `compute_loss_func`, since the loss is computed here; or in an evaluation of a stream with
            one label in some batches and a number for each option in others.
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
        if lengths is not None and has_length(self.train_dataset) and len(lengths) != len(self.train_dataset):
            size = len(self.train_dataset)
            raise ValueError(f"`lengths` has {len(lengths)} entries, but `train_dataset` has {size} examples.")
        self.add_callback(_SetEpoch(self.data_collator, self.args.seed))
        self.add_callback(_ResetCalibration())

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As in Trainer; `resume_from_checkpoint=True` passes over checkpoints that a killed run left unfinished.

        The calibration in the model's config, and whether bfloat16 is good enough, were found on weights that are no
        more, so they are reset.
        """
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

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        dataset: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        with self._for_evaluation(self.eval_dataset[dataset] if isinstance(dataset, str) else dataset):  # type: ignore[index]
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        with self._for_evaluation(test_dataset):
            return super().get_test_dataloader(test_dataset)

    @contextmanager
    def _for_evaluation(self, dataset: Any) -> Iterator[None]:
        """Trainer has one collator and one set of arguments for all; here they give every example, in order, as it is,
        without masks and distractors."""
        collator, args = self.data_collator, self.args
        if isinstance(collator, DataCollatorForUniMC):
            plain = replace(collator, mlm=False, distractor_probability=0.0)
            self.data_collator = partial(_collate_for_evaluation, plain, _has_single_labels(dataset))
        self.args = copy(args)
        self.args.dataloader_drop_last, self.args.train_sampling_strategy = False, "random"
        try:
            yield
        finally:
            self.data_collator, self.args = collator, args

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As in Trainer, but the loss is a mean over examples with a target, and without any label there are no
        `label_ids`, nor is `compute_metrics` called."""
        self._evaluated, self._label_dims = torch.zeros(3, dtype=torch.float64), set[int]()
        compute_metrics: Any = self.compute_metrics
        if compute_metrics is not None and not self.args.batch_eval_metrics:
            self.compute_metrics = lambda prediction: compute_metrics(prediction) if self._evaluated[2] else {}
        try:
            output = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        finally:
            self.compute_metrics = compute_metrics
        loss, targets, labels = self._evaluated.tolist()
        metrics = dict(output.metrics or {})
        metrics.pop(f"{metric_key_prefix}_loss", None)
        if targets:
            metrics[f"{metric_key_prefix}_loss"] = loss / targets
        return output._replace(metrics=metrics, label_ids=output.label_ids if labels else None)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple:
        """As in Trainer; it also sums the losses, targets and labels of all processes for the `evaluation_loop`."""
        if inputs.get("labels") is not None:
            self._label_dims.add(inputs["labels"].dim())
            if len(self._label_dims) > 1:
                raise ValueError(
                    "`label` is one number in some batches of this stream and one for each option in others: a dataset "
                    "with a length may mix them, a stream may not."
                )
        loss, logits, labels = super().prediction_step(model, inputs, *args, **kwargs)
        if loss is not None:
            size = len(inputs["option_positions"])
            op, _, targets = (_target_counts(inputs) / size).to(loss.device)
            # A row per example: processes repeat some to have equal batches, and `gather_function` drops these.
            rows = torch.stack([loss.float() * targets, targets, op]).repeat(size, 1)
            self._evaluated += self.gather_function(rows).sum(0).cpu()
        return loss, logits, labels

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The batches of one optimizer step, and what all processes' batches of it are means over."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if len(batches) < num_batches and not has_length(self.train_dataset):
            batches = []  # Trainer would add their gradients to the first step of the next pass
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

        All are means over the examples that have a target, so that an example weighs the same whichever it has, and
        whichever its batch mates have. While training they are means over the whole optimizer step, of which these
        inputs are one process' part: the parts of all processes and accumulated batches have the whole step's loss for
        their mean, however unequal they are.

        Raises:
            ValueError: if the batch has nothing to learn from.
        """
        option_probs = inputs.get("option_probs")
        own = _target_counts(inputs)
        outputs = model(**{name: value for name, value in inputs.items() if name != "option_probs"})
        if option_probs is None and outputs.get("loss") is None:
            raise ValueError("`inputs` has no `labels`, `option_probs` or `mlm_target_ids` to compute a loss from.")
        whole = own if num_items_in_batch is None else num_items_in_batch
        own_op, own_mlm, _ = own.tolist()
        all_op, all_mlm, targets = whole.tolist()
        # O-MLM and MLM share one mean over positions; it counts as much as the examples that OP is about.
        share = all_op / max(1.0, targets) if all_op else 1.0
        loss = outputs["logits"].new_zeros((), dtype=torch.float32)
        if outputs.get("op_loss") is not None:
            loss = loss + outputs["op_loss"] * (share * own_op / max(1.0, all_op))
        if outputs.get("mlm_loss") is not None:
            loss = loss + outputs["mlm_loss"] * (share * own_mlm / max(1.0, all_mlm))
        if option_probs is not None:
            log_probs = (outputs["logits"].float() / self.temperature).log_softmax(-1)
            # Where there is no option, the logit is as low as can be.
            soft_loss = -(option_probs * log_probs.masked_fill(option_probs == 0, 0.0)).sum()
            loss = loss + soft_loss * self.temperature**2 / max(1.0, targets)
        if num_items_in_batch is not None:  # Trainer averages over accumulated batches, and DDP over processes
            loss = loss * (self.current_gradient_accumulation_steps * self.args.world_size)
        return (loss, outputs) if return_outputs else loss

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: TrainingArguments, model: Any = None) -> tuple[Any, dict[str, Any]]:
        optimizer_class, optimizer_kwargs = Trainer.get_optimizer_cls_and_kwargs(args, model)
        trained = [] if model is None else [parameter for parameter in model.parameters() if parameter.requires_grad]
        if any(parameter.dtype == torch.bfloat16 for parameter in trained):
            if optimizer_class is torch.optim.AdamW:
                return MasterWeightAdamW, optimizer_kwargs
            logger.warning(
                f"`optim` {args.optim} on bfloat16 parameters loses updates under 1/256 of a weight, which are most: "
                "load the model in float32, or use adamw_torch, for which float32 originals are kept."
            )
        return optimizer_class, optimizer_kwargs


def _has_single_labels(dataset: Any) -> bool:
    """Whether some example of a dataset has no number for each option as its label; not known of a stream."""
    is_stream = isinstance(dataset, IterableDataset) or not has_length(dataset)
    examples = () if is_stream else (dataset[i] for i in range(len(dataset)))
    return any(isinstance(example, Mapping) and not _is_row(example.get("label")) for example in examples)


def _is_row(label: Any) -> bool:
    """Whether a label is a number for each option, in any of the forms that the collator takes."""
    return isinstance(label, (list, tuple)) or getattr(label, "ndim", 0) > 0


def _collate_for_evaluation(
    collator: DataCollatorForUniMC, has_single_labels: bool, features: Sequence[Any]
) -> dict[str, torch.Tensor]:
    """Every batch with `labels` of the same shape: Trainer puts them together, and would leave out those of a batch
    without, and its loss."""
    unlabelled = [isinstance(example, Mapping) and example.get("label") is None for example in features]
    batch = collator([{**e, "label": -100} if is_without else e for e, is_without in zip(features, unlabelled)])
    labels = batch.get("labels")
    if labels is not None and labels.dim() == 2 and has_single_labels:
        batch |= {"option_targets": labels, "labels": torch.full((len(labels),), -100)}
    return batch


# What the losses are means over: examples of OP, positions of O-MLM and MLM, and examples with any target of options.
NUM_COUNTS = 3


def _target_counts(batch: dict[str, Any]) -> torch.Tensor:
    """How many of each there are in a batch, `float32` of shape `(3,)`; the model's losses are means over these."""
    has_option = batch["option_positions"] > 0
    known = torch.zeros_like(has_option)
    for name in ("labels", "option_targets"):
        targets = batch.get(name)
        if targets is not None:
            known |= has_option & (targets >= 0 if targets.dim() == 2 else (targets >= 0).unsqueeze(1))
    has_target = known.any(1)
    op, mlm = has_target.sum(), known.sum()
    if batch.get("mlm_target_ids") is not None:
        mlm = mlm + (batch["mlm_target_ids"] != -100).sum()
    if batch.get("option_probs") is not None:
        has_target = has_target | (batch["option_probs"] > 0).any(1)
    return torch.stack([op, mlm, has_target.sum()]).float().cpu()


class _ResetCalibration(TrainerCallback):
    """Once there is a model that will be trained, `model_init` may make it."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        config = getattr(model, "config", None)
        if isinstance(config, UniMCConfig):
            Calibration().write_to(config)
            config.prefer_bfloat16 = False


class _SetEpoch(TrainerCallback):
    """Tells the collator and every sampler the epoch: Trainer does not reach them all after resuming."""

    def __init__(self, collator: Any, seed: int) -> None:
        self.collator = collator if hasattr(collator, "set_epoch") else None
        if self.collator is not None and collator.seed is None:
            collator.seed = seed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epoch = -1

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Of a stream Trainer does not know when it has been read once.
        epoch = self.epoch = max(self.epoch + 1, int(state.epoch or 0))
        if self.collator is not None:
            self.collator.set_epoch(epoch)
        sampler = kwargs["train_dataloader"].batch_sampler
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            sampler = getattr(sampler, "batch_sampler", getattr(sampler, "sampler", None))


__all__ = ["UniMCTrainer", "check_training_arguments"]
