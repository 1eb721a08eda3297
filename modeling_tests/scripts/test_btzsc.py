"""The BTZSC adapter of `examples/`, run through the benchmark's own code on rows in its own format, without the Hub."""

import numpy as np
import pytest

btzsc = pytest.importorskip("btzsc", reason="needs `pip install btzsc`, no dependency of this package")

LABELS = ["This text is about sports.", "This text is about business.", "This text is about cooking."]
TEXTS = {"The striker scored twice in the final.": 0, "Stocks fell sharply.": 1, "Knead the dough for ten minutes.": 2}


@pytest.fixture(scope="module")
def adapter():
    import btzsc_adapter

    return btzsc_adapter.UniMCModel()


@pytest.fixture
def local_rows(monkeypatch):
    """BTZSC's format: one row per pair of text and hypothesis, `labels` 1 where it holds."""
    pairs = [(text, label, int(i == right)) for text, right in TEXTS.items() for i, label in enumerate(LABELS)]
    columns = {name: list(values) for name, values in zip(("text", "hypothesis", "labels"), zip(*pairs))}

    class Rows(dict):
        def __len__(self):
            return len(pairs)

    # The benchmark counts classes up to where the first row's label comes again, which these rows would mislead.
    monkeypatch.setattr("btzsc.data.load_dataset", lambda *args, **kwargs: Rows(columns))
    monkeypatch.setattr("btzsc.data._get_n_classes", lambda labels: len(LABELS))


def test_columns_are_in_the_order_of_the_labels(adapter):
    scores = adapter.predict_scores(list(TEXTS), LABELS)
    assert scores.shape == (3, 3)
    np.testing.assert_allclose(scores.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(adapter.predict_scores(list(TEXTS), LABELS[::-1])[:, ::-1], scores, atol=1e-5)
    assert adapter.predict(list(TEXTS), LABELS).tolist() == list(TEXTS.values())


def test_benchmark_runs_to_its_leaderboard_file(adapter, local_rows, tmp_path):
    results = btzsc.BTZSCBenchmark(tasks=["emotion"]).evaluate(adapter, show_progress=False)
    assert set(results.per_dataset_results) == {"emotiondair", "empathetic"}
    assert results.per_dataset_results["empathetic"]["accuracy"] == 1.0
    payload = results.to_json(tmp_path / "btzsc.json")
    assert payload["model"]["name"].startswith("unimc_hf")
    assert payload["results"]["by_task"]["emotion"]["macro_f1"] == 1.0
    assert results.precision == str(adapter.model.dtype).removeprefix("torch.")
