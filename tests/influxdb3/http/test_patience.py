"""Servers that hang, drip or talk too much, and runs that end while they do."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from influxops.plugin import Change, ChangeResult, Interrupted, RunContext
from influxops_influxdb3 import errors
from influxops_influxdb3.errors import InfluxDBError
from influxops_influxdb3.http.client import Client
from tests.influxdb3.conftest import Creates, MakeClient, MakeTarget
from tests.influxdb3.double import Asked, Double, Told

#: Seconds that a server is given where something else is to end the wait, which then takes a
#: fraction of them, on a busy machine too.
LONG = 60.0
SOON = LONG / 4
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class Raw:
    """A server that says what a test has it say, byte by byte; it counts what is asked."""

    def __init__(self, pieces: Iterator[bytes] | Callable[[], Iterator[bytes]]) -> None:
        self.asked = threading.Semaphore(0)
        self.requests = 0
        self.gone = threading.Event()
        self._pieces = pieces if callable(pieces) else lambda: pieces
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if self._over.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._talk, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            connection.recv(65536)
            connection.settimeout(0.02)
            self.requests += 1
            self.asked.release()
            pieces = self._pieces()
            while not self._over.is_set():
                try:
                    piece = next(pieces, None)
                    if piece is not None:
                        connection.sendall(piece)
                    if connection.recv(65536) == b"":
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.gone.set()

    def stop(self) -> None:
        self._over.set()
        socket.create_connection(self._listening.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._listening.close()


@contextmanager
def saying(*pieces: bytes, dripping: bytes = b"") -> Iterator[Raw]:
    """Answer with pieces, then with the same one for ever, or with nothing more."""

    def each() -> Iterator[bytes]:
        yield from pieces
        while dripping:
            yield dripping

    raw = Raw(each)
    try:
        yield raw
    finally:
        raw.stop()


READS: dict[str, Callable[[Client, RunContext], object]] = {
    "ping": lambda client, context: client.ping(context),
    "list": lambda client, context: client.databases(context),
    "query": lambda client, context: client.query(context, "_internal", "SELECT 1"),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("dripping", [b"", b" "], ids=["hangs", "drips"])
def test_cancelling_a_run_that_reads_does_not_wait_for_the_server(
    make_client: MakeClient, read: Callable[[Client, RunContext], object], dripping: bytes
) -> None:
    context = RunContext()
    head = HEAD + b"content-length: 9999\r\n\r\n" if dripping else b""
    with saying(head, dripping=dripping) as raw:

        def cancel() -> None:
            raw.asked.acquire()
            context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(Interrupted):
            read(make_client(url=raw.url, read_timeout=LONG), context)
        assert time.monotonic() - begin < SOON
        assert raw.gone.wait(5), "the connection is closed, and the thread behind it ends"
        assert raw.requests == 1, "nothing is sent again behind the run's back"
        thread.join()


def test_cancelling_does_not_wait_for_a_name_that_is_being_looked_up(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, let_go = RunContext(), threading.Event()

    def look_up(*args: object, **kwargs: object) -> None:
        context.cancel()
        let_go.wait(LONG)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        make_client(url="http://influx.example:8181").ping(context)
    assert time.monotonic() - begin < SOON
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "influxops-detached":
            thread.join(5)
            assert not thread.is_alive(), "it does not try again"


def test_a_write_still_gets_a_moment_when_its_run_is_cancelled(
    server: Double, make_client: MakeClient
) -> None:
    context = RunContext()

    def fault(asked: Asked, number: int) -> None:
        context.cancel()
        time.sleep(0.5)  # the moment that it needs

    server.fault = fault
    make_client().write(context, "a", "_init value=1i 1")
    assert server.writes


CHANGES: dict[str, Callable[[Client, RunContext], object]] = {
    "create": lambda client, context: client.create(context, "a"),
    "drop": lambda client, context: client.delete(
        context, "a", hard_delete_at=datetime(2030, 1, 1, tzinfo=UTC)
    ),
    "copy": lambda client, context: client.write(context, "a", "t v=1i 1", exact=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_abandoned_without_an_answer_says_so(
    make_client: MakeClient, change: Callable[[Client, RunContext], object]
) -> None:
    context = RunContext()
    with saying() as raw:
        with pytest.raises(errors.ConnectionFailed) as late:
            change(make_client(url=raw.url, read_timeout=0.1, retries=0), context)
        assert late.value.abandoned
        raw.asked.acquire()

        def cancel() -> None:
            raw.asked.acquire()
            context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(Interrupted) as caught:
            change(make_client(url=raw.url, read_timeout=LONG), context)
        assert time.monotonic() - begin < SOON
        assert caught.value.abandoned
        thread.join()


def test_what_is_never_sent_or_only_reads_is_not_abandoned(make_client: MakeClient) -> None:
    context = RunContext()
    with saying() as raw:
        with pytest.raises(errors.ConnectionFailed) as late:
            make_client(url=raw.url, read_timeout=0.1, retries=0).ping(context)
        assert not late.value.abandoned
        context.cancel()
        with pytest.raises(Interrupted) as caught:
            make_client(url=raw.url).create(context, "a")
        assert not caught.value.abandoned


def test_an_interrupt_ends_a_batch_soon_though_the_server_hangs(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    server.max_databases, context = 1000, RunContext()
    hanging, cancelled = threading.Event(), []

    def fault(asked: Asked, number: int) -> None:
        if len(server.writes) > 20:
            cancelled.append(time.monotonic())
            context.cancel()
            hanging.wait(LONG)

    server.fault = fault
    outcomes = list(make_target().influxops_ensure(creates(*map(str, range(100))), context))
    seconds = time.monotonic() - cancelled[0]
    hanging.set()
    assert seconds < SOON, "nothing more is sent to a server that did not answer in that time"
    found = Counter(o.status for o in outcomes)
    assert found[ChangeResult.UNCONFIRMED] == 20
    assert found[ChangeResult.UNKNOWN] in (1, 2), "those that were sent"
    assert found[ChangeResult.SKIPPED] == 80 - found[ChangeResult.UNKNOWN]


def test_a_write_is_left_when_that_moment_has_passed(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops_influxdb3.http.transport.GRACE", 0.3)
    context = RunContext()
    with saying() as raw:

        def cancel() -> None:
            raw.asked.acquire()
            context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(Interrupted):
            make_client(url=raw.url).write(context, "a", "_init value=1i 1")
        assert raw.gone.wait(5)
        assert raw.requests == 1
        thread.join()


DRIPS = {
    "status": (b"HTTP/1.1 200 O", b"K"),
    "headers": (HEAD + b"x-long: ", b"x"),
    "body": (HEAD + b"content-length: 99999\r\n\r\n[", b" "),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "to the end": (HEAD + b"connection: close\r\n\r\n", b" "),
}


@pytest.mark.parametrize(("head", "dripping"), DRIPS.values(), ids=DRIPS.keys())
def test_a_deadline_holds_against_a_server_that_drips(
    make_client: MakeClient, head: bytes, dripping: bytes
) -> None:
    with saying(head, dripping=dripping) as raw:
        begin = time.monotonic()
        with pytest.raises(errors.ConnectionFailed) as caught:
            make_client(url=raw.url, read_timeout=LONG).databases(RunContext(timeout=0.5))
        assert time.monotonic() - begin < SOON
        assert raw.gone.wait(5)
        assert raw.requests == 1
    assert re.fullmatch(
        r"no (whole )?answer within \d\.\d s: the run's 0\.5 s are used up", caught.value.reason
    )
    assert (caught.value.remedy.kind, caught.value.remedy.value) == ("option", "timeout")
    assert caught.value.may_have_applied


def test_a_server_that_drips_is_given_up_without_a_deadline_too(make_client: MakeClient) -> None:
    with saying(HEAD + b"content-length: 99999\r\n\r\n[", dripping=b" ") as raw:
        begin = time.monotonic()
        with pytest.raises(errors.ConnectionFailed) as caught:
            make_client(url=raw.url, read_timeout=0.3).databases(RunContext())
        assert time.monotonic() - begin < SOON
        assert raw.requests == 1
    assert caught.value.reason == "no whole answer within 0.3 s"
    assert "read_timeout" in caught.value.hint


def test_a_deadline_is_told_from_a_read_timeout(make_client: MakeClient) -> None:
    with saying() as raw:
        with pytest.raises(errors.ConnectionFailed, match=r"the run's 0.4 s are used up") as caught:
            make_client(url=raw.url, read_timeout=30).ping(RunContext(timeout=0.4))
        assert "30" not in caught.value.message.replace(raw.url, "")
        with pytest.raises(errors.ConnectionFailed, match=r"no answer within 0.2 s") as caught:
            make_client(url=raw.url, read_timeout=0.2, retries=0).ping(RunContext(timeout=30))
        assert "read_timeout" in caught.value.hint


SIZES = {
    "announced": (HEAD + b"content-length: 2000000\r\n\r\n", b""),
    "chunked": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"fff\r\n" + b" " * 0xFFF + b"\r\n"),
    "to the end": (HEAD + b"connection: close\r\n\r\n", b" " * 4096),
}


@pytest.mark.parametrize(("head", "dripping"), SIZES.values(), ids=SIZES.keys())
def test_an_answer_without_end_is_not_read(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, head: bytes, dripping: bytes
) -> None:
    monkeypatch.setattr("influxops_influxdb3.http.transport.LARGEST_ANSWER", 20_000)
    with saying(head, dripping=dripping) as raw:
        with pytest.raises(errors.NotInfluxDB3, match="it answered more than"):
            make_client(url=raw.url).databases(RunContext())
        assert raw.requests == 1


@pytest.mark.parametrize("size", [10_000_000, 900_000])
def test_what_is_packed_counts_unpacked(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("influxops_influxdb3.http.transport.LARGEST_ANSWER", 1_000_000)
    body = gzip.compress(b"[" + b" " * size + b"]")
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    with saying(head, body) as raw:
        client = make_client(url=raw.url)
        if size < 1_000_000:
            assert client.databases(RunContext()) == []
        else:
            with pytest.raises(errors.NotInfluxDB3, match="it answered more than"):
                client.databases(RunContext())


def test_a_streamed_row_without_end_is_not_read(make_client: MakeClient) -> None:
    good = b'{"a": 1}\n' * 10
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
    with saying(head, good, b'{"a": "', dripping=b"x" * 2**20) as raw:
        rows = make_client(url=raw.url).rows(RunContext(), "acme", "SELECT 1")
        assert len(next(rows)) == 10
        with pytest.raises(errors.NotInfluxDB3, match="it answered a row of more than 64 MiB"):
            next(rows)
        assert raw.gone.wait(SOON)
    assert raw.requests == 1


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b'[{"iox::database": "a"}]')[:-14]], ids=["none", "half"]
)
def test_what_cannot_be_unpacked_is_told(make_client: MakeClient, body: bytes) -> None:
    head = HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)
    with saying(head, body) as raw, pytest.raises(InfluxDBError):
        make_client(url=raw.url, retries=0).databases(RunContext())


def test_what_was_abandoned_while_connecting_is_never_sent(
    server: Double, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, let_go = RunContext(), threading.Event()
    look_up = socket.getaddrinfo

    def slow(*args: object, **kwargs: object) -> object:
        context.cancel()
        let_go.wait(30)
        return look_up(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    client = make_client(url=server.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(Interrupted):
        client.write(context, "a", "_init value=1i 1")
    let_go.set()
    for thread in threading.enumerate():
        if thread.name == "influxops-detached":
            thread.join(5)
    assert server.asked == []


def test_a_run_that_ends_while_it_connects_sends_nothing(
    server: Double, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, connect = RunContext(), socket.socket.connect

    def connects(sock: socket.socket, address: tuple[str, int]) -> None:
        connect(sock, address)
        context.cancel()

    monkeypatch.setattr(socket.socket, "connect", connects)
    with pytest.raises(Interrupted):
        make_client().write(context, "a", "_init value=1i 1")
    assert server.asked == []


def test_cancelling_does_not_wait_for_a_connection(make_client: MakeClient) -> None:
    context = RunContext()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # nobody accepts, so that the next one waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        timer = threading.Timer(0.3, context.cancel)
        timer.start()
        begin = time.monotonic()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(Interrupted):
            make_client(url=url, connect_timeout=LONG).ping(context)
        assert time.monotonic() - begin < SOON
        timer.join()


def test_a_server_that_falls_silent_ends_a_batch_soon(
    server: Double, make_target: MakeTarget, creates: Creates
) -> None:
    server.max_databases, silent = 1000, threading.Event()
    server.fault = lambda asked, n: (
        (silent.wait(LONG), None)[1] if len(server.writes) > 20 else None
    )
    begin = time.monotonic()
    target = make_target(read_timeout=0.5)
    outcomes = list(target.influxops_ensure(creates(*map(str, range(100))), RunContext()))
    seconds = time.monotonic() - begin
    silent.set()
    assert seconds < SOON, "twice the time of an answer, and not that for each"
    found = Counter(o.status for o in outcomes)
    assert found[ChangeResult.UNCONFIRMED] == 20
    assert found[ChangeResult.UNKNOWN] == 2
    assert found[ChangeResult.SKIPPED] == 78
    assert all("no answer within 0.5 s, tried twice" in o.message for o in outcomes)


def test_a_large_answer_is_read_whole(server: Double, make_client: MakeClient) -> None:
    rows = ",".join(f'{{"iox::database":"telemetry_{"x" * 400}{n}"}}' for n in range(12_400))
    server.fault = lambda asked, number: Told(200, f"[{rows}]")
    assert len(make_client().databases(RunContext())) == 12_400


@pytest.mark.parametrize(
    "broken", [b"content-length: 90\r\n\r\n[]", b"transfer-encoding: chunked\r\n\r\n2\r\n[]\r\n"]
)
def test_an_answer_that_breaks_off_is_asked_for_again(
    make_client: MakeClient, broken: bytes
) -> None:
    asked = []

    def each() -> Iterator[bytes]:
        asked.append(1)
        yield HEAD + (broken if len(asked) == 1 else b"content-length: 2\r\n\r\n[]")
        if len(asked) == 1:
            raise ConnectionError

    raw = Raw(each)
    try:
        assert make_client(url=raw.url).databases(RunContext()) == []
        assert raw.requests == 2
    finally:
        raw.stop()


def test_what_an_earlier_try_may_have_done_is_not_forgotten(
    server: Double, make_client: MakeClient
) -> None:
    def fault(asked: Asked, number: int) -> Told:
        server.stop()
        return Told(drop=True)

    server.fault = fault
    with pytest.raises(errors.ConnectionFailed) as caught:
        make_client(retries=1).create(RunContext(), "a")
    assert caught.value.reason == "connection refused"
    assert caught.value.may_have_applied


def test_threads_of_a_batch_end_with_a_run_whose_server_hangs(
    make_target: MakeTarget, creates: Creates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops_influxdb3.http.transport.GRACE", 0.2)
    monkeypatch.setattr("influxops_influxdb3.provision.batch.GRACE", 0.2)
    context = RunContext()
    with saying() as raw:
        target = make_target(url=raw.url)
        changes: list[Change] = creates("a")

        def cancel() -> None:
            raw.asked.acquire()
            context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        (outcome,) = target.influxops_ensure(changes, context)
        assert outcome.status is ChangeResult.UNKNOWN
        thread.join()
        ours = [t for t in threading.enumerate() if t.name.startswith("influxdb3")]
        for one in ours:
            one.join(2)
        assert not [one for one in ours if one.is_alive()], "the interpreter would wait for them"
