"""`PrometheusReporter`: a textfile for node_exporter's textfile collector."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from influxops.plugin import (
    Action,
    Check,
    ExitCode,
    HealthChecks,
    Report,
    Reporter,
    ReporterSettings,
    RunContext,
    State,
    TargetState,
    TenantStatus,
    __version__,
    hookimpl,
    setting,
)
from influxops.plugin.files import check_writable, is_special, lock_folder, replace_file

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_CHANGES = "influxops_changes"  # the client appends `_total` to a counter's name
_LAST_SUCCESS = "influxops_last_success_timestamp_seconds"


class PrometheusReporter(Reporter, HealthChecks):
    """Writes a run's metrics; dry runs leave the file alone.

    Each has the label `config`, the configuration's file: node_exporter takes a series from one
    textfile alone, and drops the second one without a word. It does the same to a metric with
    another HELP, so these texts stay as they are.

    A run that was limited to some tenants or targets only counts its changes: its other metrics
    would look as if all other tenants were gone. For the same reason a run that read no source, or
    no target (another run holds the lock), keeps the former metrics of tenants or of targets.
    """

    class Settings(ReporterSettings):
        """Where the textfile is."""

        path: str = setting(
            description="The textfile, replaced whole at each run; node_exporter reads those "
            "that end in `.prom`.",
            min_length=1,
        )

    settings: Settings

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Check that the textfile can be written."""
        yield check_writable(Path(self.settings.path), "the Prometheus textfile", replaced=True)

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Write the textfile."""
        if report.dry_run:
            return
        path = Path(self.settings.path)
        with lock_folder(path, context):  # two runs that add to the same counts would lose some
            self._write(path, report, context)

    def _write(self, path: Path, report: Report, context: RunContext) -> None:
        from prometheus_client import CollectorRegistry, generate_latest

        former = self._former(path, context)
        if report.is_limited:
            kept = [family for name, family in former.items() if name != _CHANGES]
            found = [*kept, _changes(report, former)]
        else:
            found = [*families(report, former)]
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(found, report.origin.config or ""))
        data = generate_latest(registry)
        # node_exporter runs as another user.
        replace_file(path, data, context, what="the Prometheus textfile", mode=0o644)

    def _former(self, path: Path, context: RunContext) -> dict[str, Metric]:
        """Return the last run's metrics by name; none where there is no textfile to read."""
        if is_special(path.expanduser()):
            return {}
        from prometheus_client.parser import text_string_to_metric_families

        try:
            text = path.expanduser().read_text(encoding="utf-8")
            families = list(text_string_to_metric_families(text))
        except FileNotFoundError:
            return {}
        except Exception as error:  # the parser raises various errors for a broken file
            context.log.warning(
                "%s: %s cannot be read (%s); its counters start again at zero",
                self.section,
                path,
                type(error).__name__,
            )
            return {}
        return {family.name: family for family in families}


class _Collected:
    def __init__(self, families: Iterable[Metric], config: str) -> None:
        self._families, self._config = list(families), config

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            family.samples = [
                sample._replace(labels={**sample.labels, "config": self._config})
                for sample in family.samples
            ]
            yield family


def _changes(report: Report, former: Mapping[str, Metric]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    totals: Counter[str] = Counter(change.action.value for change in report.changed)
    if _CHANGES in former:
        for sample in former[_CHANGES].samples:
            if math.isfinite(sample.value):
                totals[sample.labels.get("action", "")] += int(sample.value)
    family = CounterMetricFamily(_CHANGES, "Changes made, by action.", labels=["action"])
    for action in Action:
        family.add_metric([action.value], totals[action.value])
    return family


def families(report: Report, former: Mapping[str, Metric]) -> Iterator[Metric]:
    """Yield the metrics of a whole run; of what it could not see, the former ones."""
    is_success = report.exit_code is ExitCode.OK
    ended = report.started.timestamp() + report.seconds
    yield _gauges("influxops_info", "The version that ran last.", {(__version__,): 1}, "version")
    yield _gauge("influxops_last_run_timestamp_seconds", "When the last run ended.", ended)
    yield _gauge("influxops_last_run_success", "Whether the last run ended as desired.", is_success)
    if is_success:
        yield _gauge(_LAST_SUCCESS, "When a run last ended as desired, in Unix time.", ended)
    else:
        yield from _kept(former, _LAST_SUCCESS)
    yield _gauge("influxops_run_seconds", "How long the last run took.", report.seconds)
    if any(not source.error for source in report.sources):
        states = Counter(tenant.status for tenant in report.tenants)
        yield _gauges(
            "influxops_tenants",
            "Tenants by where they stand at the end of the last run.",
            {(state.value,): states[state] for state in TenantStatus},
            "state",
        )
    else:
        yield from _kept(former, "influxops_tenants")
    if report.targets:
        yield from _target_families(report.targets)
    else:
        yield from _kept(former, "influxops_target_")
    if report.ledger is not None and not report.ledger.error:
        recorded = report.ledger.states
        yield _gauges(
            "influxops_recorded_tenants",
            "Tenants by what the ledger has of them.",
            {(state.value,): recorded.get(state.value, 0) for state in State},
            "state",
        )
    else:
        yield from _kept(former, "influxops_recorded_")
    yield _gauges(
        "influxops_refused",
        "Guards that refused something in the last run.",
        {(each.guard,): 1 for each in report.refusals},
        "guard",
    )
    found = Counter((finding.kind.value, finding.severity.value) for finding in report.findings)
    yield _gauges(
        "influxops_findings",
        "What the last run noticed.",
        dict(sorted(found.items())),
        "kind",
        "severity",
    )
    yield _changes(report, former)


def _kept(former: Mapping[str, Metric], prefix: str) -> Iterator[Metric]:
    return (family for name, family in former.items() if name.startswith(prefix))


#: Of each target: what is known of it; None where it is not.
_OF_TARGETS: Mapping[str, tuple[str, Callable[[TargetState], float | None]]] = {
    "up": ("Whether the target could be read.", lambda target: target.reachable),
    "free_slots": (
        "How many databases the target still holds, where that is known.",
        # One that is draining gets none.
        lambda target: 0 if target.reachable and target.state == "draining" else target.free_slots,
    ),
    "databases": ("How many databases the target holds.", lambda target: target.databases),
    "capacity": (
        "How many databases the target can hold, where a limit is known.",
        lambda target: target.capacity,
    ),
    "tables": ("How many tables the target holds.", lambda target: target.tables),
    "table_capacity": (
        "How many tables the target can hold, where a limit is known.",
        lambda target: target.table_capacity,
    ),
}


def _target_families(targets: Iterable[TargetState]) -> Iterator[Metric]:
    for name, (documentation, value) in _OF_TARGETS.items():
        samples: dict[tuple[str, ...], float] = {
            (target.name,): known for target in targets if (known := value(target)) is not None
        }
        yield _gauges(f"influxops_target_{name}", documentation, samples, "target")
    yield _gauges(
        "influxops_target_info",
        "The server that is behind the target.",
        {
            (t.name, t.identity or "", t.edition or "", t.version or ""): 1
            for t in targets
            if t.reachable
        },
        *("target", "cluster_uuid", "edition", "version"),
    )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return _gauges(name, documentation, {(): value})


def _gauges(
    name: str, documentation: str, samples: Mapping[tuple[str, ...], float], *labels: str
) -> Metric:
    """Return a family with a sample for each tuple of the labels' values."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, documentation, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family
