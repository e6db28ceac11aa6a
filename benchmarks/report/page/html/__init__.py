"""The report as one HTML file that needs no network: tables, charts, and a curve explorer.

`data` gathers what the charts draw; the template, the style and the scripts beside this file lay it out. A strict
Content-Security-Policy names the one script and the one style by their hashes, so that nothing else can run. Text
reaches the page only escaped by jinja2 or through `textContent`.
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
        title: of the page. runs: one per section, with `name` (str), `facts` and `warnings` (lists of str), `main` (a
            `render.Table`), `tables` (a list of them) and `data` (JSON-able, see `data.charts`).
    """
    style = _read("page.css")
    script = '"use strict";\n' + "\n".join(map(_read, SCRIPTS))
    text = _template().render(
        title=title, runs=runs, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script)
    )
    return text.encode()


@functools.cache
def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}  # NaN is not JSON
    return environment.from_string(_read("page.html.j2"))


def _hash(text: str) -> str:
    """How a Content-Security-Policy names a script or style: by the SHA-256 of what stands between its tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
