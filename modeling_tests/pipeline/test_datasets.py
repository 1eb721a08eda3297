"""Data sets of the `datasets` library go into the pipeline as they are, streaming ones too."""

import pytest
from tiny_models import tiny_model, tiny_tokenizer
from torch.utils.data import ChainDataset, IterableDataset
from transformers.pipelines.pt_utils import KeyDataset

from unimc_hf import UniMCDecisionPipeline, UniMCZeroShotPipeline

datasets = pytest.importorskip("datasets")
LABELS = ["sports", "business"]
ROWS = [{"text": f"sky {i}", "label": i % 2, "id": i} for i in range(700)]


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


class Stream(IterableDataset):
    """PyTorch lets a stream have a length."""

    def __iter__(self):
        return iter(ROWS)

    def __len__(self) -> int:
        return len(ROWS)


@pytest.mark.parametrize("stream", [Stream(), ChainDataset([Stream()])])
def test_a_stream_with_a_length_is_a_stream(classify: UniMCZeroShotPipeline, stream: IterableDataset) -> None:
    assert list(classify(stream, candidate_labels=LABELS)) == classify(ROWS, candidate_labels=LABELS)


@pytest.mark.parametrize("way", ["rows", "column", "KeyDataset", "stream", "stream of a column"])
def test_every_way_gives_all_answers_in_order(classify: UniMCZeroShotPipeline, way: str) -> None:
    dataset = datasets.Dataset.from_list(ROWS)
    inputs = {
        "rows": lambda: dataset,  # whose "text" is read
        "column": lambda: dataset["text"],
        "KeyDataset": lambda: KeyDataset(dataset, "text"),
        "stream": lambda: dataset.to_iterable_dataset(),
        "stream of a column": lambda: dataset.to_iterable_dataset()["text"],
    }[way]()
    results = list(classify(inputs, candidate_labels=LABELS))
    assert [result["sequence"] for result in results] == [row["text"] for row in ROWS]
    some = classify([row["text"] for row in ROWS[::100]], candidate_labels=LABELS)
    for result, expected in zip(results[::100], some, strict=True):
        assert result["labels"] == expected["labels"]
        assert result["scores"] == pytest.approx(expected["scores"], abs=1e-6)


def test_a_stream_is_read_as_its_answers_are_taken(classify: UniMCZeroShotPipeline) -> None:
    read = []

    def endless():
        i = 0
        while True:
            read.append(i)
            yield {"text": f"sky {i}"}
            i += 1

    stream = datasets.IterableDataset.from_generator(endless)
    results = classify(stream, candidate_labels=LABELS)
    assert [next(results)["sequence"] for _ in range(3)] == ["sky 0", "sky 1", "sky 2"]
    assert len(read) <= 1025


def test_answers_can_be_written_as_a_column(classify: UniMCZeroShotPipeline) -> None:
    dataset = datasets.Dataset.from_list(ROWS[:20])

    def label(batch: dict) -> dict:
        return {"best": [answer["labels"][0] for answer in classify(batch["text"], candidate_labels=LABELS)]}

    best = dataset.map(label, batched=True, batch_size=8)["best"]
    assert list(best) == [classify(row["text"], candidate_labels=LABELS)["labels"][0] for row in ROWS[:20]]


def test_decisions_about_a_stream(classify: UniMCZeroShotPipeline) -> None:
    decide = UniMCDecisionPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")
    stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()["text"]
    answers = list(decide(stream, {"red": {"type": "noul", "instructions": "is it red"}}))
    assert len(answers) == 700 and all(0 < answer["red"]["noul"] < 1 for answer in answers)
