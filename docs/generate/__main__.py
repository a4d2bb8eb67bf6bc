"""Write the pages of the reference: `make reference`."""

from __future__ import annotations

from docs.generate.pages import FOLDER, generated

for name, text in generated().items():
    (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
