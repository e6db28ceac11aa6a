"""The report as one HTML file that needs no network: tables, charts, and a curve explorer.

`data` gathers what the charts draw; the templates beside this file lay it out. A strict Content-Security-Policy names
the one script and the one style by hash; text reaches the page escaped by jinja2 or through `textContent`.
"""

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2

FOLDER = Path(__file__).parent
SCRIPTS = ("chart.js", "explorer.js", "page.js")


def page(title: str, runs: Sequence[dict]) -> bytes:
    """The file.

    Args:
        title: of the page. runs: one per section, with
            `name` (str), `facts` and `warnings` (lists of str), `main` (`render.Table`), `tables` (list of them),
            `data` (JSON-able, see `data.charts`).
    """
    style, script = _read("page.css"), '"use strict";\n' + "\n".join(map(_read, SCRIPTS))
    return (
        _template()
        .render(title=title, runs=runs, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script))
        .encode()
    )


@functools.cache
def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}  # NaN is no JSON
    return environment.from_string(_read("page.html.j2"))


def _hash(text: str) -> str:
    """A source of a Content-Security-Policy: what is between the tags, by its SHA-256."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
