"""What the extra ``demo`` brings for a stand-in, and what to type where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import shlex

#: By the names that they are imported as.
STAND_IN = ("datafusion", "pyarrow", "starlette", "uvicorn")


def missing(*modules: str) -> list[str]:
    """Return those of these modules that are not installed; none of them is imported."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def how_to_install(extra: str = "demo") -> str:
    """Return the command that adds extras, with commas, to this installation.

    The package is on no index; pip notes down the folder or the file that it installed.
    """
    import importlib.metadata  # Slow to import, and seldom needed.

    found = importlib.metadata.distribution("influxops").read_text("direct_url.json")
    origin = json.loads(found or "{}")
    url = origin.get("url", "")
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install -e {shlex.quote(url.removeprefix('file://') + '[' + extra + ']')}"
    if url:
        return f"pip install {shlex.quote(f'influxops[{extra}] @ {url}')}"
    return f"pip install '.[{extra}]' in a checkout of influxops"
