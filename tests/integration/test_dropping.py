"""Dropping old copies that somebody still writes to: the real command line, PostgreSQL, stand-ins.

What is counted: rows whose write was answered 204 before the drop of their database began, which is
when the server is asked for it. Every one of them has to be on the tenant's new place.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.conftest import GiveStandIn, StartProxy, targets_toml
from tests.integration.command import Cli
from tests.integration.old_copies import PATIENCE, Stage, Writer, until
from tests.integration.proxy import Answer, Seen
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\n'
#: How often a writer stops at another moment of `retire --due`; more are a matter of patience.
RUNS = int(os.environ.get("INFLUXOPS_TEST_DROPS", "2"))
TENANTS = [f"t{number}" for number in range(max(RUNS, 8))]
log = logging.getLogger(__name__)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    cli: Cli,
    db: TestDatabase,
    stand_in: GiveStandIn,
    proxied: StartProxy,
) -> Iterator[Stage]:
    flush = {"wal_flush_interval": request.param} if hasattr(request, "param") else {}
    eu1, eu2 = stand_in(max_databases=None, **flush), stand_in(max_databases=None)
    proxy = proxied(eu1)
    db.registry(*TENANTS)
    targets = targets_toml({"eu2": eu2, "eu1": proxy}, LEDGER)
    cli.config(targets.replace("[targets.eu2]\n", '[targets.eu2]\ncapacity = "unlimited"\n'))
    assert cli("ensure").code == 0
    assert eu1.databases() == []
    made = Stage(cli, db, eu1, eu2, proxy)
    proxy.before, proxy.after = made.see, made.see_answer
    yield made


@pytest.mark.faults
def test_rows_that_were_answered_before_the_drop_began_are_on_the_new_place(stage: Stage) -> None:
    dice = random.Random(15)
    sent = kept = lost = runs = 0
    for tenant in TENANTS[:RUNS]:
        stage.old_copies(tenant)
        codes: list[int] = []
        with Writer(stage.eu1, tenant) as writer:
            timer = threading.Timer(dice.uniform(0, 5), writer.over.set)
            timer.start()
            while stage.left(tenant):
                options = ["--allow", "late-writes"] if len(codes) > 3 else []
                if options:
                    writer.over.wait()
                codes.append(stage.due(*options).code)
                assert len(codes) < 6
            timer.cancel()
        gone = stage.lost(writer)
        rows = stage.rows(tenant)
        log.info(
            "%s: exit codes %s, %d sent, %d there, lost: %s",
            tenant,
            codes,
            len(writer.answered),
            rows,
            gone or 0,
        )
        sent, kept, lost = sent + len(writer.answered), kept + rows, lost + len(gone)
        runs += len(codes)
        assert writer.database in stage.began
        assert codes[-1] == 0
    log.info("%d runs, %d tenants: %d sent, %d there, %d lost", runs, RUNS, sent, kept, lost)
    assert lost == 0


@pytest.mark.parametrize("stage", ["1s"], indirect=True)
def test_rows_that_were_acknowledged_and_are_not_visible_yet_are_found_by_the_last_pass(
    stage: Stage,
) -> None:
    stage.old_copies("t0")
    looks: list[bool] = []

    def write(seen: Seen) -> Answer:
        # Before a look of the first pass, which does not find it: the next flush comes later.
        if b'FROM \\"telemetry\\"' in seen.body:
            looks.append(True)
            if len(looks) == 1:
                line = f"telemetry,device=late temp=2 {time.time_ns()}"
                path = "/api/v3/write_lp?db=telemetry_t0&precision=auto&no_sync=true"
                assert stage.eu1.request("POST", path, body=line.encode()).status == 204
        return stage.see(seen)

    stage.proxy.before = write
    done = stage.due()
    assert done.code == 1, done.all
    assert "1 row (telemetry 1) came late" in done.out
    assert stage.began == {}
    sql = "SELECT temp FROM telemetry WHERE device = 'late'"
    assert stage.eu2.rows("telemetry_t0", sql) == [{"temp": 2.0}]


def test_one_that_is_written_to_without_an_end_is_held_until_late_writes_are_allowed(
    stage: Stage,
) -> None:
    stage.old_copies("t0")
    with Writer(stage.eu1, "t0") as writer:
        for number in (1, 2):
            done = stage.due()
            log.info(done.out)
            assert done.code == 1
            assert "came late to its old copy on eu1: copied to eu2" in done.out
            assert f"(postponed {number} of 3 times)" in done.out
            assert "rows (m " in done.out
        done = stage.due()
        log.info(done.out)
        assert done.code == 1
        assert "still written to on eu1: " in done.out
        assert "rows a second" in done.out
        assert "--allow late-writes" in done.out
        done = stage.due()
        log.info(done.out)
        assert done.code == 4
        assert "refused by the guard late-writes: still written to on eu1" in done.out
        assert stage.began == {}
        assert stage.left("t0") == ["t0"]
        assert stage.lost(writer) == []

        done = stage.due("--allow", "late-writes")
        log.info(done.out)
        # What still writes makes the database again at once: that is reported, and stays known.
        assert done.code == 1
        assert "it was dropped, and exists again: something probably still writes to it" in done.out
        assert "telemetry_t0" in stage.began
        assert "telemetry_t0" in stage.cli("ensure").fine
        window = stage.lost(writer)
        log.info(
            "%d sent, answered between the last pass and the drop: %d",
            len(writer.answered),
            len(window),
        )
        assert len(window) < 100  # less than a second of them
    log.info("\n".join(stage.story("t0")))
    assert stage.due("--allow", "late-writes").code == 0
    assert stage.eu1.databases() == []
    missing = len(writer.answered) - len(window) - stage.rows("t0")
    assert 0 <= missing <= len(stage.under_way(writer))


@pytest.mark.faults
def test_of_eight_that_are_due_at_once_each_goes_right_after_its_own_last_pass(
    stage: Stage,
) -> None:
    tenants = TENANTS[:8]
    stage.old_copies(*tenants)
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    gaps: dict[str, float] = {}

    def see(seen: Seen) -> Answer:
        if database := stage.drops(seen):
            gaps.setdefault(database, time.monotonic() - last[database])
        elif b'FROM \\"telemetry\\"' in seen.body or b'FROM "telemetry"' in seen.body:
            for tenant in tenants:
                if f'"telemetry_{tenant}"'.encode() in seen.body:
                    last[f"telemetry_{tenant}"] = time.monotonic()
                    first.setdefault(f"telemetry_{tenant}", time.monotonic())
        return stage.see(seen)

    stage.proxy.before = see
    dice = random.Random(8)
    writers = [Writer(stage.eu1, tenant) for tenant in tenants[::2]]
    until(lambda: all(len(writer.answered) > 20 for writer in writers))
    timers = [threading.Timer(dice.uniform(0, 4), writer.over.set) for writer in writers]
    for timer in timers:
        timer.start()
    began = time.monotonic()
    done = stage.due()
    seconds = time.monotonic() - began
    log.info("%.1f s\n%s", seconds, done.out)
    # Waits overlap: others are looked at for the first time before the first one is dropped.
    one, dropped = min(stage.began.items(), key=lambda each: each[1])
    assert [each for each, at in first.items() if first[one] < at < dropped]
    assert {*tenants} - {*stage.left(*tenants)} >= {*tenants[1::2]}
    for writer, timer in zip(writers, timers, strict=True):
        timer.join()
        writer.stop()
    while stage.left(*tenants):
        assert stage.due("--allow", "late-writes").code == 0
    log.info(
        "%d sent, lost: %s",
        sum(len(w.answered) for w in writers),
        [stage.lost(writer) for writer in writers],
    )
    assert [stage.lost(writer) for writer in writers] == [[], [], [], []]
    assert gaps.keys() == {f"telemetry_{tenant}" for tenant in tenants}
    log.info("seconds from the last pass to the drop: %s", sorted(gaps.values()))
    assert max(gaps.values()) < 2  # a second for a pass, and one for the ledger


@pytest.mark.faults
def test_a_run_that_is_killed_between_pass_and_drop_is_followed_by_one_that_looks_again(
    stage: Stage,
) -> None:
    stage.old_copies("t0")
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        if not stage.drops(seen):
            return None
        reached.set()
        let_go.wait(PATIENCE)
        return 503, "text/plain", b"nobody waits for it any more"

    stage.proxy.before = hold
    try:
        with stage.cli.running("retire", "--due") as process:
            assert reached.wait(PATIENCE)
            process.kill()
            process.wait()
    finally:
        let_go.set()
    stage.proxy.before = stage.see
    stage.eu1.write("telemetry_t0", f"m,device=d1 n=7i {time.time_ns()}")
    done = stage.due()
    assert done.code == 1, done.all
    assert "1 row (m 1) came late to its old copy on eu1" in done.out
    assert stage.left("t0") == ["t0"]
    assert stage.eu2.rows("telemetry_t0", "SELECT n FROM m") == [{"n": 7}]
    assert stage.due().code == 0
    assert stage.eu1.databases() == []


def test_a_drop_whose_answer_is_lost_is_told_as_unknown_and_settled_by_the_next_run(
    stage: Stage,
) -> None:
    stage.old_copies("t0")

    def gone(seen: Seen) -> Answer:
        if not stage.drops(seen) and not stage.began:
            return None
        if not stage.began:
            stage.eu1.drop("telemetry_t0")
        stage.see(seen)
        return 504, "text/plain", b"no node answers"

    stage.proxy.before = gone
    done = stage.due()
    assert done.code == 1, done.all
    log.info(done.out)
    assert "1 unknown" in done.out
    assert stage.left("t0") == ["t0"]
    stage.proxy.before = stage.see
    assert stage.due().code == 0
    assert stage.eu1.databases() == []
    assert stage.left("t0") == []
