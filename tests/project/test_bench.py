"""`make bench`: each contender is measured and has made what it was asked for, and nothing is lost
where one of them fails or hangs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.cases import CASES, tenants
from bench.contenders import CONTENDERS
from bench.place import SIZES, TOKEN, URLS, find_room
from bench.reached import TARGETS
from bench.values import BARE, Failure, Figure, LeftOut, Run, read
from tests.conftest import GiveStandIn
from tests.integration.servers import NotOurs
from tests.queue.workers import until

ROOT = Path(__file__).parents[2]
#: Cases that end well, fail, hang, and end without a word; each runs in a process of its own.
_CASES = """
import os, sys, time
from pathlib import Path
from bench.__main__ import measure
from bench.cases import Case
from bench.place import SIZES, Place

def well(place, size):
    place.figure("well", "it", "", [1.0])

def partly(place, size):
    def broken():
        raise ValueError("it broke")
    place.in_turns("partly", "", {"broken": broken, "whole": lambda: 2.0}, 1)

def hangs(place, size):
    place.figure("hangs", "before", "", [1.0])
    os.system("sleep 321 & echo $! > sleeping")
    time.sleep(60)

def gone(place, size):
    os._exit(3)

place = Place(None, SIZES["small"])
for run, limit in ((well, 60), (partly, 60), (hangs, 1), (gone, 60), (well, 60)):
    case = Case(run.__name__, run.__name__, run, limit)
    for told in measure(case, 0, place, Path("log")):
        print(told, flush=True)
"""


def bench(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.clients
@pytest.mark.stand_in
def test_every_contender_has_made_the_databases_when_it_is_measured(tmp_path: Path) -> None:
    done = bench("--size", "small", "--output", str(tmp_path), "tenants", "moving")
    assert done.returncode == 0, done.stdout + done.stderr
    run = read(tmp_path / "bench.json")
    for each in CONTENDERS:
        assert run.find(tenants.MISSING, each.name, "3"), each.name
    assert run.find("a move, rows", "influxops move", "2,000")
    assert max(map(len, done.stdout.splitlines())) <= 80
    text = (tmp_path / "bench.txt").read_text()
    assert text.strip() == done.stdout.strip()
    assert "<svg" in (tmp_path / "bench.svg").read_text()


@pytest.mark.clients
@pytest.mark.stand_in
def test_a_real_server_is_measured_up_to_its_limit_and_left_empty(
    stand_in: GiveStandIn, tmp_path: Path
) -> None:
    server = stand_in(with_auth=True)
    variables = {URLS: server.url, TOKEN: server.token}
    done = bench("--size", "small", "--output", str(tmp_path), "status", "exports", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 real InfluxDB 3, 5 databases each" in done.stdout
    assert "left out: 20: the server holds 5 databases" in done.stdout
    assert read(tmp_path / "bench.json").find("an export, rows", "export", "2,000")
    assert server.token not in done.stdout + done.stderr
    assert server.databases() == []


@pytest.mark.stand_in
def test_the_limit_of_a_server_is_found_out_only_where_it_is_empty(stand_in: GiveStandIn) -> None:
    server = stand_in()
    assert find_room(server) == 5
    assert server.databases() == []
    server.create("somebodys")
    with pytest.raises(NotOurs, match="somebodys"):
        find_room(server)
    assert server.databases() == ["somebodys"]


def test_a_case_that_fails_or_hangs_loses_nothing_of_itself_or_of_others(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CASES],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.findall(r"'(figure|failure)': {'(?:table|case)': '(\w+)", done.stdout)
    assert told == [
        ("figure", "well"),
        ("failure", "partly"),
        ("figure", "partly"),
        ("figure", "hangs"),
        ("failure", "hangs"),
        ("failure", "gone"),
        ("figure", "well"),
    ]
    assert "it broke" in done.stdout and "longer than 1 s" in done.stdout
    left = Path("/proc", (tmp_path / "sleeping").read_text().strip())
    until(lambda: not left.exists())  # it was killed; its parent's parent notices that


def a_run() -> Run:
    run = Run({**report.about("small"), "servers": report.servers({})})
    table = tenants.THERE
    run.figures += [
        Figure(table, BARE, "100,000", [0.4, 0.5, 9.0]),
        Figure(table, tenants.OURS, "100,000", [1.4, 1.5, 1.6], beside=BARE, memory=149.0),
        Figure(table, tenants.PLAN, "100,000", [1.5], beside=BARE, memory=149.0),
        Figure(table, tenants.JSON, "100,000", [3.0], beside=BARE, memory=199.0),
    ]
    run.left_out.append(LeftOut(table, "ordinary writes", "100,000", "a second a tenant"))
    return run


def test_medians_ratios_targets_and_what_was_left_out_are_told(tmp_path: Path) -> None:
    run = a_run()
    run.failures.append(Failure("start-up", "influxops --help", "it ended with 1"))
    report.write(run, tmp_path, docs=False)
    assert read(tmp_path / "bench.json") == run
    text = (tmp_path / "bench.txt").read_text()
    assert "influxops ensure        1.50 s 3.00x" in text
    assert "left out: ordinary writes at 100,000: a second a tenant" in text
    assert "met: 100,000: 3.00 times, 149 MB" in text
    assert "MISSED: 100,000: 2.00 times, 199 MB" in text
    assert "FAILED start-up: influxops --help it ended with 1" in text


def test_what_failed_is_told_at_the_end_and_beside_its_table(tmp_path: Path) -> None:
    run = a_run()
    run.failures.append(Failure(f"{tenants.THERE}, 20", "Ansible module", "it ended with 2"))
    run.write(tmp_path / "kept.json")
    done = bench("--from", str(tmp_path / "kept.json"), "--output", str(tmp_path))
    assert done.returncode == 1
    assert "  failed: Ansible module at 20\n" in done.stdout
    first, last = done.stderr.splitlines()
    assert first == f"FAILED {tenants.THERE}, 20: Ansible module it ended with 2"
    assert last == f"1 failed; more is in {tmp_path / 'bench.log'}"


def test_what_was_measured_before_is_written_again_without_measuring(tmp_path: Path) -> None:
    a_run().write(tmp_path / "kept.json")
    done = bench("--from", str(tmp_path / "kept.json"), "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bench.txt").read_text().strip() == done.stdout.strip()


def test_the_page_has_room_for_the_tables_and_shows_the_plot() -> None:
    page = report.DOCS.read_text()
    assert page.count(report._BEGIN) == page.count(report._END) == 1
    assert report.PLOT.exists() and "(images/bench.svg)" in page


def test_each_size_has_all_cases_and_each_target_a_table() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for sizes in SIZES.values():
        assert all(vars(sizes).values())
    assert len({target.work for target in TARGETS}) == len(TARGETS)
    assert json.dumps(report.about("small"))
