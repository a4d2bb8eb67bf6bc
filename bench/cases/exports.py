"""An export of a tenant, beside a bare read of the same rows."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.copying import fill
from bench.exporting import lines, zipped
from bench.place import ROOT, Place, Taken, environment, timed
from bench.values import column

TITLE = "an export, rows"
BARE, OURS = "bare read", "export"
SIZE = "size of an export, rows"
ZIPPED = "gzip of JSON lines"


def run(place: Place, rows: int) -> None:
    """Measure both in turns, and the files."""
    script = [sys.executable, str(ROOT / "bench/exporting.py")]
    files: list[float] = []

    def told(*arguments: str) -> Taken:
        found = timed([*script, *arguments], environment(), limit=400)
        return replace(found, seconds=float(found.output))

    def export(url: str) -> Taken:
        with tempfile.TemporaryDirectory() as folder:
            found = told("export", url, folder)
            files.append(sum(each.stat().st_size for each in Path(folder).rglob("*.lp.*")) / 1e6)
            return found

    with place.servers() as (server,):
        fill(server.url, lines(rows))
        measures = {
            BARE: partial(told, "read", server.url),
            OURS: partial(export, server.url),
        }
        place.in_turns(TITLE, column(rows), measures, place.sizes.few, BARE)
        place.figure(SIZE, ZIPPED, column(rows), [zipped(server.url) / 1e6], unit="MB")
        place.figure(SIZE, OURS, column(rows), files, ZIPPED, unit="MB")
