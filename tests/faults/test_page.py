"""What a model or a stranger wrote is text in the report; the page's own policy lets nothing else run."""

import base64
import hashlib
import html.parser
import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from benchmarks import report
from benchmarks.report.reading import load
from cat_keras.storage import store
from tests import runs

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
EVIL += "<!-- ]]> {{7*7}} \u2028 & ' \" `"


class Tags(html.parser.HTMLParser):
    """Every tag with its attributes, and what is between those of scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.texts.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.lasttag in ("script", "style") and self.cdata_elem:
            self.texts[-1][2] += data


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory) -> Path:
    """The report of a run in which every text that a stranger could choose is an attack."""
    folder = tmp_path_factory.mktemp("evil")
    method = f"m{EVIL}"
    facts = {"profile": EVIL, "hardware": EVIL, "packages": {EVIL: EVIL}, "missing": [f"{EVIL}/0/sst2"]}
    facts["training"] = {f"{method}/0": {"live": 0.5, "history": {"step": [1], "live": [0.5]}}}
    runs.full(folder, ("sst2", "xsum"), ("xent", method), n=20, ids=EVIL, **facts)
    for name, texts in {"examples": ("prompt", "group"), "predictions": ("text",)}.items():
        path = folder / f"{name}.parquet"
        table = pyarrow.parquet.read_table(path)
        for column in texts:
            table = table.set_column(table.column_names.index(column), column, pyarrow.array([EVIL] * len(table)))
        pyarrow.parquet.write_table(table, path)
    store.write_json(folder / "manifest.json", store.read_json(folder / "manifest.json") | {"files": {}})
    (folder / "report.html").write_bytes(report.Contents(load.load(folder)).page())
    return folder / "report.html"


def test_what_a_model_wrote_makes_no_tag(evil_page):
    page = Tags(evil_page.read_text())
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "audio",
        "video",
        "source",
        "template",
        "portal",
    }
    assert [attributes.get("type") for tag, attributes in page.tags if tag == "script"] == ["application/json", None]
    for _, attributes in page.tags:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "srcdoc", "style", "action")
        ]
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    shown = json.loads(page.texts[1][2])["explorer"][0]["examples"][0]
    assert shown["prompt"].startswith("</script><script>") and shown["large"].startswith("</script>")


def test_the_policy_of_the_page_allows_its_one_script_and_its_one_style(evil_page):
    page = Tags(evil_page.read_text())
    names = [tag for tag, _ in page.tags]
    (policy,) = [
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert names.index("meta") < min(names.index("script"), names.index("style"), names.index("link"))
    rules = {name: sources for name, *sources in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        (own,) = [text for kind, attributes, text in page.texts if kind == tag and not attributes]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[name] == [f"'sha256-{digest}'"]
    assert set(rules) == {"default-src", "base-uri", "form-action", "img-src", "script-src", "style-src"}


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium on the PATH, e.g. apt-get install chromium")
def test_a_browser_runs_nothing_that_was_put_into_the_page(evil_page):
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright, pip install -e .[dev]")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(evil_page.as_uri())
        assert "document.title" in page.locator(".card").first.text_content()  # the attack, as text
        blocked = page.evaluate("""async () => {
            const seen = [];
            document.addEventListener("securitypolicyviolation", (e) => seen.push(e.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
            const image = document.createElement("img");
            image.setAttribute("onerror", "document.title = 'owned'");
            image.src = "data:,";
            document.body.append(image);
            try { await fetch("https://example.org/"); } catch { }
            const frame = document.createElement("iframe");
            frame.src = "https://example.org/";
            document.body.append(frame);
            await new Promise((done) => setTimeout(done, 300));
            return seen;
        }""")
        assert {"script-src-elem", "script-src-attr", "connect-src", "frame-src"} <= set(blocked)
        assert "owned" not in page.title() or page.title().startswith("Report of the run </script>")
        assert page.evaluate("() => document.title") == page.locator("h1").text_content()
        assert not [url for url in asked if not url.startswith(("file:", "data:"))]
        browser.close()
