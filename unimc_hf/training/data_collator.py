"""`DataCollatorForUniMC`: raw multiple-choice examples in, a padded training batch out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..option_inputs import check_menu
from ..pipeline_inputs import check_number
from ..tokenization_unimc import UniMCTokenizer

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
        max_length (`int`, *optional*): as in the tokenizer. By default a long menu does not count against the text.
        mlm (`bool`, *optional*, defaults to `True`): whether to mask text. Set it to `False` for evaluation.
        distractor_options (`Sequence[str]`, *optional*): labels of other tasks to widen menus with, so that a model
            also learns long menus. Never a text that the menu already has.
        distractor_probability (`float`, *optional*, defaults to 0.0): share of the examples that get some.
        max_choices (`int`, *optional*, defaults to 20): how long a menu may become by that.
        pad_to_multiple_of (`int`, *optional*): as in the tokenizer.
        seed (`int`, *optional*): makes the masking and the distractors reproducible. After `set_epoch`, which
            [`UniMCTrainer`] calls, what is drawn for an example depends on the seed, the epoch and the example alone:
            the same on any number of processes or workers, in any batch, and in a run that was resumed. Otherwise
            it depends on what was drawn before.

    Each example is a dict with `options` (`list[str]`), and where it has them `text`, `text_pair`, `question`
    (`str`), `label` (`int`: the right option, -100 for none known; or one number per option, 1 for right and 0 for
    wrong, all 0 where no option fits) and `option_probs` (one probability per option, e.g. a teacher's, which
    [`UniMCTrainer`] trains towards). A batch may mix all of these: the loss of an example stays the same.

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
    max_length: int | None = None
    mlm: bool = True
    distractor_options: Sequence[str] = ()
    distractor_probability: float = 0.0
    max_choices: int = 20
    pad_to_multiple_of: int | None = None
    seed: int | None = None
    _random: random.Random | None = field(init=False, repr=False)
    _epoch: torch.Tensor | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        _check_probabilities("distractor_probability", [self.distractor_probability])
        check_number("max_choices", self.max_choices, 1)
        if self.distractor_probability and not self.distractor_options:
            raise ValueError("`distractor_probability` needs `distractor_options` to draw from.")
        self._random = None if self.seed is None else random.Random(self.seed)

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for every example from here on, reproducibly; see `seed`."""
        if self._epoch is None or not self._epoch.is_shared():  # a copy's is not
            self._epoch = torch.zeros((), dtype=torch.long).share_memory_()  # persistent workers read it, too
        self._epoch.fill_(epoch)

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Args:
            features: the examples; see the class.

        Returns:
            The tokenizer's tensors and what the examples have of: `labels` (`int64` of shape `(batch_size,)`, -100 for
            an example without a label; `float32` of shape `(batch_size, num_choices)` if every example has one number
            per option), `option_targets` (`float32` of that shape, rows of -100 for the others, where only some
            examples have one number per option), `option_probs` (`float32` of that shape, rows of zeros for the
            others), and with `mlm` `mlm_target_ids`, `int64` of shape `(batch_size, sequence_length)`.

        Raises:
            TypeError, ValueError: if `features` is no list of dicts, if an example has no `options`, if only some
                have a `label` or `option_probs`, or if one of these does not match its options.
        """
        if not isinstance(features, (list, tuple)) or not features:
            raise ValueError("`features` must be a list of at least one example.")
        checked = [_check_example(example) for example in features]
        rngs = [self._rng(example) for example in checked]
        examples = [self._widen(example, rng) for example, rng in zip(checked, rngs)]
        batch: dict[str, torch.Tensor] = dict(
            self.tokenizer(
                ["" if example.get("text") is None else example["text"] for example in examples],
                [example.get("text_pair") for example in examples],
                options=[example["options"] for example in examples],
                question=[example.get("question") for example in examples],
                max_length=self.max_length,
                padding=True,
                pad_to_multiple_of=self.pad_to_multiple_of,
                return_tensors="pt",
            )
        )
        num_choices = batch["option_positions"].shape[1]
        batch |= self._targets(examples, num_choices)
        if self.mlm:
            batch["input_ids"], batch["mlm_target_ids"] = self.mask_text(batch, rngs)
        return batch

    def _rng(self, example: dict[str, Any]) -> random.Random:
        """What all that is random about an example is drawn from."""
        if self._epoch is None:  # `random` itself is what `set_seed` seeds, and PyTorch in every worker
            return random.Random((self._random or random).getrandbits(64))
        text = [example.get(name) for name in ("text", "text_pair", "question")]
        return random.Random(repr((self.seed, int(self._epoch), text, list(example["options"]))))

    def _widen(self, example: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        if not self.distractor_probability or rng.random() >= self.distractor_probability:
            return example
        return add_distractors(example, self.distractor_options, self.max_choices, rng)

    def _targets(self, examples: Sequence[dict[str, Any]], num_choices: int) -> dict[str, torch.Tensor]:
        targets = {}
        probs = [example.get("option_probs") for example in examples]
        labels: list[Any] = [example.get("label") for example in examples]
        if any(label is not None for label in labels):
            if any(label is None and prob is None for label, prob in zip(labels, probs)):
                raise ValueError("Some examples of the batch have a `label` and some have none; -100 stands for none.")
            lists = [label if isinstance(label, list) else None for label in labels]
            if None not in lists:
                targets["labels"] = _rows(lists, num_choices)
            else:
                ones = [-100 if label is None or isinstance(label, list) else label for label in labels]
                targets["labels"] = torch.tensor(ones, dtype=torch.long)
                if any(lists):
                    targets["option_targets"] = _rows(lists, num_choices, missing=-100.0)
        if any(prob is not None for prob in probs):
            targets["option_probs"] = _rows(probs, num_choices)
        return targets

    def mask_text(
        self, batch: dict[str, torch.Tensor], rngs: Sequence[random.Random]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """BERT's masking (80 % `[MASK]`, 10 % a random token, 10 % unchanged) of what follows the options.

        Args:
            batch: of the tokenizer.
            rngs: one per example; a row's masking does not depend on the others, nor on the padding.

        Returns:
            New `input_ids` and the `mlm_target_ids`, -100 where nothing was chosen, both of the batch's shape.
        """
        input_ids = batch["input_ids"].clone()
        rates = torch.tensor([rng.choices(MLM_RATES, MLM_RATE_WEIGHTS)[0] for rng in rngs]).unsqueeze(1)
        generators = [torch.Generator().manual_seed(rng.getrandbits(63)) for rng in rngs]
        draws = torch.stack([torch.rand(input_ids.shape[1], 3, generator=generator) for generator in generators])
        place = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)  # among the tokens: padding may come first
        choice, fate, random_token = draws.gather(1, place.unsqueeze(-1).expand_as(draws)).unbind(-1)
        special = torch.isin(input_ids, torch.tensor(self.tokenizer.all_special_ids))
        is_text = (batch["token_type_ids"] == 0) & batch["attention_mask"].bool() & ~special
        chosen = is_text & (choice < rates)
        mlm_target_ids = torch.where(chosen, input_ids, -100)

        random_ids = (random_token * len(self.tokenizer)).long()
        input_ids = torch.where(chosen & (fate < 0.8), self.tokenizer.mask_token_id, input_ids)
        input_ids = torch.where(chosen & (fate >= 0.9), random_ids, input_ids)
        return input_ids, mlm_target_ids


def _rows(values: Sequence[list[float] | None], num_choices: int, missing: float = 0.0) -> torch.Tensor:
    """One row per example, `float32` of shape `(batch_size, num_choices)`: 0 after its options, else `missing`."""
    rows = torch.zeros(len(values), num_choices)
    for row, value in enumerate(values):
        if value is None:
            rows[row] = missing
        else:
            rows[row, : len(value)] = torch.tensor(value, dtype=torch.float)
    return rows


def _check_example(example: Any) -> dict[str, Any]:
    """The example with its options as a list and what it says about them as plain numbers; raises where it is wrong."""
    if not isinstance(example, Mapping):
        raise TypeError(f"`features` must hold dicts, got {type(example).__name__}.")
    if example.get("options") is None:
        raise ValueError("An example has no `options`. Each needs a list of strings there.")
    options = list(check_menu("options", example["options"]))
    checked = {**example, "options": options}
    for name in ("label", "option_probs"):
        value = checked.get(name)
        if value is None:
            continue
        value = value.tolist() if hasattr(value, "tolist") else value  # numpy's and torch's
        if isinstance(value, (list, tuple)):
            if len(value) != len(options):
                raise ValueError(f"`{name}` has {len(value)} entries for {len(options)} options.")
            _check_probabilities(name, value)
            value = list(value)
        elif name == "option_probs" or isinstance(value, bool) or not isinstance(value, int):
            what = "one number per option" if name == "option_probs" else "an integer, or one number per option"
            raise TypeError(f"`{name}` must be {what}, got {value!r}.")
        elif value != -100 and not 0 <= value < len(options):
            raise ValueError(f"`{name}` is {value}, but its example has {len(options)} options.")
        checked[name] = value
    return checked


def _check_probabilities(name: str, values: Sequence[Any]) -> None:
    for value in values:
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:  # NaN is in no range
            raise ValueError(f"`{name}` must be in [0, 1], got {value!r}.")


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
