"""Copying a database that is in use: interrupted, resumed, written to, failing."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from influxops.plugin import (
    CopyProgress,
    DeadlineExceeded,
    Interrupted,
    RunContext,
    Severity,
    TargetAuthError,
    TargetError,
)
from influxops_devserver.testing import StandInOptions, running_stand_in
from influxops_influxdb3.copy import backfill, estimate, job, slices
from influxops_influxdb3.errors import TableLimit, WrongServer
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, contents, cutting

pytestmark = pytest.mark.stand_in

NOW = time.time_ns()
SECOND = 10**9


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a step of each slice, and slices small."""
    monkeypatch.setattr(job, "_STEP", 0.0)
    for module in (slices, backfill):
        monkeypatch.setattr(module, "MAX_ROWS", 100)


def fill(pair: Pair, rows: int = 600) -> None:
    pair.make()
    for table in ("events", "status", "telemetry"):
        pair.write(
            *(
                f'{table},device=d{n % 5} v={n}i,f={n / 7},s="text {n}" {NOW - n * SECOND}'
                for n in range(rows // 3)
            )
        )


@pytest.mark.usefixtures("small_steps")
def test_how_long_a_copy_takes_is_measured_on_more_than_a_slice_with_few_rows(pair: Pair) -> None:
    pair.make()
    pair.write(f"telemetry,device=d1 v=1i {NOW - 900 * 86400 * SECOND}")
    few = pair.all(dry_run=True)
    pair.write(*(f"telemetry,device=d1 v={n}i {NOW - n * SECOND}" for n in range(5000)))
    many = pair.all(dry_run=True)
    assert (few.total, many.total) == (1, 5001)
    assert many.rate > 2 * few.rate


# Interrupted and resumed -------------------------------------------------------------------------


@pytest.mark.usefixtures("small_steps")
def test_it_goes_on_from_wherever_it_was_and_from_earlier(pair: Pair) -> None:
    fill(pair)
    words = [told.progress for told in itertools.islice(pair.run(), 5)]
    assert len(set(words)) > 3
    # From the last word, then from an older one, and to the end from one that is older still.
    assert all(len(word) < 64 * 1024 for word in words)
    for at in (4, 2):
        words += [t.progress for t in itertools.islice(pair.run(progress=words[at]), 3)]
    told = pair.all(progress=words[3])
    assert told.total is not None
    assert 0 < told.rows < told.total
    pair.assert_equal()


@pytest.mark.usefixtures("small_steps")
def test_what_is_told_is_durable(tmp_path: Path) -> None:
    """A server that is killed right after a word has all that the word tells of."""
    options: StandInOptions = {"data_dir": tmp_path, "wal_flush_interval": "200ms"}
    with running_stand_in(wal_flush_interval="10ms") as a:
        with running_stand_in(**options) as b:
            pair = Pair(Api(a.url), Api(b.url))
            fill(pair)
            running = pair.run()
            told = next(t for t in running if '"table":"status"' in t.progress)
            b.kill()
            running.close()
        with running_stand_in(**options) as b:
            pair.copy = Api(b.url)
            assert pair.copy.count(pair.database, "events") == 200
            pair.all(progress=told.progress)
            pair.assert_equal()


@pytest.mark.usefixtures("small_steps")
def test_a_server_that_is_started_anew_meanwhile_loses_nothing(tmp_path: Path) -> None:
    options: StandInOptions = {"data_dir": tmp_path, "wal_flush_interval": "1s"}
    with running_stand_in(wal_flush_interval="10ms") as a, running_stand_in(**options) as b:
        pair = Pair(Api(a.url), Api(b.url), {"retries": 12})
        fill(pair)
        running, words = pair.run(), list[CopyProgress]()
        for told in running:
            words.append(told)
            if len(words) == 4:
                port = b.port
                b.kill()
                options["port"] = port
                with running_stand_in(**options):
                    words += running
                    assert words[-1].done
                    pair.assert_equal()


CHILD = """
import sys
from influxops.plugin import RunContext, CopyRequest
from influxops_influxdb3.copy import job
from influxops_influxdb3.copy import slices
from tests.influxdb3.copies import target
job._STEP, slices.MAX_ROWS = 0.0, 100
database, source, into, progress = sys.argv[1:]
ours, theirs = target("eu1", source), target("eu2", into)
for told in ours.influxops_copy(CopyRequest(database, theirs, progress=progress), RunContext()):
    print(told.progress, flush=True)
"""


def test_a_process_that_is_killed_goes_on_when_it_is_started_again(pair: Pair) -> None:
    fill(pair)
    progress = ""
    for _ in range(2):
        command = [sys.executable, "-c", CHILD, pair.database, pair.source.url, pair.copy.url]
        with subprocess.Popen([*command, progress], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(3):
                progress = child.stdout.readline().strip()
            child.kill()
        assert child.returncode == -signal.SIGKILL
        assert json.loads(progress)
    assert pair.all(progress=progress).done
    pair.assert_equal()


def test_the_progress_of_other_servers_is_refused(pair: Pair) -> None:
    fill(pair, 30)
    progress = pair.all().progress
    other = Pair(pair.copy, pair.source, database=pair.database)
    with pytest.raises(
        TargetAuthError, match=r"another server answers at .* than the one that the"
    ):
        other.all(progress=progress)
    with pytest.raises(TargetError, match="how far the copy was cannot be read"):
        pair.all(progress="nonsense")


@pytest.mark.usefixtures("small_steps")
def test_another_server_behind_the_url_ends_it() -> None:
    with running_stand_in(wal_flush_interval="10ms") as a:
        with running_stand_in(wal_flush_interval="10ms") as b:
            pair = Pair(Api(a.url), Api(b.url), {"retries": 12})
            fill(pair)
            running = pair.run()
            next(t for t in running if '"table"' in t.progress)
            port = b.port
            b.kill()
        with running_stand_in(port=port):
            with pytest.raises(WrongServer, match="another server answers there"):
                list(running)
            assert Api(b.url).names() == []


# In use ------------------------------------------------------------------------------------------


class Device:
    """Writes to the source until it is stopped: mostly new rows, some of them late."""

    def __init__(self, pair: Pair) -> None:
        self.written = 0
        self._pair = pair
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Device:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.is_set():
            lines = [
                f"telemetry,device=live v={self.written + n}i {time.time_ns() + n}"
                for n in range(20)
            ]
            lines.append(f"telemetry,device=slow v=1i {time.time_ns() - 3 * SECOND}")
            if not self.written:
                lines.append(f"telemetry,device=late v=1i {NOW - 3600 * SECOND}")
            self._pair.write(*lines)
            self.written += len(lines)
            self._ends.wait(0.02)


def test_a_database_is_copied_while_its_tenant_writes(pair: Pair) -> None:
    fill(pair)
    with Device(pair) as device:
        told = pair.all()
        assert device.written
    assert not told.findings
    # Of what was written in the meantime, only the last moments can be missing: look for them.
    assert pair.copy.count(pair.database, "telemetry") > 200
    assert pair.all(only_missing=True).done
    last = pair.all(only_missing=True)
    assert (last.rows, last.conflicts) == (0, 0)
    pair.assert_equal()


def test_a_row_with_an_old_time_is_found_and_asks_for_another_pass(pair: Pair) -> None:
    fill(pair)
    stages = list[str]()
    for told in pair.run():
        if told.stage == "comparing" and not stages.count("comparing"):
            pair.write(f"telemetry,device=late v=1i {NOW - 50 * SECOND}")
            # A value that was overwritten is found as well.
            pair.write(f"status,device=d1 v=-1i {NOW - 101 * SECOND}")
            pair.write(f"later,device=d1 v=-1i {NOW - 101 * SECOND}")
        stages.append(told.stage)
    assert list(dict.fromkeys(stages)) == ["copying", "comparing", "catching up"]
    pair.assert_equal()


def test_a_column_that_comes_up_meanwhile_is_copied(pair: Pair) -> None:
    fill(pair)
    for told in pair.run():
        if told.stage == "comparing":
            pair.write(f"telemetry,device=d1,room=r1 v=1i,new=2u {NOW - 500 * SECOND}")
    pair.assert_equal()


def test_rows_that_the_copy_has_by_itself_are_not_passed_over(pair: Pair) -> None:
    fill(pair)
    pair.write_to_copy(f"telemetry,device=strange v=1i {NOW - 30 * SECOND}")
    with pytest.raises(TargetError, match=r"holds 1 row more than .* in the table telemetry"):
        pair.all()
    pair.write(f"telemetry,device=strange v=1i {NOW - 30 * SECOND}")
    pair.write_to_copy(f"telemetry,device=strange w=1i {NOW - 30 * SECOND}")
    with pytest.raises(TargetError, match=r"holds other values than .* in the table telemetry"):
        pair.all()


# After the cut-over ------------------------------------------------------------------------------


def test_only_what_is_missing_is_copied_once_the_tenant_writes_to_the_copy(pair: Pair) -> None:
    fill(pair)
    pair.all()
    at = {n: NOW - n * SECOND for n in range(200)}
    # The tenant goes on with the copy; somebody has not heard of it and writes to the source.
    pair.write_to_copy(f"telemetry,device=d1 v=-1i {at[1]}", f"telemetry,device=d2 w=5i {at[2]}")
    pair.write_to_copy(f"telemetry,device=new v=1i {NOW + SECOND}", "fresh v=1i 1")
    pair.write(f"telemetry,device=late v=1i {NOW + SECOND}", "more,device=a v=1i 1")
    pair.write(f"telemetry,device=d3 v=-3i,x=7i {at[3]}", f"telemetry,device=d4 x=8i {at[4]}")
    told = pair.all(only_missing=True)
    # Two rows, a table's, and a field each of two more.
    assert (told.rows, told.conflicts, told.done) == (4, 2, True)
    (finding,) = told.findings
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("2 rows with other values in the copy, which were kept: ")
    assert "telemetry,device=d3 at " in finding.message

    def row(device: str, time: int) -> dict[str, object]:
        (found,) = pair.copy.sql(
            pair.database,
            f"SELECT v, w, x FROM telemetry WHERE device = '{device}' "
            f"AND CAST(time AS BIGINT) = {time}",
        )
        return found

    assert row("d1", at[1]) == {"v": -1}
    assert row("d2", at[2]) == {"v": 2, "w": 5}
    # As one server would have merged the two: the copy's value, and the field that it lacked.
    assert row("d3", at[3]) == {"v": 3, "x": 7}
    assert row("d4", at[4]) == {"v": 4, "x": 8}
    assert row("late", NOW + SECOND) == {"v": 1}
    again = pair.all(only_missing=True, progress=told.progress)
    assert (again.rows, again.conflicts) == (0, 2)
    assert pair.copy.count(pair.database, "more") == 1
    assert pair.copy.count(pair.database, "fresh") == 1


def test_after_looking_for_what_is_missing_what_is_young_is_found_without_looking_at_all(
    pair: Pair,
) -> None:
    pair.make()
    pair.write("m v=1i 1000", f"m v=2i {time.time_ns()}")
    pair.all()
    whole = pair.all(only_missing=True)
    pair.write("m v=3i 2000", f"m v=4i {time.time_ns()}")
    young = pair.all(only_missing=True, recent=True, progress=whole.progress)
    assert (young.rows, dict(young.rows_by_table)) == (1, {"m": 1})
    assert pair.all(only_missing=True, recent=True, progress=young.progress).rows == 0
    assert pair.all(only_missing=True).rows == 1
    pair.assert_equal()


@pytest.mark.usefixtures("small_steps")
def test_looking_for_what_is_missing_is_resumed(pair: Pair) -> None:
    fill(pair)
    running = pair.run(only_missing=True)
    progress = next(t.progress for t in running if '"table":"status"' in t.progress)
    running.close()
    assert 200 <= pair.all(only_missing=True, progress=progress).rows < 400
    pair.assert_equal()


# What only the copy has --------------------------------------------------------------------------


def test_what_only_the_copy_has_is_counted_and_nothing_is_written(pair: Pair) -> None:
    pair.make()
    at = [NOW + number * SECOND for number in range(4)]
    pair.write(*(f"telemetry,device=d1 v={number}i {time}" for number, time in enumerate(at)))
    pair.all()
    same = pair.all(dry_run=True, ahead=True)
    assert (same.ahead, same.conflicts, same.done) == (0, 0, True)
    pair.write(f"telemetry,device=late v=1i {NOW}", "more v=1i 1")
    assert pair.all(dry_run=True, ahead=True).ahead == 0
    pair.write_to_copy(f"telemetry,device=d1 v=7i {at[1]}", f"telemetry,device=d1 x=1i {at[2]}")
    pair.write_to_copy(f"telemetry,device=new v=1i {NOW + 99 * SECOND}", "fresh v=1i 1")
    before = contents(pair.copy, pair.database), contents(pair.source, pair.database)
    # A later row, another table's, and a field; a value that differs.
    told = pair.all(dry_run=True, ahead=True)
    assert (told.ahead, told.conflicts, told.rows) == (3, 1, 0)
    assert (contents(pair.copy, pair.database), contents(pair.source, pair.database)) == before


# Back to an old copy -----------------------------------------------------------------------------


def diverge(pair: Pair) -> dict[int, int]:
    """Let both sides have rows, fields and values that the other one has not."""
    fill(pair)
    pair.all()
    at = {n: NOW - n * SECOND for n in range(200)}
    pair.write_to_copy(f"telemetry,device=d1 v=-1i,w=5i {at[1]}", "fresh v=1i 1", "fresh v=2i 2")
    pair.write_to_copy(f"telemetry,device=only v=1i {at[7]}", f"telemetry,device=d3 y=9i {at[3]}")
    pair.write(f"telemetry,device=d2 v=-2i,x=7i {at[2]}", "more,device=a v=1i 1")
    pair.write(*(f"telemetry,device=new v={n}i {NOW + n * SECOND}" for n in range(3)))
    return at


def check_merged(pair: Pair, at: dict[int, int]) -> None:
    def row(device: str, time: int) -> dict[str, object]:
        (found,) = pair.copy.sql(
            pair.database,
            f"SELECT v, w, x, y FROM telemetry WHERE device = '{device}' "
            f"AND CAST(time AS BIGINT) = {time}",
        )
        return found

    assert row("d1", at[1]) == {"v": 1, "w": 5}
    assert row("d2", at[2]) == {"v": -2, "x": 7}
    assert row("d3", at[3]) == {"v": 3, "y": 9}
    assert row("only", at[7]) == {"v": 1}
    assert pair.copy.count(pair.database, "fresh") == 2
    assert pair.copy.count(pair.database, "more") == 1
    assert pair.copy.count(pair.database, "telemetry") == 200 + 3 + 1
    # The source has nothing that the copy lacks, and no other value.
    assert pair.all(only_missing=True).conflicts == pair.all(only_missing=True).rows == 0


def test_an_old_copy_gets_the_values_of_the_source_and_keeps_what_only_it_has(pair: Pair) -> None:
    at = diverge(pair)
    before = contents(pair.source, pair.database)
    told = pair.all(merge=True)
    # Two rows with other values; kept: two rows of a table, one row, and a field each of two.
    assert (told.ahead, told.conflicts) == (5, 2)
    assert told.total == 600 + 3 + 1
    (finding,) = told.findings
    assert finding.message.startswith("2 rows with other values in the copy, which got those of")
    check_merged(pair, at)
    assert contents(pair.source, pair.database) == before
    again = pair.all(merge=True)
    assert (again.rows, again.conflicts, again.ahead) == (0, 0, 5)


@pytest.mark.usefixtures("small_steps")
def test_merging_into_an_old_copy_is_resumed(pair: Pair) -> None:
    at = diverge(pair)
    words = [told.progress for told in itertools.islice(pair.run(merge=True), 9)]
    assert len(set(words)) > 4
    for word in (words[5], words[2]):
        running = pair.run(merge=True, progress=word)
        words.append([told.progress for told in itertools.islice(running, 3)][-1])
        running.close()
    told = pair.all(merge=True, progress=words[-1])
    assert (told.ahead, told.conflicts) == (5, 2)
    check_merged(pair, at)


def test_what_is_written_to_the_source_while_it_is_merged_comes_along(pair: Pair) -> None:
    diverge(pair)
    written = 0
    for _ in pair.run(merge=True):
        if written < 3:
            written += 1
            pair.write(f"telemetry,device=live v={written}i {NOW - 9999 * SECOND + written}")
            pair.write(f"telemetry,device=live v={written}i {time.time_ns()}")
    assert written == 3
    assert pair.all(only_missing=True).rows == 0


def test_what_came_since_a_copy_began_is_copied_without_looking_at_all(pair: Pair) -> None:
    pair.make()
    pair.write("m v=1i 1000", f"m v=2i {time.time_ns()}")
    done = pair.all()
    pair.write("m v=3i 2000", f"m v=4i {time.time_ns()}")
    young = pair.all(recent=True, progress=done.progress)
    assert young.done
    assert pair.copy.count(pair.database, "m") == 3
    assert pair.all(progress=young.progress).done
    pair.assert_equal()


# Retention ---------------------------------------------------------------------------------------


def test_what_is_about_to_expire_is_copied_and_not_compared(pair: Pair) -> None:
    pair.make("2h")
    minute, now = 60 * SECOND, time.time_ns() + 30 * SECOND
    pair.write(*(f"telemetry,device=d{n} v={n}i {now - n * minute}" for n in range(1, 110)))
    told = pair.all()
    assert told.expiring == 49
    pair.assert_equal()
    # A difference there is no fault.
    pair.write_to_copy(f"telemetry,device=x v=1i {now - 90 * minute}")
    assert pair.all().done
    missing = pair.all(only_missing=True)
    assert (missing.expiring, missing.rows) == (49, 0)


def test_an_old_copy_gets_also_what_is_about_to_expire(pair: Pair) -> None:
    pair.make("2h")
    minute, now = 60 * SECOND, time.time_ns() + 30 * SECOND
    pair.write(*(f"telemetry,device=d{n} v={n}i {now - n * minute}" for n in range(1, 110)))
    assert pair.all(merge=True).done
    pair.assert_equal()


def test_what_comes_meanwhile_is_copied_also_where_all_of_it_expires_within_an_hour(
    pair: Pair,
) -> None:
    pair.make("1h")
    now = time.time_ns()
    pair.write(f"telemetry,device=d1 v=1i {now - 600 * SECOND}")
    done = pair.all()
    pair.write(f"telemetry,device=d2 v=2i {now - 5 * SECOND}")
    assert pair.all(progress=done.progress).done
    pair.assert_equal()
    pair.write(f"telemetry,device=d3 v=3i {now - 4 * SECOND}")
    assert pair.all(only_missing=True).rows == 1
    pair.assert_equal()


def test_a_copy_that_would_lose_rows_is_refused(pair: Pair) -> None:
    pair.make("30d")
    pair.copy.send(
        "PUT",
        "/api/v3/configure/database",
        json={"db": pair.database, "retention_period": "1d"},
    )
    with pytest.raises(TargetError, match="has a shorter retention period than"):
        pair.all()


# Ends and faults ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_steps")
def test_it_ends_when_the_run_is_cancelled(pair: Pair) -> None:
    fill(pair)
    context, words = RunContext(), list[CopyProgress]()
    with pytest.raises(Interrupted):
        for told in pair.run(context):
            words.append(told)
            if len(words) == 3:
                context.cancel()
    assert not words[-1].done
    pair.all(progress=words[-1].progress)
    pair.assert_equal()


def test_it_ends_with_its_time(pair: Pair) -> None:
    fill(pair)
    context = RunContext(timeout=0.3)
    with pytest.raises((DeadlineExceeded, TargetError)):
        for _ in pair.run(context):
            context.sleep(0.2)
    assert context.seconds < 5


def test_a_source_that_is_gone_is_named(pair: Pair) -> None:
    fill(pair, 30)
    pair.source.delete(pair.database)
    with pytest.raises(TargetError, match=f"there is no database {pair.database} on "):
        pair.all()
    with pytest.raises(TargetError, match=f"there is no database {pair.database} on "):
        list(pair.run(dry_run=True))


@pytest.mark.usefixtures("small_steps")
def test_a_source_that_goes_meanwhile_ends_it(pair: Pair) -> None:
    fill(pair)
    running = pair.run()
    next(t for t in running if '"table"' in t.progress)
    pair.source.delete(pair.database)
    with pytest.raises(TargetError, match="database not found"):
        list(running)


def test_a_copy_that_was_not_made_is_named(pair: Pair) -> None:
    pair.source.create(pair.database)
    pair.write("telemetry v=1i 1")
    with pytest.raises(TargetError, match=f"there is no database {pair.database} on "):
        pair.all()


def test_a_server_full_of_tables_is_found_before_a_row_is_written(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_stand_in(max_tables=3, wal_flush_interval="10ms") as full:
        pair.copy = Api(full.url)
        fill(pair, 30)
        with pytest.raises(TableLimit, match="would exceed number of tables limit"):
            pair.all()
        assert pair.copy.count(pair.database, "events") == 0
        monkeypatch.setattr(estimate, "CORE_TABLES", 3)
        (told,) = pair.run(dry_run=True)
        (finding,) = told.findings
        assert finding.severity is Severity.ERROR
        assert finding.message.startswith("it holds 3 tables and would get 1 more")


def test_a_plan_tells_of_a_target_that_refuses_the_token(pair: Pair) -> None:
    pair.source.create(pair.database)
    pair.write("telemetry v=1i 1")
    with running_stand_in(with_auth=True) as closed:
        pair.copy = Api(closed.url)
        (told,) = pair.run(dry_run=True)
    assert (told.total, told.findings[0].severity) == (1, Severity.ERROR)
    assert "wants a token" in told.findings[0].message


def test_an_answer_that_breaks_off_is_asked_for_again(pair: Pair) -> None:
    fill(pair, 6_000)
    with cutting(pair.source.url, after=200_000) as url:
        pair.source, direct = Api(url), pair.source
        assert pair.all().done
        pair.source = direct
    pair.assert_equal()


def test_a_server_is_not_copied_to_itself(pair: Pair) -> None:
    fill(pair, 30)
    pair.copy = pair.source
    with pytest.raises(TargetAuthError, match="lead to one and the same server"):
        pair.all()
