"""Measure influxops beside what else gives tenants their databases: `make bench`.

One run on one machine: contenders take turns on the same PostgreSQL and the same server, medians
are compared. Each case is a process of its own with a time limit, so that one that fails or hangs
loses nothing of the others. Without INFLUXOPS_BENCH_INFLUXDB_URL servers are stand-ins. It ends
with 1 where a case or a contender failed; a target that is missed is only told.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report, shape
from bench.cases import CASES, Case
from bench.place import ROOT, SIZES, TOKEN, URLS, Place, Unfit, find_room
from bench.values import Failure, LeftOut, Run, column, read, reason
from influxops_devserver.postgres import embedded_postgres
from tests.integration.servers import Influx

#: A process for each case: PostgreSQL and what is imported are there already.
_CONTEXT = multiprocessing.get_context("fork")
#: Seconds for a case that is to end.
_GRACE = 20.0


def _work(case: Case, size: int, place: Place, out: Connection, log: Path) -> None:
    """Measure a case, in a process and a session of its own."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # leaves what is open
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

    def say(kind: str, value: Any) -> None:
        out.send({kind: asdict(value)})

    try:
        case.run(replace(place, say=say), size)
    except Unfit as error:
        say("left_out", LeftOut(case.title, "", column(size) if size else "", str(error)))
    except Exception as error:
        traceback.print_exc()
        say("failure", Failure(case.label(size), "", reason(error)))
    out.close()


def measure(case: Case, size: int, place: Place, log: Path) -> Iterator[dict[str, Any]]:
    """Yield what a case tells; it is ended after its limit."""
    inner, outer = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(case, size, place, outer, log))
    end = time.monotonic() + case.limit
    process.start()
    outer.close()
    told_failure = False
    try:
        while inner.poll(max(0.0, end - time.monotonic())):
            with contextlib.suppress(EOFError):
                told = inner.recv()
                told_failure |= "failure" in told
                yield told
                continue
            process.join()
            if process.exitcode and not told_failure:
                why = f"it ended with {process.exitcode}"
                yield {"failure": asdict(Failure(case.label(size), "", why))}
            return
        why = f"it took longer than {case.limit} s"
        yield {"failure": asdict(Failure(case.label(size), "", why))}
    finally:
        _end(process)


def _end(process: Any) -> None:
    """End a case, and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.is_alive() and process.pid:
            process.terminate() if number == signal.SIGTERM else process.kill()
            process.join(_GRACE)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def rooms() -> dict[str, int]:
    """Find out how many databases each real server holds."""
    urls = [url.strip().rstrip("/") for url in os.environ.get(URLS, "").split(",") if url.strip()]
    return {url: find_room(Influx(url, os.environ.get(TOKEN, ""))) for url in urls}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument(
        "case", nargs="*", help=f"of {', '.join(names)}, or shape, which counts lines and modules"
    )
    parser.add_argument("--size", choices=SIZES, default="full", help="small takes a minute")
    parser.add_argument("--base", metavar="PYTHON", default="", help="of another checkout")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="the folder [build]")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md, too")
    parser.add_argument("--from", dest="earlier", type=Path, help="measure nothing: read this JSON")
    parser.add_argument("--names", action="store_true", help="for shape: list what is counted")
    options = parser.parse_args()
    if options.case == ["shape"]:
        shape.main(names=options.names)
        return 0
    if unknown := {*options.case} - {*names}:
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    run = read(options.earlier) if options.earlier else Run(report.about(options.size))
    try:
        if not options.earlier:
            signal.signal(signal.SIGTERM, _interrupt)
            measure_all(run, options)
    except KeyboardInterrupt:
        run.failures.append(Failure("all", "", "it was interrupted"))
        tell_failures(run, options.output)
        report.write(run, options.output, docs=False)
        return 130
    print(report.text(run) if options.earlier else report.targets(run), flush=True)
    report.write(run, options.output, docs=options.docs)
    tell_failures(run, options.output)
    return 1 if run.failures else 0


def tell_failures(run: Run, folder: Path) -> None:
    """Say at the very end what failed, and why."""
    for failed in report.failures(run):
        print(failed, file=sys.stderr)
    if run.failures:
        print(f"{len(run.failures)} failed; more is in {folder / 'bench.log'}", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure_all(run: Run, options: argparse.Namespace) -> None:
    """Measure the cases that were asked for, and print each table once it is whole."""
    began, sizes, log = time.monotonic(), SIZES[options.size], options.output / "bench.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    given = {"autovacuum": "off", "scram_iterations": "1", "max_wal_size": "4GB"}
    with embedded_postgres(options=given) as postgres:
        place = Place(postgres, sizes, options.base, rooms())
        run.about["servers"] = report.servers(place.rooms)
        print(report.head(run), flush=True)
        for case in CASES:
            if options.case and case.name not in options.case:
                continue
            shown = {*run.tables()}
            for size in case.sizes(place):
                start = time.monotonic()
                for told in measure(case, size, place, log):
                    run.add(told)
                took = time.monotonic() - start
                print(f"{case.label(size)}: {took:.0f} s", file=sys.stderr, flush=True)
                run.write(options.output / "bench.json")
            for table in run.tables():
                if table not in shown:
                    print(report.table(run, table), flush=True)
    run.about["seconds"] = round(time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
