"""`python -m tests.faults`: inject faults while all doors work, and print the results."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from influxops_devserver import testing
from tests import fork_server
from tests.faults.kinds import kinds
from tests.faults.rounds import run_rounds
from tests.faults.table import table, write_page
from tests.faults.toxiproxy import NoToxiproxy, program


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, default=sys.maxsize, help="stop after so many")
    parser.add_argument(
        "--each", type=int, default=10, help="faults a round that come one after the other"
    )
    parser.add_argument("--pause", type=float, default=20.0, help="seconds that a server pauses")
    parser.add_argument("--only", default="", help="kinds whose name has this")
    parser.add_argument("--json", type=Path, help="write the result to this file, too")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/faults.md")
    parser.add_argument("--keep", type=Path, help="keep all outputs in this folder")
    given = parser.parse_args()
    testing._start = fork_server.start_stand_in
    # What was started and mounted is ended and unmounted, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    chosen = [kind for kind in kinds(given.pause) if given.only in f"{kind.group}: {kind.name}"]
    try:
        program()
    except NoToxiproxy as why:
        parser.exit(2, f"{why}\n")
    result = run_rounds(
        given.seed,
        chosen,
        seconds=60 * given.minutes,
        most_faults=given.faults,
        each=given.each,
        tell=_tell,
        keep=given.keep,
    )
    sys.stdout.write(table(result) + "\n")
    if given.docs:
        write_page(result)
    if given.json is not None:
        given.json.write_text(json.dumps(result.document(), indent=2) + "\n", encoding="utf-8")
    if result.is_good and result.broken:
        return 3  # the harness itself broke
    return 0 if result.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
