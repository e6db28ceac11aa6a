"""Links from the guides to files outside of docs/: right in the repository, and leading to a copy on the site."""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
COPIES = "repository"  # folder of the site that holds the copies
LINK = re.compile(r"(?<=\]\()[^)#\s:]+(?=[)#])")  # the path of a link or picture; no address


def on_files(files, config):
    """Adds every file outside of docs/ that a page links to, and what such a page links to itself."""
    waiting = [ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for path in map(Path.resolve, (page.parent / link for link in LINK.findall(page.read_text(encoding="utf-8")))):
            copy = f"{COPIES}/{os.path.relpath(path, ROOT)}"
            if path.is_file() and not path.is_relative_to(ROOT / "docs") and files.get_file_from_path(copy) is None:
                files.append(File.generated(config, copy, abs_src_path=str(path)))
                waiting += [path] if path.suffix == ".md" else []
    return files


def on_page_markdown(markdown, page, **_):
    """Points links that leave docs/ to the copies; a link to a file that is not there stays, and fails the build."""
    if page.file.src_uri.startswith(COPIES):  # copies lie to one another as the files do
        return markdown
    place = Path(page.file.src_uri).parent

    def moved(link):
        path = (ROOT / "docs" / place / link[0]).resolve()
        if path.is_relative_to(ROOT / "docs") or not path.is_file():
            return link[0]
        return os.path.relpath(Path(COPIES) / path.relative_to(ROOT), place)

    return LINK.sub(moved, markdown)
