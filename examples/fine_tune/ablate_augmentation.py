# /// script
# dependencies = ["unimc_hf[train]"]
# ///
"""
Does augmentation help when there are few labels? Few-shot runs with one kind of augmentation each, several seeds.

    python examples/fine_tune/ablate_augmentation.py examples/fine_tune/results/augmentation_english.json \
        --data train

The file says how: model, sources that the model was not trained on, examples per label, seeds. What has a result is not
run again; delete a result to have it again. The table is written beside the file. `--only NAME` runs one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from transformers import TrainingArguments, set_seed

from unimc_hf import DEFAULT_MODEL, DataCollatorForUniMC, UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline
from unimc_hf.evaluation.classifiers import unimc_classifier
from unimc_hf.evaluation.jsonl_examples import Example, read_jsonl
from unimc_hf.training.backbone import training_dtype
from unimc_hf.training.data_collator import add_distractors
from unimc_hf.training.trainer import UniMCTrainer

WORDINGS = ("{}", "{}", "about {}", "This is {}.", "It has to do with {}.")


def fewer_options(example: Example, rng: random.Random, labels: list[str]) -> Example:
    """Label space: the right option among a random part of the wrong ones."""
    right = example["options"][example["label"]]
    wrong = [option for option in example["options"] if option != right]
    return {**example, "options": [right, *rng.sample(wrong, rng.randint(1, len(wrong)))], "label": 0}


def other_labels(example: Example, rng: random.Random, labels: list[str]) -> Example:
    """Label space: half of the menus get labels of other tasks, as the collator's distractors do."""
    return add_distractors(example, labels, 20, rng) if rng.random() < 0.5 else example


def other_wordings(example: Example, rng: random.Random, labels: list[str]) -> Example:
    """Label space: all options of a menu in another wording."""
    wording = rng.choice(WORDINGS)
    return {**example, "options": [wording.format(option) for option in example["options"]]}


def fewer_words(example: Example, rng: random.Random, labels: list[str]) -> Example:
    """Text: every word is left out with probability .1 (random deletion, Wei and Zou 2019)."""
    words = example["text"].split()
    return {**example, "text": " ".join([word for word in words if rng.random() >= 0.1] or words)}


def swapped_words(example: Example, rng: random.Random, labels: list[str]) -> Example:
    """Text: a tenth of the words change places with another one (random swap, Wei and Zou 2019)."""
    words = example["text"].split()
    for _ in range(len(words) // 10 + 1):
        i, j = rng.randrange(len(words)), rng.randrange(len(words))
        words[i], words[j] = words[j], words[i]
    return {**example, "text": " ".join(words)}


Augmentation = Callable[[Example, random.Random, list[str]], Example]
AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "masked words": None,  # the collator's `mlm=True`
    "other labels": other_labels,
    "fewer options": fewer_options,
    "other wordings": other_wordings,
    "fewer words": fewer_words,
    "swapped words": swapped_words,
}


@dataclass
class AugmentingCollator(DataCollatorForUniMC):
    """The collator with one more thing that is drawn for every example, another one every epoch."""

    augmentation: Augmentation | None = None
    labels: tuple[str, ...] = ()

    def _widen(self, example: Example, rng: random.Random) -> Example:
        return example if self.augmentation is None else self.augmentation(example, rng, list(self.labels))


def few_per_label(examples: list[Example], per_label: int, seed: int) -> list[Example]:
    """The first examples of every label in an order fixed by the seed."""
    found: dict[str, list[Example]] = {}
    for example in random.Random(seed).sample(examples, len(examples)):
        rows = found.setdefault(example["options"][example["label"]], [])
        if len(rows) < per_label:
            rows.append(example)
    return [example for rows in found.values() for example in rows]


def run(name: str, spec: dict[str, Any], source: str, seed: int, pools: dict[str, list[Example]]) -> float:
    """Accuracy on the source's test rows after training on a few of its other rows."""
    rows = random.Random(0).sample(pools[source], len(pools[source]))
    test, rest = rows[: spec["test_rows"]], rows[spec["test_rows"] :]
    labels = dict.fromkeys(
        option for other in spec["sources"] if other != source for e in pools[other] for option in e["options"]
    )
    model_folder = spec["model"] or DEFAULT_MODEL
    tokenizer = UniMCTokenizer.from_pretrained(model_folder)
    set_seed(seed)
    model = UniMCForMultipleChoice.from_pretrained(model_folder, dtype=training_dtype())
    with tempfile.TemporaryDirectory() as folder:
        UniMCTrainer(
            model=model,
            args=TrainingArguments(
                folder,
                remove_unused_columns=False,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                seed=seed,
                dataloader_pin_memory=False,
                **spec["training_arguments"],
            ),
            train_dataset=few_per_label(rest, spec["per_label"], seed),
            data_collator=AugmentingCollator(
                tokenizer,
                mlm=name == "masked words",
                seed=seed,
                augmentation=AUGMENTATIONS[name],
                labels=tuple(labels),
            ),
        ).train()
    scores = unimc_classifier(UniMCZeroShotPipeline(model, tokenizer))(test)
    return round(statistics.mean(row.index(max(row)) == e["label"] for row, e in zip(scores, test)), 4)


def markdown(spec: dict[str, Any]) -> str:
    """Mean accuracy of every augmentation, its difference from none, and how much the seeds differ."""
    sources, results = spec["sources"], spec["results"]
    lines = [
        f"# Augmentation: {spec['per_label']} examples per label, {spec['seeds']} seeds",
        "",
        spec["note"],
        "",
        f"| augmentation | {' | '.join(sources)} | mean | difference | of it by pairs of runs |",
        "|---|" + "---|" * (len(sources) + 3),
    ]
    for name, runs in results.items():
        means = [statistics.mean(runs[source]) for source in sources]
        pairs = [a - b for source in sources for a, b in zip(runs[source], results["none"][source])]
        spread = f"{min(pairs):+.3f} to {max(pairs):+.3f}" if name != "none" else ""
        difference = f"{statistics.mean(pairs):+.3f}" if name != "none" else ""
        cells = [f"{mean:.3f}" for mean in [*means, statistics.mean(means)]]
        lines.append(f"| {name} | {' | '.join(cells)} | {difference} | {spread} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON file of the experiment; results are written into it")
    parser.add_argument("--data", type=Path, required=True, help="folder of the JSONL sources")
    parser.add_argument("--only", choices=tuple(AUGMENTATIONS), nargs="+", help="all that have no result if not given")
    arguments = parser.parse_args()
    spec = json.loads(arguments.file.read_text())
    pools = {source: read_jsonl(arguments.data / f"{source}.jsonl.gz") for source in spec["sources"]}
    for name in arguments.only or AUGMENTATIONS:
        if name in spec["results"]:
            continue
        result = {s: [run(name, spec, s, seed, pools) for seed in range(spec["seeds"])] for s in spec["sources"]}
        spec = json.loads(arguments.file.read_text())  # another run may have written to it
        spec["results"][name] = result
        arguments.file.write_text(json.dumps(spec, indent=1) + "\n")
        if "none" in spec["results"]:
            arguments.file.with_suffix(".md").write_text(markdown(spec))
        print(name, result, flush=True)


if __name__ == "__main__":
    main()
