"""Exports a database to files while it is in use, and imports it again: both are copies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from influxops.plugin import (
    CopyProgress,
    CopyRequest,
    ExportError,
    Manifest,
    RunContext,
    read_manifest,
)
from influxops_influxdb3.copy.endpoints import CopyEndpoint
from influxops_influxdb3.copy.estimate import ahead
from influxops_influxdb3.copy.files import FileEndpoint, exporting
from influxops_influxdb3.copy.job import CopyJob
from influxops_influxdb3.copy.progress import REPORT_INTERVAL, CopyState

_KIND = "influxdb3"
_SECOND = 1_000_000_000


def export(
    source: CopyEndpoint, target: str, order: CopyRequest, context: RunContext
) -> Iterator[CopyProgress]:
    """Write a database to files, or go on with that; yield how far it is."""
    folder = Path(order.folder)
    source.handshake()
    period = source.retention()
    retention = None if period is None else period // _SECOND
    manifest = Manifest(order.tenant, order.database, _KIND, "", source.uuid, retention)
    with exporting(folder, manifest, context) as (files, found):
        if found is not None:
            files.refuse_lost(source.tables())
            state, is_whole = CopyState.decode(found.progress), found.ended is not None
            is_moved = state.source != source.uuid  # the tenant was, since
            if state.done or is_moved:
                # Brought up to date: as a copy that is looked at again, each row of it.
                state = replace(state, source=source.uuid, number=1, done=True)
            files.is_first = not is_whole
            compare = order.compare or is_whole or is_moved
            order = replace(order, progress=state.encode(), compare=compare)
        files.manifest = replace(
            files.manifest, server=source.uuid, retention=retention, ended=None
        )
        saved = ""
        for copied in CopyJob(source, files, target, order, context).run():
            if copied.progress != saved:
                files.save(copied)
                saved = copied.progress
            yield replace(copied, late=files.late, bytes=files.manifest.size)


def import_(
    copy: CopyEndpoint, target: str, order: CopyRequest, context: RunContext
) -> Iterator[CopyProgress]:
    """Write the files of an export to a database, or say what that would do."""
    folder = Path(order.folder)
    manifest = read_manifest(folder)
    if manifest is None:
        raise ExportError(f"there is no export in {folder}")
    files = FileEndpoint(folder, manifest, context)
    if order.ahead:
        yield from ahead(files, copy, context)
        return
    began = time.monotonic()
    for _ in files.check():
        if time.monotonic() - began > REPORT_INTERVAL:
            began = time.monotonic()
            yield CopyProgress("checking files")
    if order.dry_run:
        yield CopyProgress(
            "checking files",
            total=manifest.rows,
            tables=len(manifest.tables),
            bytes=manifest.size,
            unread=manifest.unread,
            done=manifest.ended is not None,
        )
    else:
        yield from CopyJob(files, copy, target, replace(order, merge=True), context).run()
