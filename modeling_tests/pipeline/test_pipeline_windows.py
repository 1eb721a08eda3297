"""`stride`: a text that does not fit is read in overlapping windows, and nothing else changes."""

from typing import Any

import pytest
import torch
from generated_examples import calls, default_pipeline, items
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import WORDS, tiny_model, tiny_tokenizer

from unimc_hf import UniMCZeroShotPipeline
from unimc_hf.token_batches import text_windows

LABELS = ["sports", "business", "red car"]
LONG = " ".join(WORDS * 3)
ROOM = 96 - 9  # what `max_length=96` leaves for text and its [SEP] beside the labels


@pytest.fixture(scope="module")
def classify() -> UniMCZeroShotPipeline:
    return UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu")


def spans_of(text: str) -> list[tuple[int, int]]:
    return tiny_tokenizer()._text_backend()[0].encode(text, add_special_tokens=False).offsets


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("stride", [0, 7, 30])
def test_logits_are_the_mean_of_the_windows(classify: UniMCZeroShotPipeline, stride: int, multi_label: bool) -> None:
    seen: list[torch.Tensor] = []
    arguments: dict[str, Any] = {"question": "what is it about", "text_pair": "the sky", "max_length": 96}
    size = len(LONG.split())
    room = 96 - 9 - 5 - 3 - 1
    answer = classify(LONG, LABELS, stride=stride, multi_label=multi_label, **arguments)
    words, starts = LONG.split(), [0]
    while starts[-1] + room < size:
        starts.append(min(starts[-1] + room - stride, size - room))
    pieces = [" ".join(words[start : start + room]) for start in starts]
    assert len(pieces) > 2 and set(" ".join(pieces).split()) == set(words)
    for piece in pieces:
        request = next(classify._requests([piece], 1, True, candidate_labels=LABELS, question="what is it about",
                                          text_pair="the sky"))  # fmt: skip
        features = classify.preprocess([request], max_length=96)
        assert features["num_truncated_tokens"] == [0]
        batch = {name: torch.tensor(rows) for name, rows in features.items() if name[:3] not in ("num", "own")}
        seen.append(classify.forward(batch)["yes_no_logits"][0])
    yes, no = torch.stack(seen).mean(0).unbind(-1)
    scores = (yes - no).sigmoid() if multi_label else yes.softmax(-1)
    expected = dict(zip(request.labels, scores.tolist()))
    assert dict(zip(answer["labels"], answer["scores"])) == pytest.approx(expected, abs=1e-5)
    assert answer["sequence"] == LONG and answer["num_windows"] == len(pieces)
    assert "num_truncated_tokens" not in answer


def test_all_windows_go_through_the_model_together(
    classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    forward = classify.model.forward
    monkeypatch.setattr(
        classify.model, "forward", lambda **kwargs: sizes.append(len(kwargs["input_ids"])) or forward(**kwargs)
    )
    answers = classify([LONG, "sky", LONG], LABELS, stride=8, batch_size=100)
    assert sum(sizes) == 2 * answers[0]["num_windows"] + 1 and len(sizes) <= 2
    assert answers[0]["labels"] == answers[2]["labels"]
    assert "num_windows" not in answers[1]


@given(texts=st.lists(items, max_size=5), call=calls, stride=st.integers(0, 3))
def test_texts_that_fit_are_scored_the_same(texts: list[dict], call: dict[str, Any], stride: int) -> None:
    classify = default_pipeline("bert")
    fitting = [text for text in texts if "num_truncated_tokens" not in classify(text, **call)]
    assert classify(fitting, **call, stride=stride) == classify(fitting, **call)  # to the last bit
    mixed, plain = classify(texts, **call, stride=stride), classify(texts, **call)
    for got, want in zip(mixed, plain, strict=True):
        if "num_truncated_tokens" in want:
            assert got["num_windows"] > 1 and "num_truncated_tokens" not in got
        else:
            assert dict(zip(got["labels"], got["scores"])) == pytest.approx(
                dict(zip(want["labels"], want["scores"])), abs=1e-6
            )


@given(
    text=st.lists(
        st.sampled_from([*WORDS, "zqx", "unreadable", "[SEP]", "是", "İﬁ", "e\u0301"]), min_size=9, max_size=60
    ).map(" ".join),
    room=st.integers(1, 8),
    data=st.data(),
)
def test_windows_fit_and_leave_nothing_out(text: str, room: int, data: st.DataObject) -> None:
    spans = spans_of(text)
    stride = data.draw(st.integers(0, room - 1))
    pieces = text_windows(text, len(spans) - room, stride, spans_of)
    assert all(len(spans_of(piece)) <= room for piece in pieces)
    position = 0  # every piece is in the text, begins before the last one ended, and ends after it
    for piece in pieces:
        found = [i for i in range(position + 1) if text.startswith(piece, i)]
        assert found, (pieces, piece)
        position = max(found) + len(piece)
        while position < len(text) and text[position] in " \u0301":  # of no token: this tokenizer drops accents
            position += 1
    assert position == len(text)


def test_words_that_are_cut_have_more_tokens_and_still_fit() -> None:
    # "sharplyx" is sharply ##x; cut within, "x" is a word: here every piece has one token more than it should.
    def spans(piece: str) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(len(piece))] + [(len(piece), len(piece))] * (0 < len(piece) < 20)

    pieces = text_windows("abcdefghijklmnopqrst", 15, 2, spans)
    assert all(len(spans(piece)) <= 5 for piece in pieces)
    assert pieces[0] == "abcd" and pieces[-1].endswith("t") and set("".join(pieces)) == set("abcdefghijklmnopqrst")


def test_calibration_comes_after_the_mean(classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    yes = torch.tensor(classify(LONG, LABELS, stride=5)["scores"]).log()
    monkeypatch.setattr(classify.model.config, "softmax_temperature", 2.0)
    assert classify(LONG, LABELS, stride=5)["scores"] == pytest.approx((yes / 2).softmax(-1).tolist(), abs=1e-6)
    groups = classify(LONG, {"a": ["sky", "sun"], "b": ["dog"]}, stride=5)
    assert groups["num_windows"] > 1 and len(groups["groups"]) == 2


def test_stride_can_be_set_once_and_streams(classify: UniMCZeroShotPipeline) -> None:
    preset = UniMCZeroShotPipeline(tiny_model("bert"), tiny_tokenizer(), device="cpu", stride=8)
    expected = classify([LONG, "sky"], LABELS, stride=8)
    assert preset([LONG, "sky"], LABELS) == list(preset(iter([LONG, "sky"]), LABELS)) == expected
    assert preset(LONG, LABELS, stride=None) == classify(LONG, LABELS)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"stride": -1}, ValueError, "`stride` must be at least 0, got -1"),
        ({"stride": True}, TypeError, "`stride` must be an integer, got bool"),
        ({"stride": 1.0}, TypeError, "`stride` must be an integer, got float"),
        ({"stride": "8"}, TypeError, "`stride` must be an integer, got str"),
        ({"stride": 500, "max_length": 96}, ValueError, f"`stride` must be less than the {ROOM - 1} tokens.*got 500"),
        ({"stride": ROOM - 1, "max_length": 96}, ValueError, "`stride` must be less than"),
        ({"stride": 8, "text_pair": LONG}, ValueError, "`text_pair` does not fit"),
    ],
)
def test_bad_strides_raise(
    classify: UniMCZeroShotPipeline, monkeypatch: pytest.MonkeyPatch, arguments: dict, error: type, message: str
) -> None:
    monkeypatch.setattr(classify.model, "forward", lambda **_: pytest.fail("computed before the check"))
    with pytest.raises(error, match=message):
        classify(["sky", LONG], LABELS, **arguments)
