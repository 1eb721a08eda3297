"""What is compared on few examples: UniMC, SetFit, and a linear classifier head, each as a function from training
examples to a classifier that `evaluate` measures."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from few_shot_data import right_class
from fine_tuning import load_for_training, make_collator
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

import unimc_hf
from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example
from unimc_hf.evaluation.metrics import Classifier
from unimc_hf.training.backbone import training_dtype
from unimc_hf.training.trainer import UniMCTrainer, check_training_arguments

ATTEMPTS = 3  # trainings before a collapsed few-shot run gives up, each with half the learning rate
PROBE = 200  # training examples by which a collapse is told
SETFIT_ITERATIONS = 20  # pairs of each kind per example, as in section 3 of Tunstall et al. 2022,
SETFIT_PAIRS = 5120  # fewer where they would be more than these pairs in all


@dataclass
class FewShotSettings:
    """What decides the figures, beside models and data; every field is an argument of the scripts."""

    language: str | None = field(
        default=None, metadata={"help": "english or chinese, for models that do not record it"}
    )
    dtype: str = field(default="auto", metadata={"help": "while training UniMC and the linear head"})
    learning_rate: float = field(default=5e-5, metadata={"help": "of UniMC"})
    linear_learning_rate: float = field(default=5e-5, metadata={"help": "of the linear head and its encoder"})
    setfit_learning_rate: float = field(default=2e-5, metadata={"help": "of SetFit's encoder; its own default"})
    batch_size: int = field(default=8, metadata={"help": "examples a step, SetFit: pairs, twice as many"})
    epochs: int = field(default=20, metadata={"help": "passes over few examples, while they are under --steps steps"})
    least_epochs: int = field(default=3, metadata={"help": "passes over many examples"})
    steps: int = field(default=300, metadata={"help": "see --epochs"})
    max_steps: int = field(default=-1, metadata={"help": "most steps of anything, for a trial"})
    test_rows: int | None = field(default=None, metadata={"help": "test on at most so many rows, drawn by the seed"})

    def num_steps(self, examples: int) -> int:
        """Steps of a training on so many examples."""
        per_epoch = math.ceil(examples / self.batch_size)
        steps = max(min(self.epochs * per_epoch, self.steps), self.least_epochs * per_epoch)
        return steps if self.max_steps < 0 else min(steps, self.max_steps)


@dataclass(frozen=True)
class Contender:
    """
    Args:
        source: folder or Hub name of the model that it starts from.
        fit: (training examples, number of classes, seed) -> (classifier, what is worth noting of the training).
        zero_shot: the classifier without training, where there can be one.
    """

    name: str
    source: str
    parameters: int
    fit: Callable[[list[Example], int, int], tuple[Classifier, dict[str, Any]]]
    zero_shot: Classifier | None = None


def unimc(name: str, settings: FewShotSettings, title: str = "UniMC") -> Contender:
    """A UniMC model, all of whose weights are tuned; nothing is added to them. `title` is what tables call it."""
    loading = {} if settings.language is None else {"language": settings.language}
    pipeline = UniMCZeroShotPipeline(*load_for_inference(name), **loading)
    zero_shot = unimc_classifier(pipeline)

    def fit(train: list[Example], num_classes: int, seed: int) -> tuple[Classifier, dict[str, Any]]:
        """A training that ends worse on its own examples than it began, or that says one class only, has collapsed.
        It is repeated with half the learning rate and another seed; at last there is no training at all."""
        probe = random.Random(seed).sample(train, min(len(train), PROBE))
        several = len({right_class(example) for example in probe}) > 1
        start, _ = _share_right(zero_shot, probe)
        for attempt in range(ATTEMPTS):
            set_seed(seed + 1000 * attempt)
            model, tokenizer = load_for_training(name, settings.language, settings.dtype)
            loss = train_quietly(
                model,
                train,
                settings,
                learning_rate=settings.learning_rate / 2**attempt,
                seed=seed + 1000 * attempt,
                data_collator=make_collator(tokenizer),
            )
            tuned = UniMCZeroShotPipeline(model.float(), tokenizer)
            classifier = unimc_classifier(tuned)
            end, num_answers = _share_right(classifier, probe)
            if math.isfinite(loss) and end >= start and (num_answers > 1 or not several):
                return classifier, {"collapses": attempt}
        return zero_shot, {"collapses": ATTEMPTS}

    source = "the package" if name == unimc_hf.DEFAULT_MODEL else name
    return Contender(title, source, pipeline.model.num_parameters(), fit, zero_shot)


def linear_head(backbone: str, settings: FewShotSettings, title: str = "linear head") -> Contender:
    """`AutoModelForSequenceClassification`: a new linear layer on the encoder, all weights trained."""

    def fit(train: list[Example], num_classes: int, seed: int) -> tuple[Classifier, dict[str, Any]]:
        set_seed(seed)  # the head is drawn at random
        tokenizer = AutoTokenizer.from_pretrained(backbone)
        model = AutoModelForSequenceClassification.from_pretrained(
            backbone, num_labels=num_classes, dtype=torch.float32, attention_probs_dropout_prob=0.0
        ).to(getattr(torch, training_dtype(settings.dtype)))

        def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
            first, second = zip(*(example["pair"] for example in examples))
            batch = tokenizer(
                list(first),
                list(second) if any(second) else None,
                truncation="longest_first",
                max_length=min(tokenizer.model_max_length, 512),
                padding=True,
                pad_to_multiple_of=8,
                return_tensors="pt",
            )
            return {**batch, "labels": torch.tensor([right_class(example) for example in examples])}

        rate = settings.linear_learning_rate
        train_quietly(model, train, settings, learning_rate=rate, seed=seed, data_collator=collate)
        model.float().eval()

        @torch.no_grad()
        def predict(examples: Sequence[Example]) -> np.ndarray:
            order = sorted(range(len(examples)), key=lambda i: sum(map(len, examples[i]["pair"])))
            scores = np.zeros((len(examples), num_classes))
            for start in range(0, len(order), 32):
                chunk = order[start : start + 32]
                batch = collate([examples[i] for i in chunk])
                batch.pop("labels")
                scores[chunk] = model(**{k: v.to(model.device) for k, v in batch.items()}).logits.softmax(-1).cpu()
            return scores

        return _by_option(predict), {}

    return Contender(title, backbone, _count_parameters(backbone), fit)


def setfit(backbone: str, settings: FewShotSettings, title: str = "SetFit") -> Contender:
    """SetFit (Tunstall et al. 2022, arXiv 2209.11055) by its own library: the encoder learns from pairs of examples
    which belong together, then a logistic regression learns the labels. Embeddings are scaled to length 1, as those
    of the published all-MiniLM-L6-v2 are."""
    import setfit as library  # not at the top: the script works without it when it is not asked for
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers import SentenceTransformer

    library.logging.set_verbosity_error()
    disable_progress_bars()

    def fit(train: list[Example], num_classes: int, seed: int) -> tuple[Classifier, dict[str, Any]]:
        set_seed(seed)
        body = SentenceTransformer(backbone, model_kwargs={"dtype": torch.float32})
        model = library.SetFitModel(body, _logistic_regression(), normalize_embeddings=True)
        iterations = max(1, min(SETFIT_ITERATIONS, SETFIT_PAIRS // (2 * len(train))))
        batch_size = 2 * settings.batch_size
        steps = math.ceil(2 * iterations * len(train) / batch_size)
        rows = {"text": [" ".join(e["pair"]) for e in train], "label": [right_class(e) for e in train]}
        with tempfile.TemporaryDirectory() as folder:
            arguments = library.TrainingArguments(
                output_dir=folder,
                batch_size=batch_size,
                num_iterations=iterations,
                max_steps=steps if settings.max_steps < 0 else min(steps, settings.max_steps),
                body_learning_rate=settings.setfit_learning_rate,
                seed=seed,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                logging_first_step=False,
                show_progress_bar=False,
            )
            trainer = library.Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(rows))
            for callback in (ProgressCallback, PrinterCallback):
                trainer.remove_callback(callback)
            trainer.train()
        seen = [int(c) for c in model.model_head.classes_]

        def predict(examples: Sequence[Example]) -> np.ndarray:
            scores = np.zeros((len(examples), num_classes))
            scores[:, seen] = model.predict_proba([" ".join(e["pair"]) for e in examples], as_numpy=True)
            return scores

        return _by_option(predict), {"pairs": 2 * iterations * len(train)}

    return Contender(title, backbone, _count_parameters(backbone), fit)


def load_for_inference(name: str) -> tuple[Any, Any]:
    """Model and tokenizer in float32, as they are."""
    model = unimc_hf.UniMCForMultipleChoice.from_pretrained(name, dtype=torch.float32)
    return model, unimc_hf.UniMCTokenizer.from_pretrained(name)


def train_quietly(
    model: Any, train: list[Example], settings: FewShotSettings, learning_rate: float, seed: int, data_collator: Any
) -> float:
    """Stock `Trainer` without checkpoints, with float32 originals in the optimizer where the parameters are bfloat16;
    returns the mean loss. `model` is a UniMC model or any other."""
    with tempfile.TemporaryDirectory() as folder:
        steps = settings.num_steps(len(train))
        args = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=learning_rate,
            warmup_steps=steps // 10,
            weight_decay=0.01,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),
            remove_unused_columns=False,  # the collators read columns that no `forward` has
        )
        check_training_arguments(args)
        optimizer = UniMCTrainer.get_optimizer_cls_and_kwargs(args, model)
        trainer = Trainer(
            model, args, train_dataset=train, data_collator=data_collator, optimizer_cls_and_kwargs=optimizer
        )
        trainer.remove_callback(PrinterCallback)
        return trainer.train().training_loss


def _share_right(classifier: Classifier, examples: list[Example]) -> tuple[float, int]:
    """(accuracy, number of different classes among the answers)."""
    answers = [int(np.argmax(scores)) for scores in classifier(examples)]
    right = [answer == example["label"] for answer, example in zip(answers, examples)]
    return float(np.mean(right)), len({example["classes"][answer] for answer, example in zip(answers, examples)})


def _by_option(predict: Callable[[Sequence[Example]], np.ndarray]) -> Classifier:
    """Scores of classes -> scores of each example's options, in their order."""
    return lambda examples: [row[e["classes"]].tolist() for row, e in zip(predict(examples), examples)]


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)


def _count_parameters(backbone: str) -> int:
    return AutoModel.from_pretrained(backbone).num_parameters()
