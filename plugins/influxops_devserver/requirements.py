"""What the extra ``demo`` brings for a stand-in."""

from __future__ import annotations

import importlib.util

#: By the names that they are imported as.
STAND_IN = ("datafusion", "pyarrow", "starlette", "uvicorn")


def missing(*modules: str) -> list[str]:
    """Return those of these modules that are not installed; none of them is imported."""
    return [name for name in modules if importlib.util.find_spec(name) is None]
