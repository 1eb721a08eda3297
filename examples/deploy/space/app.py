"""The demo: a text, any labels, their scores, the layout that the model sees, and which words moved a score.

`build.py` puts this file, the package and `draw_layout.py` into one folder; run it there.
"""

from __future__ import annotations

import html
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
from draw_layout import draw_layout
from PIL import Image
from transformers import pipeline

from unimc_hf import DEFAULT_MODEL
from unimc_hf.evaluation.word_occlusion import find_words, word_effects

MAX_TEXT, MAX_LABEL, MAX_LABELS = 4000, 200, 50  # characters, characters, how many
MAX_WORDS = 150  # an explanation asks the model once per word
MAX_TOKENS_DRAWN = 48

EXAMPLES = [
    ["The camera is superb, but the battery is empty by noon.", "camera\nbattery\ndelivery", "", True],
    ["Two hours of my life that I will never get back.", "it's great\nit's terrible", "How was the film?", False],
    [
        "I was charged twice for the same ticket.",
        "billing: payments, charges and refunds\ntechnical: errors and crashes",
        "Which team should answer?",
        False,
    ],
]

INTRODUCTION = f"""
# UniMC: classify with any labels

Every label is an option of one multiple-choice question, and all are scored in one pass of a small model.
At most {MAX_TEXT} characters of text and {MAX_LABELS} labels.
"""
ABOUT_LAYOUT = """
Every option stands behind a `[MASK]` of its own, where the model may write *yes*. Options start again at position 1
and cannot see each other, so their order changes nothing (the pipeline sorts them; here they are as you wrote them).
This is who may attend to whom in *your* example, not how strongly the model attends.
"""
ABOUT_WORDS = f"""
Each word is left out in turn and the model is asked again: red words raised the score of the label, blue ones lowered
it; the strongest has the full colour. **What this is not:** a reason. Words that say the same cover for each other and
all look weak, words that only work together each get the whole effect, and a text with a hole may be one the model has
never seen the like of. A score near 0 or 1 hardly moves whatever is left out. At most {MAX_WORDS} words.
"""

# float32: the effects of words are shown to three digits.
classify = pipeline("unimc-zero-shot", model=os.environ.get("MODEL", DEFAULT_MODEL), dtype="float32")


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """What a user typed wrongly is told in words; anything else is a bug and stays one."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # The message is shown as HTML, and may hold what the user typed.
        raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from None


def read_labels(text: str, labels: str, question: str) -> list[str]:
    """The labels, one per line. Raises a `ValueError` where a limit of the demo is passed."""
    names = [line.strip() for line in labels.splitlines() if line.strip()]
    if not text.strip():
        raise ValueError("The text is empty.")
    if len(text) > MAX_TEXT:
        raise ValueError(f"The text has {len(text)} characters, this demo takes {MAX_TEXT}.")
    if len(names) > MAX_LABELS:
        raise ValueError(f"There are {len(names)} labels, this demo takes {MAX_LABELS}.")
    if max(map(len, [question, *names])) > MAX_LABEL:
        raise ValueError(f"A label or the question has more than {MAX_LABEL} characters.")
    return names


def score(text: str, labels: str, question: str, multi_label: bool) -> tuple[dict[str, float], str, dict]:
    """Scores, a note on them, and the labels to explain, best first."""
    with errors_as_messages():
        names = read_labels(text, labels, question)
        result = classify(text, candidate_labels=names, question=question, multi_label=multi_label)
    note = "Each label on its own, from 0 to 1." if multi_label else "One label is right: the scores add up to 1."
    if "num_truncated_tokens" in result:
        note += f" The text is too long: its last {result['num_truncated_tokens']} tokens were not read."
    scores = dict(zip(result["labels"], result["scores"]))
    return scores, note, gr.update(choices=result["labels"], value=result["labels"][0])


def draw(text: str, labels: str, question: str) -> Image.Image:
    """The picture of the layout."""
    with errors_as_messages():
        names = read_labels(text, labels, question)
        figure = draw_layout(classify.tokenizer, text, names, question, max_tokens=MAX_TOKENS_DRAWN)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, bbox_inches="tight")
    return Image.open(buffer)


def explain(
    text: str, labels: str, question: str, multi_label: bool, label: str | None
) -> tuple[list[tuple[str, float | None]], list[list]]:
    """The text in pieces with the share of the strongest effect, and the words with the largest effects."""
    with errors_as_messages():
        names = read_labels(text, labels, question)
        if label is None:
            raise ValueError("Classify the text first, then choose a label to explain.")
        if (count := len(find_words(text))) > MAX_WORDS:
            raise ValueError(f"The text has {count} words, an explanation takes {MAX_WORDS}.")
        effects = word_effects(
            classify, text, label, candidate_labels=names, question=question, multi_label=multi_label
        )
    strongest = max(abs(effect.effect) for effect in effects) or 1.0
    pieces: list[tuple[str, float | None]] = []
    end = 0
    for effect in effects:
        pieces += [(text[end : effect.start], None)] * (effect.start > end)
        pieces.append((effect.word, effect.effect / strongest))
        end = effect.end
    largest = sorted(effects, key=lambda effect: -abs(effect.effect))[:8]
    return pieces, [[effect.word, f"{effect.effect:+.3f}"] for effect in largest]


def build_demo() -> gr.Blocks:
    """The page."""
    with gr.Blocks(title="UniMC", analytics_enabled=False) as demo:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(label="Text", lines=4, value="Shares of the chip maker fell 7 percent on Monday.")
                labels = gr.Textbox(label="Labels, one per line", lines=4, value="business\nsports\nscience")
                question = gr.Textbox(label="Question (may be empty)")
                multi_label = gr.Checkbox(label="Several labels may be right")
                inputs = [text, labels, question, multi_label]
                classify_button = gr.Button("Classify", variant="primary")
            with gr.Column():
                scores = gr.Label(label="Scores", show_heading=False)
                note = gr.Markdown()
        gr.Examples(EXAMPLES, inputs)
        with gr.Tab("Which words moved the score?"):
            gr.Markdown(ABOUT_WORDS)
            with gr.Row():
                label = gr.Dropdown([], label="Label", allow_custom_value=True, scale=4)
                explain_button = gr.Button("Explain")
            pieces = gr.HighlightedText(label="The text", show_legend=False)
            effects = gr.Dataframe(headers=["word", "its effect on the score"], label="Largest effects")
        with gr.Tab("What the model sees"):
            gr.Markdown(ABOUT_LAYOUT)
            layout = gr.Image(label="Layout", format="png", interactive=False, buttons=["fullscreen", "download"])
        # The picture takes longer than the scores, so it comes after them.
        classify_button.click(score, inputs, [scores, note, label], api_name="classify").success(
            draw, [text, labels, question], layout, api_name="layout"
        )
        explain_button.click(explain, [*inputs, label], [pieces, effects], api_name="explain")
    return demo


if __name__ == "__main__":
    # Fonts of the reader's machine: the theme's own would be fetched from elsewhere.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    build_demo().launch(theme=theme)
