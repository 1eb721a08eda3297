"""What the fine-tuning scripts share: the model ready to train, its collator, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from transformers import EvalPrediction

from unimc_hf import DataCollatorForUniMC, UniMCConfig, UniMCForMultipleChoice, UniMCTokenizer
from unimc_hf.evaluation.calibration import Calibration
from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.metrics import option_metrics
from unimc_hf.training.backbone import load_backbone, training_dtype


def load_for_training(
    name: str, language: str | None = None, dtype: str = "auto", frozen: Sequence[str] = (), dropout: float = 0.1
) -> tuple[UniMCForMultipleChoice, UniMCTokenizer]:
    """A UniMC model, a masked language model or a bare encoder, as a UniMC model to train.

    Args:
        name: folder or Hub name.
        language: the words for yes and no, where the model's config does not record it.
        dtype: `"auto"`, `"bfloat16"` or `"float32"`: of the parameters; those of AdamW are float32 either way.
        frozen: parameters whose name holds one of these are not trained.
        dropout: of the hidden states.

    Raises:
        ValueError: if the language is neither recorded nor given.
    """
    config = UniMCConfig.from_pretrained(name)
    language = language or config.language
    if language is None:
        raise ValueError("`language` is needed: this model does not record its words for yes and no.")
    recipe = {
        "language": language,
        "option_mlm_loss": config.option_mlm_loss,
        "hidden_dropout_prob": dropout,
        "frozen": list(frozen),
        "dtype": training_dtype(dtype),
    }
    model, tokenizer = load_backbone(name, recipe)
    # What was fitted and measured on other weights is not known of those to come.
    Calibration().write_to(model.config)
    model.config.prefer_bfloat16 = False
    return model, tokenizer


def make_collator(tokenizer: UniMCTokenizer, max_length: int | None = None, mlm: bool = False, seed: int = 0) -> Any:
    """The collator; lengths are multiples of 8, so that matrix shapes come again."""
    return DataCollatorForUniMC(tokenizer, max_length=max_length, mlm=mlm, pad_to_multiple_of=8, seed=seed)


def probabilities(logits: np.ndarray, examples: Sequence[Example], temperature: float = 1.0) -> list[list[float]]:
    """The softmax over each example's own options; `Trainer` pads menus of different batches with -100."""
    rows = [row[: len(example["options"])] / temperature for row, example in zip(logits, examples, strict=True)]
    exponentials = [np.exp(row - row.max()) for row in rows]
    return [(row / row.sum()).tolist() for row in exponentials]


def metrics_by_source(
    examples: Sequence[Example], per_class: bool = False, temperature: float = 1.0
) -> Callable[[EvalPrediction], dict[str, float]]:
    """A `compute_metrics` for examples in this order: those of [`option_metrics`], and where they come from several
    data sets, the means of all and those of each.

    Raises:
        ValueError: if an example has no label, or several right options.
    """
    for example in examples:
        if not isinstance(example["label"], (int, np.integer)):
            raise ValueError(f"Evaluation needs one right option; an example has the `label` {example['label']!r}.")
    sources = list(dict.fromkeys(example["source"] for example in examples))

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        scores = probabilities(np.asarray(prediction.predictions), examples, temperature)
        figures: dict[str, dict[str, float]] = {}
        for source in sources:
            rows = [i for i, example in enumerate(examples) if example["source"] == source]
            figures[source] = option_metrics([examples[i] for i in rows], [scores[i] for i in rows], per_class)
        if len(sources) == 1:
            return figures[sources[0]]
        means = {
            name: float(np.mean([figures[source][name] for source in sources]))
            for name in ("accuracy", "macro_f1", "calibration_error")
        }
        return means | {f"{source}_{name}": value for source in sources for name, value in figures[source].items()}

    return compute
