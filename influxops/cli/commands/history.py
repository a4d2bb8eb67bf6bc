"""`influxops history`: what was done to whom, when, by which run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from influxops.cli.options import complete_runs, read_options
from influxops.cli.output.stdio import put, say, say_json
from influxops.cli.selection import Selection, selection_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influxops.domain.record import HistoryEntry, Record


@click.command("history", short_help="Show what was done, when and by whom.")
@selection_options
@click.option("--run", metavar="ID", shell_complete=complete_runs, help="Only what this run did.")
@click.option("--since", metavar="DURATION", help="No older than this: 7d, 12h.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N lines.")
@read_options
@click.pass_context
def command(
    ctx: click.Context,
    tenants: tuple[str, ...],
    states: tuple[str, ...],
    targets: tuple[str, ...],
    run: str | None,
    since: str | None,
    limit: int | None,
    output: str,
    timeout: float | None,
) -> None:
    """Show what the ledger's history has of all tenants, or of those that are named.

    Oldest first: when (UTC), what happened, to which database on which target, and who did it in
    which run. It reads the ledger alone, also while the servers are down.

    A PATTERN is an id with `*`, `?` or `[…]`; quote it, so that the shell leaves it alone.
    --state is the one that a tenant has now; --target is where something happened.
    """
    from influxops.cli.session import session
    from influxops.domain.durations import parse_duration
    from influxops.domain.record import HistoryQuery
    from influxops.errors import ConfigError
    from influxops.report.document import plain

    try:
        seconds = parse_duration(since) if since else None
    except ValueError as error:
        raise ConfigError(f"--since: {error}") from None
    with session(ctx, timeout=timeout) as (engine, context):
        ledger = engine.needs_ledger()
        selection, start = Selection(tenants, states, targets), None
        if seconds is not None:
            now = ledger.load_records((), context).now
            start = (now or context.started) - timedelta(seconds=seconds)
        most = None if selection.is_filter else limit
        entries = ledger.history(HistoryQuery(selection.named, run, start, most), context)
        if selection.is_filter:
            records = ledger.load_records(() if not states else None, context).records
            entries = [each for each in entries if _is_meant(each, selection, records)]
            entries = entries[-limit:] if limit else entries
    if output == "json":
        say_json({"version": 2, "history": plain(entries)})
        return
    is_one = len(tenants) == 1 and not selection.is_filter
    for entry in entries:
        put(_line(entry, named=is_one))
    if not entries:
        say("no entry of the ledger's history matches", err=True)


def _is_meant(entry: HistoryEntry, selection: Selection, records: Mapping[str, Record]) -> bool:
    """Return whether an entry is about who is meant."""
    record = records.get(entry.tenant or "")
    places = (entry.target, entry.before, entry.after)  # of a move: from where, and to where
    return selection.takes(entry.tenant or "", [record.state] if record else (), places)


def _line(entry: HistoryEntry, *, named: bool) -> str:
    """Return one line of the history, safe to print."""
    from influxops.domain.text import one_line, truncate
    from influxops.report.wording import format_entry

    who = "" if named or entry.tenant is None else f"{truncate(entry.tenant)}  "
    parts = ("run", entry.run), ("by", entry.who), ("via", entry.door)
    by = " ".join(f"{word} {value}" for word, value in parts if value)
    line = f"{_time(entry.at)}  {who}{format_entry(entry)}"
    return one_line(f"{line}  ({by})" if by else line)


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at is not None else "-"
