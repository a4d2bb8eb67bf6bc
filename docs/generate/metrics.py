"""The metrics, from what is written and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from docs.generate.pages import code, head, table
from influxops.plugin import ExitCode, Report, RunOrigin, SourceState, TargetState
from influxops.report.model import LedgerState
from influxops_queue.db.queries import QueueStats
from influxops_queue.worker.health import Health
from influxops_reports.prometheus import families
from influxops_web.api.health import Metrics


def page() -> str:
    """Return docs/reference/metrics.md."""
    lines = head("Metrics", "All are for Prometheus. None names a tenant.")
    for title, text, found in (
        (
            "Of runs",
            "The reporter `prometheus` writes them at the end of each run, into a file for "
            "node_exporter ([reports](../report.md#prometheus)).",
            _of_runs(),
        ),
        (
            "Of a worker",
            "`influxops worker --listen` answers with them at `/metrics` "
            "([workers](../worker.md)).",
            _registered(_health().registry),
        ),
        (
            "Of the HTTP service",
            "`influxops serve` answers with them at `/metrics` ([the service](../service.md)).",
            _registered(Metrics(_Provisioner()).registry),  # type: ignore[arg-type]
        ),
    ):
        lines += [f"## {title}", "", text, "", *_table(found)]
    return "\n".join(lines).rstrip() + "\n"


class _Provisioner:
    def health(self) -> None:
        """Stand for a Provisioner whose health is not looked at."""


def _of_runs() -> Iterator[Metric]:
    return families(
        Report(
            "run",
            datetime.now(UTC),
            1.0,
            False,
            RunOrigin(),
            sources=(SourceState("s", "k", "l"),),
            targets=(TargetState("t", "k", "u", True, databases=1, capacity=2),),
            ledger=LedgerState("k", "l", "n"),
            exit_code=ExitCode.OK,
        ),
        {},
    )


def _health() -> Health:
    health = Health()
    health.record_queue_stats(QueueStats(0, None, (), (), ()))
    return health


def _registered(registry: CollectorRegistry) -> Iterator[Any]:
    for collector in registry._collector_to_names:
        yield from [collector] if isinstance(collector, MetricWrapperBase) else collector.collect()


def _table(found: Iterable[Any]) -> list[str]:
    return table(("metric", "type", "says"), (_row(each) for each in found))


def _row(metric: Any) -> tuple[str, ...]:
    if isinstance(metric, MetricWrapperBase):
        name, type_, labels = metric._name, metric._type, metric._labelnames
        says = metric._documentation
    else:
        name, type_, says = metric.name, metric.type, metric.documentation
        labels = metric._labelnames
    suffix = "_total" if type_ == "counter" else ""
    shown = f"{{{','.join(labels)}}}" if labels else ""
    return (code(f"{name}{suffix}{shown}"), str(type_), says)
