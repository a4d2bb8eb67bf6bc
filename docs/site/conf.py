"""How Sphinx builds the documentation: `make docs`.

Pages are plain Markdown, so that they can be read on a code host and by `influxops docs`, too. The
order of the pages is the order of the lists in index.md.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from influxops import __version__

project = "influxops"
release = version = __version__
project_copyright = "the authors of influxops"
extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["site", "generate"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # Pygments does not know all that nginx takes
myst_heading_anchors = 4
myst_linkify_fuzzy_links = False

html_theme = "pydata_sphinx_theme"
html_title = f"influxops {__version__}"
html_sidebars = {"**": ["contents.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}
html_copy_source = False
html_show_sourcelink = False
templates_path = ["."]

_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_LISTED = re.compile(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)", re.MULTILINE)

_OF_ROOT = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)?(security|changelog|contributing)\.md\)", re.IGNORECASE
)


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    if page == app.config.root_doc:
        for title, text in _SECTION.findall(source[0]):
            if pages := _LISTED.findall(text):
                lines = ["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"]
                source[0] += "\n" + "\n".join(lines) + "\n"
    # Files of the checkout's root are pages, too; MyST would look for them where they really are.
    source[0] = _OF_ROOT.sub(lambda hit: f"{{doc}}`{hit[1]} </{hit[2].lower()}>`", source[0])
    source[0] = source[0].replace("](docs/", "](")


def setup(app: Sphinx) -> None:
    """Let `_read` see each page before it is parsed."""
    app.connect("source-read", _read)
