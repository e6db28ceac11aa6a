"""Links of all pages lead to files and headings that are there, and the reference has every public name."""

import re
from pathlib import Path

import pytest

import cat_keras as ck

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "paper_figs/out/README.md")]
PAGES += sorted(path for folder in ("docs", "results") for path in (ROOT / folder).rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in addresses, on the site and in the repository alike."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} is not there"
        assert not heading or heading in anchors(target), f"{link}: no such heading"


def test_the_reference_has_every_public_name():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    headings = set(re.findall(r"^ +heading: (ck\.\w+)$", pages, re.MULTILINE)) | {"ck.training"}
    assert {f"ck.{name}" for name in ck.__all__} == headings
    for name in ck.__all__:
        assert f"`ck.{name}`" in (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")


def test_the_citation_and_the_package_have_one_version():
    lines = {"CITATION.cff": f"version: {ck.__version__}", "pyproject.toml": f'version = "{ck.__version__}"'}
    for name, line in lines.items():
        assert line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert f"## [{ck.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
