"""What moved tenants left behind, and the full runs of a worker, which nobody watches."""

from __future__ import annotations

import threading

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.old_copies import Stage, Writer, until
from tests.pg import TestDatabase
from tests.queue.conftest import CONFIG, Queued
from tests.queue.workers import working


def test_a_full_run_drops_no_old_copy_that_is_still_written_to(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme", "beta")
    old, new = stand_in(max_databases=None), stand_in(max_databases=None)
    proxy = proxied(old)
    # `eu1` is the old target, and is draining.
    text = CONFIG.format(source="", ledger="", url=proxy.url) + 'state = "draining"\n'
    cli = queued(url=new.url)
    cli.config(text + f'[targets.eu2]\nkind = "influxdb3"\nurl = "{new.url}"\n')
    stage = Stage(cli, db, old, new, proxy)
    proxy.before = stage.see
    assert cli("ensure").code == 0
    stage.old_copies("acme", "beta")
    with Writer(old, "acme") as writer, working(cli, "--full-run-every", "1s"):
        until(lambda: stage.left("acme", "beta") == ["acme"])
        until(lambda: any("came late" in line for line in stage.story("acme")))
        threading.Timer(0.2, writer.over.set).start()
        until(lambda: stage.left("acme") == [] or "still written to" in stage.story("acme")[-1])
    assert stage.lost(writer) == []
    if stage.left("acme"):
        assert stage.due("--allow", "late-writes").code == 0
    assert stage.lost(writer) == []
    assert stage.rows("acme") == len(writer.answered)
