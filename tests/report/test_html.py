"""The HTML report in a browser: it is clicked through without a network, and what a model wrote is text in it."""

import json
import re
import shutil

import numpy as np
import pytest
from rich.console import Console
from test_report import METHODS, hand, realistic

from benchmarks import report
from benchmarks.keeping import keep
from benchmarks.report.numbers import summary
from benchmarks.report.page import html
from benchmarks.report.page.html import data
from benchmarks.report.plots import drawing
from benchmarks.report.reading import load
from benchmarks.report.tables.render import Table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
EVIL = '<script>document.title="owned"</script></script><img src=x onerror="document.title=\'owned\'"> & "q" \u2028'
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


def island(page: bytes) -> dict:
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" class="data">(.*?)</script>', page.decode())[1])


def written(folder) -> bytes:
    return report.Contents(load.load(folder)).page()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return realistic(tmp_path_factory.mktemp("report") / "run", say=EVIL)


@pytest.fixture(scope="module")
def page_path(run_folder):
    path = run_folder / "report.html"
    path.write_bytes(written(run_folder))
    return path


def test_one_file_without_network_and_with_all_text_escaped(page_path):
    text = page_path.read_text()
    assert "<script>document.title" not in text and "<img" not in text and "\u2028" not in text
    assert text.count("<script") == text.count("</script>") == 2  # one of data, one of code
    assert re.search(r"default-src 'none'; style-src 'sha256-.{44}'; script-src 'sha256-.{44}'", text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", re.sub(r'class="data">.*?</script>', "", text))
    assert island(text.encode())["explorer"][0]["examples"][0]["large"].startswith("<script>")


def test_table_cells_are_escaped():
    table = Table("<b>title</b>", ("<i>a</i>",), (("<u>row</u>",),), notes=("<s>note</s>",))
    run = {"name": "<h1>", "facts": ["<p>"], "warnings": ["<q>"], "main": table, "tables": [], "data": {}}
    text = html.page("<title>", [run]).decode()
    for name in ("b", "i", "u", "s"):
        assert f"&lt;{name}&gt;" in text and f"<{name}>" not in text
    assert "&lt;h1&gt;" in text and "&lt;q&gt;" in text and "<title>&lt;title&gt;</title>" in text


def test_texts_are_shortened_in_the_middle():
    assert data.shortened("as it is", 8) == "as it is"
    long = data.shortened("x" * 500 + "\nAnswer:\n", 100)
    assert len(long) == 100 and long.endswith("\nAnswer:\n") and " … " in long


def test_large_runs_show_an_even_sample(page_path, run_folder, monkeypatch):
    monkeypatch.setattr(data, "ANSWERS", 0)
    monkeypatch.setattr(data, "SAMPLE", 10)
    monkeypatch.setattr(data, "SAMPLES", 9)
    task = island(written(run_folder))["explorer"][0]
    assert task["note"] == "An even sample of 10 of 40 examples."
    assert len(task["examples"]) == 3 and [e["id"] for e in task["examples"]] == ["test-0", "test-17", "test-39"]


@pytest.mark.slow
def test_kept_results_show_numbers_in_place_of_texts(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "files", lambda *arguments: {})
    keep.keep(run_folder, tmp_path / "kept")
    page = written(tmp_path / "kept")
    example = island(page)["explorer"][0]["examples"][0]
    assert example == {"at": 0, "id": "test-0", "group": "easy"} and b"owned" not in page


def test_two_runs_on_one_page(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "files", lambda *arguments: {})
    folders = [hand(tmp_path / name / "tiny") for name in ("a", "b")]
    page = report.build_many(folders, tmp_path, Console(quiet=True))
    text = page.read_text()
    assert page == tmp_path / "report.html" and text.count('<section class="run"') == 2
    assert '<a href="#run-1">a/tiny</a>' in text and '<a href="#run-2">b/tiny</a>' in text
    assert (folders[0] / "report.html").is_file()


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("needs a Chromium on the PATH, e.g. apt-get install chromium")
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright, pip install -e .[dev]")
    # The driver speaks to Chromium through pipes; only its event loop wants a socket pair of this process.
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, page_path):
    """Opens the report; at the end nothing may have been complained about or asked of a network."""
    contexts, complaints, requests = [], [], []

    def go(path=page_path, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"} and len(requests) <= 2 * len(contexts)


def readout(page) -> dict[str, str]:
    return page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.readout div')].map("
        "row => [row.children[0].textContent, row.children[1].textContent]))"
    )


def number(text: str) -> float:
    return float(re.match(r"[−\d.]+", text)[0].replace("−", "-"))


@pytest.mark.slow
def test_sorting_a_table(open_page):
    page = open_page()
    column = "() => [...document.querySelector('table').tBodies[0].rows].map(row => row.cells[6].textContent)"
    before, button = page.evaluate(column), page.get_by_role("button", name="AUDC", exact=True).first
    orders = []
    for _ in range(3):
        button.press("Enter")  # from the keyboard
        orders.append([float(text.split()[0]) for text in page.evaluate(column)])
    assert orders[0] == sorted(orders[0], reverse=True) and orders[1] == sorted(orders[0])
    assert page.evaluate(column) == before
    assert page.locator("th[aria-sort=none]").first.is_visible()
    assert page.evaluate("() => document.querySelector('.references').rows.length") > 0


@pytest.mark.slow
def test_exploring_a_curve(open_page, run_folder):
    page = open_page()
    page.get_by_role("combobox", name="Task").select_option(label="wmt22_deen")
    page.get_by_role("combobox", name="Method").select_option("cat-xent")
    page.get_by_role("combobox", name="Rule").select_option("chow-sum")
    cell = summary.summarize(load.load(run_folder)).cells["cat-xent", 0, "wmt22_deen"]
    curve = cell.curve("chow-sum")
    slider = page.get_by_role("slider", name="Threshold")
    for at in (0, 7, len(curve.threshold) - 1):
        slider.evaluate(
            "(slider, at) => { slider.value = at; slider.dispatchEvent(new Event('input', {bubbles: true})); }", at
        )
        shown = readout(page)
        assert number(shown["Deferred"]) == pytest.approx(100 * curve.deferral_rate[at], abs=0.06)
        assert number(shown["Quality × 100"]) == pytest.approx(100 * curve.quality[at], abs=0.006)
        assert number(shown["Cost"]) == pytest.approx(curve.cost[at] / 1e6, rel=1e-3) and "MFLOP" in shown["Cost"]
        assert number(shown["AUDC × 100"]) == pytest.approx(100 * curve.audc, abs=0.006)
        if 0 < at < len(curve.threshold) - 1:
            assert number(shown["Defer"].removeprefix("score < ")) == pytest.approx(curve.threshold[at], rel=1e-3)
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert readout(page)["Deferred"].endswith(f"({round(curve.deferral_rate[1] * 40)} of 40)")
    assert "deferred, quality" in slider.get_attribute("aria-valuetext")


@pytest.mark.slow
def test_examples_lie_on_their_side_of_the_threshold(open_page):
    page = open_page()
    page.locator(".curve").scroll_into_view_if_needed()
    box = page.locator(".curve").bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.up()
    tau = number(readout(page)["Defer"].removeprefix("score < "))
    assert 30 < number(readout(page)["Deferred"]) < 70
    for side, keeps in (("kept", np.greater_equal), ("deferred", np.less)):
        cards = page.locator(f".cards.{side} .card .who:first-child").all_text_contents()
        scores = [number(text.split("score ")[1]) for text in cards if "score" in text]
        assert scores and keeps(scores, tau + (-1e-3 if side == "kept" else 1e-3)).all()


@pytest.mark.slow
def test_what_a_model_wrote_is_shown_not_run(open_page):
    page = open_page()
    assert "<script>document.title" in page.locator(".card").first.text_content()
    assert page.title() == "Report of the run tiny"
    assert page.evaluate("() => document.querySelectorAll('main img, main script:not(.data)').length") == 0


@pytest.mark.slow
def test_overview(open_page):
    page = open_page()
    drawn = "() => document.querySelector('.overview .chart').outerHTML"
    seen = {page.evaluate(drawn)}
    page.get_by_role("combobox", name="Average over").select_option(label="task: sst2")
    seen.add(page.evaluate(drawn))
    page.get_by_role("combobox", name="Against").select_option(label="FLOPs per query")
    seen.add(page.evaluate(drawn))
    page.get_by_role("button", name="oracle").click()
    seen.add(page.evaluate(drawn))
    page.get_by_role("combobox", name="Show").select_option(label="quality × 100 minus xent")
    assert page.get_by_role("combobox", name="Against").is_disabled()
    seen.add(page.evaluate(drawn))
    page.get_by_role("combobox", name="Show").select_option(label="quality × 100")
    assert len(seen) == 5 and "MFLOP" in page.locator(".overview .chart").text_content()
    assert page.get_by_role("button", name="oracle").get_attribute("aria-pressed") == "false"
    assert page.locator(".training .chart .line").count() == len(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["sst2", "sst2 cola"])
def test_a_page_without_some_or_all_curves(open_page, tmp_path, gone):
    folder = hand(tmp_path, lambda row: row["model"] == "small" and row["task"] in gone)
    (folder / "report.html").write_bytes(written(folder))
    page = open_page(folder / "report.html")
    assert page.locator("table").first.is_visible() and "Missing: xent/0/sst2" in page.content()
    assert page.locator(".overview").is_visible() == page.locator(".explorer").is_visible() == (gone == "sst2")


@pytest.mark.slow
def test_light_dark_phone_and_paper(open_page):
    ground = "() => getComputedStyle(document.body).backgroundColor"
    page = open_page(color_scheme="dark")
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)" != dark
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) == dark
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)" and page.locator(".slider").is_hidden()
    assert page.locator("table").first.is_visible() and len(page.pdf()) > 10_000
    phone = open_page(**PHONE)
    sizes = phone.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert sizes == [360, 360]
    assert phone.locator(".curve").bounding_box()["width"] > 300
