"""The formats of a file of routes, each with one line for each database."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import asdict

from influxops.plugin import Routes
from influxops_routes import nginx


class Format(Struct, frozen=True):
    """How routes are written, and found again in what was written."""

    #: Of the routes, and the seconds for which a name that is not listed may be too new for them.
    render: Callable[[Routes, float], str]
    is_route: Callable[[str], bool]  # whether a line leads clients to a server
    content: Callable[[str], str] = lambda text: text  # without when it was written

    def routes(self, text: str) -> set[str]:
        """Return the lines of a file that lead clients to a server."""
        # JSON has a comma behind all but the last one.
        return {line.rstrip(",") for line in text.splitlines() if self.is_route(line)}


def _json(routes: Routes, _: float) -> str:
    lines = ",\n".join(f"    {json.dumps(asdict(each))}" for each in routes.routes)
    head = f'{{\n  "version": 2,\n  "route_version": {routes.version},\n  "routes": ['
    return f"{head}\n{lines}\n  ]\n}}\n" if lines else f"{head}]\n}}\n"


def _csv(routes: Routes, _: float) -> str:
    file = io.StringIO()
    names = ("database", "target", "url", "tenant", "reason")
    file.write(",".join(names) + "\n")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([getattr(each, name) for name in names] for each in routes.routes)
    return file.getvalue()


FORMATS: Mapping[str, Format] = {
    "json": Format(_json, lambda line: line.startswith("    {") and '"target": ""' not in line),
    "csv": Format(_csv, lambda line: line.startswith('"') and ',"","",' not in line),
    "nginx": Format(
        nginx.render,
        lambda line: line.startswith("\t") and not line.endswith(f' {nginx.NOWHERE}";'),
        nginx.content,
    ),
}
