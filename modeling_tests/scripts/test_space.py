"""The demo as a Space runs it: its folder on its own, in a process of its own, used by a program and in a browser.

Needs gradio and matplotlib; the browser test playwright and Debian's chromium. Screenshots are left in
`$CI_ARTIFACTS`, or in `unimc-space` under the system's temporary folder.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import EXAMPLES, ROOT

pytest.importorskip("gradio", reason="needs gradio: pip install -r examples/deploy/space/requirements.txt")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install -r examples/deploy/space/requirements.txt")

SPACE = EXAMPLES / "deploy" / "space"
CHROMIUM = shutil.which("chromium")
ARTIFACTS = Path(os.environ.get("CI_ARTIFACTS") or Path(tempfile.gettempdir()) / "unimc-space")
SECONDS_TO_START = 120


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("space") / "demo"
    subprocess.run([sys.executable, SPACE / "build.py", folder], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Neither the checkout nor an installed package: the folder must be enough.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.update(GRADIO_SERVER_PORT=str(port), GRADIO_TEMP_DIR=str(folder / "tmp"))
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(SECONDS_TO_START):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        else:
            pytest.fail(log.read_text())
        yield address
        assert "Traceback" not in log.read_text()
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_its_requirements_are_those_of_the_package() -> None:
    declared = re.search(r"^dependencies = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    dependencies = set(re.findall(r'"(.+?)"', declared[1])) if declared else set()
    assert dependencies and dependencies <= set((SPACE / "requirements.txt").read_text().splitlines())
    header = re.match(r"---\n(.*?)\n---\n", (SPACE / "README.md").read_text(), flags=re.DOTALL)
    assert header and {"sdk: gradio", "app_file: app.py"} <= set(header[1].splitlines())


def test_answers_and_messages(url: str) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(url, verbose=False, analytics_enabled=False)
    arguments = ("Stocks fell sharply.", "sports\nbusiness", "", False)
    scores, note, choices = client.predict(*arguments, api_name="/classify")
    assert scores["label"] == "business"
    assert sum(entry["confidence"] for entry in scores["confidences"]) == pytest.approx(1)
    assert "add up to 1" in note
    assert choices["value"] == "business"
    pieces, largest = client.predict(*arguments, "business", api_name="/explain")
    assert [piece["token"] for piece in pieces] == ["Stocks", " ", "fell", " ", "sharply."]
    assert max(abs(piece["class_or_confidence"] or 0) for piece in pieces) == 1
    assert len(largest["data"]) == 3

    wrong = {
        "The text is empty": (" ", "a\nb", "", False),
        "4001 characters": ("x" * 4001, "a\nb", "", False),
        "51 labels": ("x", "\n".join(map(str, range(51))), "", False),
        "more than 200 characters": ("x", "a\n" + "b" * 201, "", False),
        "repeats &#x27;a&#x27;": ("x", "a\na", "", False),
        "is empty": ("x", "", "", True),
    }
    for message, values in wrong.items():
        with pytest.raises(AppError, match=re.escape(message)):
            client.predict(*values, api_name="/classify")
    with pytest.raises(AppError, match="151 words"):
        client.predict("x " * 151, "a\nb", "", False, "a", api_name="/explain")
    with pytest.raises(AppError, match="none of the labels"):
        client.predict(*arguments, "music", api_name="/explain")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
def test_in_a_browser(url: str) -> None:
    """Type, click, read; nothing outside this machine is asked for anything that the page needs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 2400})
        page.set_default_timeout(60_000)
        outside: list[str] = []

        def only_this_machine(route: playwright.Route) -> None:
            if route.request.url.startswith((url, "data:", "blob:")):
                route.continue_()
            else:
                outside.append(route.request.url)
                route.abort()

        page.route("**/*", only_this_machine)
        page.goto(url)
        page.get_by_label("Text", exact=True).fill("The striker scored twice in the final.")
        page.get_by_label("Labels, one per line").fill("business\nsports\n<i>music</i>")
        page.get_by_label("Question").fill("What is it about?")
        page.get_by_role("button", name="Classify").click()
        page.get_by_text("the scores add up to 1").wait_for()
        bars = page.locator(".confidence-set").all_inner_texts()
        assert len(bars) == 3 and bars[0].startswith("sports")
        assert any("<i>music</i>" in bar for bar in bars)
        page.get_by_role("button", name="Explain").click()
        page.get_by_text(re.compile(r"^\+0\.\d{3}$")).filter(visible=True).first.wait_for()
        assert page.get_by_text("striker", exact=True).filter(visible=True).count() == 2  # in the text, in the table
        page.screenshot(path=ARTIFACTS / "space-words.png", full_page=True)

        page.get_by_role("tab", name="What the model sees").click()
        picture = page.locator("img[src*='/file=']")
        picture.wait_for()
        page.wait_for_function("image => image.naturalWidth > 300", arg=picture.element_handle())
        page.screenshot(path=ARTIFACTS / "space-layout.png", full_page=True)

        page.get_by_label("Several labels may be right").check()
        page.get_by_role("button", name="Classify").click()
        page.get_by_text("Each label on its own").wait_for()

        page.get_by_label("Labels, one per line").fill("<b>same</b>\n<b>same</b>")
        page.get_by_role("button", name="Classify").click()
        page.get_by_text("repeats '<b>same</b>': options must differ").wait_for()
        assert "Traceback" not in page.content()
        page.screenshot(path=ARTIFACTS / "space-message.png", full_page=True)
        browser.close()
    assert outside == []


def test_the_picture_is_that_of_the_example() -> None:
    import draw_layout
    from tiny_models import tiny_tokenizer

    figure = draw_layout.draw_layout(tiny_tokenizer(), "stocks fell $5 and $6", ["red", "blue car"], "what")
    axes = figure.axes[0]
    tokens = [label.get_text() for label in axes.get_xticklabels()]
    assert tokens[:7] == ["[CLS]", "[MASK]", "red", "[MASK]", "blue", "car", "[SEP]"]
    cells = axes.collections[0].get_array().reshape(len(tokens), len(tokens))
    assert cells[1:3, 3:6].max() == 0 == cells[3:6, 1:3].max()  # options do not see each other
    assert cells[0].min() > 0 and cells[6:].min() > 0  # the rest sees everything
    figure.canvas.draw()

    part = draw_layout.draw_layout(tiny_tokenizer(), "stocks fell", ["red", "blue car"], max_tokens=4)
    assert len(part.axes[0].get_xticklabels()) == 4
    assert "(the first 4 of 10 tokens)" in part.axes[0].get_xlabel()
