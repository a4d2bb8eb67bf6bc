"""Writes a text into a file of the controller, without the processes that a module takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase  # type: ignore[import-untyped]


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[Any], variables: Any = None, **options: Any) -> list[str]:
        path, text = terms
        Path(path).write_text(text, encoding="utf-8")
        return [""]
