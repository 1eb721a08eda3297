"""`DataCollatorForUniMC`: raw multiple-choice examples in, a padded training batch out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .tokenization_unimc import UniMCTokenizer

# MLM rate of an example and how often it is drawn (the reference's training code; the paper gives no figures).
MLM_RATES = (0.0, 0.1, 0.2, 0.3)
MLM_RATE_WEIGHTS = (0.3, 0.3, 0.25, 0.15)


@dataclass
class DataCollatorForUniMC:
    """
    Encodes and pads examples, and masks tokens of the text for the MLM loss.

    Use it with `TrainingArguments(remove_unused_columns=False)`: `Trainer` would drop the text columns otherwise.

    Args:
        tokenizer ([`UniMCTokenizer`]): the tokenizer.
        max_length (`int`, *optional*, defaults to 512): as in the tokenizer.
        mlm (`bool`, *optional*, defaults to `True`): whether to mask text. Set it to `False` for evaluation.
        distractor_options (`Sequence[str]`, *optional*): labels of other tasks to widen menus with, so that a model
            also learns long menus. Never a text that the menu already has.
        distractor_probability (`float`, *optional*, defaults to 0.0): share of the examples that get some.
        max_choices (`int`, *optional*, defaults to 20): how long a menu may become by that.
        pad_to_multiple_of (`int`, *optional*): as in the tokenizer.
        seed (`int`, *optional*): makes the masking and the distractors reproducible.

    Each example is a dict with `options` (`list[str]`), and where it has them `text`, `text_pair`, `question`
    (`str`), `label` (`int`: the right option; or one number per option, 1 for right and 0 for wrong) and
    `option_probs` (one probability per option, e.g. a teacher's, which [`UniMCTrainer`] trains towards).

    Example:

    ```python
    >>> collator = DataCollatorForUniMC(tokenizer, mlm=False)
    >>> batch = collator([{"text": "Stocks fell.", "options": ["sports", "business"], "label": 1}])
    >>> {name: tuple(tensor.shape) for name, tensor in batch.items()}
    {'input_ids': (1, 10), 'attention_mask': (1, 10), 'token_type_ids': (1, 10), 'option_ids': (1, 10),
     'option_positions': (1, 2), 'labels': (1,)}
    ```
    """

    tokenizer: UniMCTokenizer
    max_length: int | None = 512
    mlm: bool = True
    distractor_options: Sequence[str] = ()
    distractor_probability: float = 0.0
    max_choices: int = 20
    pad_to_multiple_of: int | None = None
    seed: int | None = None
    _random: random.Random = field(init=False, repr=False)
    _generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.distractor_probability <= 1.0:
            raise ValueError(f"`distractor_probability` must be in [0, 1], got {self.distractor_probability}.")
        if self.distractor_probability and not self.distractor_options:
            raise ValueError("`distractor_probability` needs `distractor_options` to draw from.")
        self._random = random.Random(self.seed)
        self._generator = torch.Generator()
        self._generator.manual_seed(self._random.getrandbits(62) if self.seed is not None else torch.seed())

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Args:
            features: the examples; see the class.

        Returns:
            The tokenizer's tensors, `labels` if the examples have one (`int64` of shape `(batch_size,)`, or
            `float32` of shape `(batch_size, num_choices)`), `option_probs` if an example has them (`float32` of
            shape `(batch_size, num_choices)`, rows of zeros for the others), and with `mlm` `mlm_target_ids`,
            `int64` of shape `(batch_size, sequence_length)`.

        Raises:
            ValueError: if an example has no `options`, if only some have a label, or if a label or `option_probs`
                does not match its options.
        """
        examples = [self._widen(example) for example in features]
        batch: dict[str, torch.Tensor] = dict(
            self.tokenizer(
                [example.get("text") or "" for example in examples],
                [example.get("text_pair") for example in examples],
                options=[example["options"] for example in examples],
                question=[example.get("question") for example in examples],
                max_length=self.max_length,
                padding=True,
                pad_to_multiple_of=self.pad_to_multiple_of,
                return_tensors="pt",
            )
        )
        labels = self._labels(examples, num_choices=batch["option_positions"].shape[1])
        if labels is not None:
            batch["labels"] = labels
        option_probs = self._option_probs(examples, num_choices=batch["option_positions"].shape[1])
        if option_probs is not None:
            batch["option_probs"] = option_probs
        if self.mlm:
            batch["input_ids"], batch["mlm_target_ids"] = self.mask_text(batch)
        return batch

    def _widen(self, example: dict[str, Any]) -> dict[str, Any]:
        if not example.get("options"):
            raise ValueError("An example has no `options`. Each needs a list of strings there.")
        if not self.distractor_probability or self._random.random() >= self.distractor_probability:
            return example
        return add_distractors(example, self.distractor_options, self.max_choices, self._random)

    def _labels(self, examples: Sequence[dict[str, Any]], num_choices: int) -> torch.Tensor | None:
        labels: list[Any] = [example.get("label") for example in examples]
        if all(label is None for label in labels):
            return None
        if any(label is None for label in labels):
            raise ValueError("Some examples of the batch have a `label` and some have none; -100 stands for none.")
        if not any(isinstance(label, (list, tuple)) for label in labels):
            for label, example in zip(labels, examples):
                if label != -100 and not 0 <= label < len(example["options"]):
                    raise ValueError(f"`label` is {label}, but its example has {len(example['options'])} options.")
            return torch.tensor(labels, dtype=torch.long)
        rows = torch.zeros(len(labels), num_choices)
        for row, (label, example) in enumerate(zip(labels, examples)):
            size = len(example["options"])
            if isinstance(label, (list, tuple)):
                if len(label) != size:
                    raise ValueError(f"`label` has {len(label)} entries for {size} options.")
                rows[row, :size] = torch.tensor(label, dtype=torch.float)
            else:  # one right answer among examples that may have several
                rows[row, label] = 1.0
        return rows

    def _option_probs(self, examples: Sequence[dict[str, Any]], num_choices: int) -> torch.Tensor | None:
        given = [example.get("option_probs") for example in examples]
        if all(probs is None for probs in given):
            return None
        rows = torch.zeros(len(given), num_choices)
        for row, (probs, example) in enumerate(zip(given, examples)):
            if probs is None:
                continue
            if len(probs) != len(example["options"]):
                raise ValueError(f"`option_probs` has {len(probs)} entries for {len(example['options'])} options.")
            rows[row, : len(probs)] = torch.as_tensor(probs)
        return rows

    def mask_text(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """BERT's masking (80 % `[MASK]`, 10 % a random token, 10 % unchanged) of what follows the options.

        Returns:
            New `input_ids` and the `mlm_target_ids`, -100 where nothing was chosen, both of the batch's shape.
        """
        input_ids = batch["input_ids"].clone()
        size, length = input_ids.shape
        draw = torch.multinomial(torch.tensor(MLM_RATE_WEIGHTS), size, replacement=True, generator=self._generator)
        rates = torch.tensor(MLM_RATES)[draw].unsqueeze(1)
        special = torch.isin(input_ids, torch.tensor(self.tokenizer.all_special_ids))
        is_text = (batch["token_type_ids"] == 0) & batch["attention_mask"].bool() & ~special
        chosen = is_text & (torch.rand(size, length, generator=self._generator) < rates)
        mlm_target_ids = torch.where(chosen, input_ids, -100)

        fate = torch.rand(size, length, generator=self._generator)
        random_ids = torch.randint(len(self.tokenizer), (size, length), generator=self._generator)
        input_ids = torch.where(chosen & (fate < 0.8), self.tokenizer.mask_token_id, input_ids)
        input_ids = torch.where(chosen & (fate >= 0.9), random_ids, input_ids)
        return input_ids, mlm_target_ids


def add_distractors(
    example: dict[str, Any], pool: Sequence[str], max_choices: int, rng: random.Random
) -> dict[str, Any]:
    """The example with wrong options drawn from `pool` behind its own, up to `max_choices`; its label still holds."""
    menu = list(example["options"])
    taken = {option.lower() for option in menu}
    wanted = rng.randint(0, max(0, max_choices - len(menu)))
    extra = []
    for option in rng.sample(pool, min(len(pool), wanted)):
        if option.lower() not in taken:
            taken.add(option.lower())
            extra.append(option)
    widened = {**example, "options": menu + extra}
    for name in ("label", "option_probs"):
        if isinstance(example.get(name), (list, tuple)):
            widened[name] = [*example[name], *([0.0] * len(extra))]
    return widened


__all__ = ["DataCollatorForUniMC", "add_distractors"]
