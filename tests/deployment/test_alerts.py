"""The alerts of docs/deployment/alerts.yml, held against figures by promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deployment.prometheus import PROMTOOL, ROOT, RULES, needs_prometheus

BY_NAME: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}

NODE = {"job": "node", "instance": "ops1"}
RUN = {**NODE, "config": "/etc/influxops/influxops.toml"}
CONFIG = RUN["config"]
WORKER = {"job": "influxops-worker", "instance": "ops1:9108"}
SERVICE = {"job": "influxops-web", "instance": "ops1:8000"}
#: Hours at which all is well: a series, and what it is every five minutes. T is the time itself.
T = "0+300x60"
WELL = {
    "influxops_info": (RUN, "1x60"),
    "influxops_last_run_success": (RUN, "1x60"),
    "influxops_last_run_timestamp_seconds": (RUN, T),
    "influxops_last_success_timestamp_seconds": (RUN, T),
    "influxops_recorded_tenants/lost": ({**RUN, "state": "lost"}, "0x60"),
    "influxops_recorded_tenants/pending": ({**RUN, "state": "pending"}, "0x60"),
    "influxops_recorded_tenants/allocated": ({**RUN, "state": "allocated"}, "0x60"),
    "influxops_target_up/eu1": ({**RUN, "target": "eu1"}, "1x60"),
    "influxops_target_up/eu2": ({**RUN, "target": "eu2"}, "1x60"),
    "influxops_target_free_slots/eu1": ({**RUN, "target": "eu1"}, "0x60"),
    "influxops_target_free_slots/eu2": ({**RUN, "target": "eu2"}, "5x60"),
    "influxops_target_capacity/eu1": ({**RUN, "target": "eu1"}, "20x60"),
    "influxops_target_capacity/eu2": ({**RUN, "target": "eu2"}, "20x60"),
    "influxops_findings": ({**RUN, "kind": "orphan", "severity": "info"}, "3x60"),
    "influxops_queue_workers": (WORKER, "2x60"),
    "influxops_queue_read_timestamp_seconds": (WORKER, T),
    "influxops_queue_oldest_waiting_seconds": (WORKER, "12x60"),
    "influxops_queue_full_run_end_timestamp_seconds": (WORKER, T),
    "up/worker": (WORKER, "1x60"),
    "influxops_web_pending_tenants": (SERVICE, "0x60"),
    "influxops_web_oldest_pending_seconds": (SERVICE, "0x60"),
    "influxops_web_requests_total/good": ({**SERVICE, "status": "200"}, "0+300x60"),
    "influxops_web_requests_total/bad": ({**SERVICE, "status": "503"}, "0+3x60"),
    "up/service": (SERVICE, "1x60"),
}
FOUND = {**RUN, "severity": "error"}
SOME = "1x60"
GONE = "2x20 stale"
#: What is otherwise than on all is well, and what it is about (labels, summary) at
#: its end.
CASES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "InfluxopsRunTooOld": (
        {"influxops_last_run_timestamp_seconds": (RUN, "0+300x20 6000x40")},
        RUN,
        f"No full run of {CONFIG} for 3h 20m 0s",
    ),
    "InfluxopsRunFails": (
        {"influxops_last_run_success": (RUN, "1x20 0x40")},
        RUN,
        f"The runs of {CONFIG} end with errors",
    ),
    "InfluxopsDatabaseLost": (
        {"influxops_recorded_tenants/lost": ({**RUN, "state": "lost"}, "0x20 2x40")},
        {**RUN, "state": "lost"},
        f"2 tenants of {CONFIG} have lost their databases",
    ),
    "InfluxopsServerReplaced": (
        {"influxops_refused": ({**RUN, "guard": "replaced-server"}, SOME)},
        RUN,
        f"Another server answers at a target of {CONFIG}",
    ),
    "InfluxopsServerReplaced, as the configuration has it": (
        {"influxops_findings": ({**FOUND, "kind": "wrong-server"}, SOME)},
        RUN,
        f"Another server answers at a target of {CONFIG}",
    ),
    "InfluxopsTargetDown": (
        {"influxops_target_up/eu2": ({**RUN, "target": "eu2"}, "1x20 0x40")},
        {**RUN, "target": "eu2"},
        f"The target eu2 of {CONFIG} cannot be read",
    ),
    "InfluxopsTenantsPending": (
        {"influxops_recorded_tenants/pending": ({**RUN, "state": "pending"}, "0x20 3x40")},
        RUN,
        f"3 tenants of {CONFIG} wait for a database",
    ),
    "InfluxopsSlotsLow": (
        {"influxops_target_free_slots/eu2": ({**RUN, "target": "eu2"}, "5x20 3x40")},
        RUN,
        f"Room for 3 more databases in all targets of {CONFIG}",
    ),
    "InfluxopsNoSlots, InfluxopsSlotsLow": (
        {"influxops_target_free_slots/eu2": ({**RUN, "target": "eu2"}, "5x20 0x40")},
        RUN,
        f"No target of {CONFIG} takes another database",
    ),
    "InfluxopsTablesLow": (
        {"influxops_findings": ({**FOUND, "kind": "table-capacity"}, SOME)},
        RUN,
        f"A target of {CONFIG} has nearly all tables that it can hold",
    ),
    "InfluxopsTwoDatabases": (
        {"influxops_findings": ({**FOUND, "kind": "in-two-targets"}, SOME)},
        RUN,
        f"1 tenants of {CONFIG} have databases on two targets",
    ),
    "InfluxopsStillWrittenTo": (
        {"influxops_findings": ({**FOUND, "kind": "late-writes"}, SOME)},
        RUN,
        f"Clients still write to 1 old copies of {CONFIG}",
    ),
    "InfluxopsLedgerStale": (
        {"influxops_findings": ({**FOUND, "kind": "stale-ledger"}, SOME)},
        RUN,
        f"Servers of {CONFIG} show what the ledger does not know",
    ),
    "InfluxopsMetricsOld": (
        {"influxops_info": (RUN, GONE)},
        RUN,
        "The metrics of ops1 are of an older influxops than these rules",
    ),
    "InfluxopsWorkersSilent": (
        {
            "influxops_queue_workers": (WORKER, GONE),
            "influxops_queue_read_timestamp_seconds": (WORKER, "0x20 stale"),
            "influxops_queue_full_run_end_timestamp_seconds": (WORKER, "0x20 stale"),
        },
        {"job": WORKER["job"]},
        "No worker of influxops-worker answers",
    ),
    "InfluxopsWorkerDown": (
        {"up/worker": (WORKER, "1x20 0x40")},
        WORKER,
        "The worker on ops1:9108 does not answer",
    ),
    "InfluxopsWorkerBlind": (
        {"influxops_queue_read_timestamp_seconds": (WORKER, "0+300x20 6000x40")},
        WORKER,
        "The worker on ops1:9108 cannot read the ledger",
    ),
    "InfluxopsTenantWaits": (
        {"influxops_queue_oldest_waiting_seconds": (WORKER, "0x20 1200x40")},
        {"job": WORKER["job"]},
        "A tenant of influxops-worker waits for its database for 20m 0s",
    ),
    "InfluxopsFullRunTooOld": (
        {"influxops_queue_full_run_end_timestamp_seconds": (WORKER, "0+300x20 6000x40")},
        {"job": WORKER["job"]},
        "No worker of influxops-worker has made a full run for 3h 20m 0s",
    ),
    "InfluxopsServiceDown": (
        {"up/service": (SERVICE, "1x20 0x40")},
        SERVICE,
        "The service on ops1:8000 does not answer",
    ),
    "InfluxopsServiceFails": (
        {"influxops_web_requests_total/bad": ({**SERVICE, "status": "503"}, "0+100x60")},
        SERVICE,
        "25% of the requests to ops1:8000 fail",
    ),
    "InfluxopsServiceTenantWaits": (
        {"influxops_web_oldest_pending_seconds": (SERVICE, "0x20 1800x40")},
        SERVICE,
        "A tenant waits in the service on ops1:8000 for 30m 0s",
    ),
}
#: What must not fire: a target without a known limit has room, and so has a fleet with a full one;
#: a worker that makes no full runs has made none too late.
QUIET: dict[str, dict[str, Any]] = {
    "all is well": {},
    "a full target, and one without a known limit": {
        "influxops_target_free_slots/eu2": ({**RUN, "target": "eu2"}, "stale"),
        "influxops_target_capacity/eu2": ({**RUN, "target": "eu2"}, "stale"),
    },
    "a worker without full runs": {
        "influxops_queue_full_run_end_timestamp_seconds": (WORKER, "0x60")
    },
}
#: What influxops wrote before these rules: no label `config`, one metric named otherwise.
OLDER = {
    "influxops_last_run_success": (NODE, "1x60"),
    "influxops_last_success_timestamp_seconds": (NODE, "0+300x20 6000x40"),
    "influxops_target_places_left": ({**NODE, "target": "eu1"}, "0x60"),
    "influxops_target_up": ({**NODE, "target": "eu1"}, "0x60"),
    "influxops_recorded_tenants": ({**NODE, "state": "lost"}, "1x60"),
    "influxops_findings": ({**NODE, "kind": "late-writes", "severity": "warning"}, "1x60"),
    "influxops_queue_workers": (WORKER, "1x60"),
}
OLDER_FIRE = {
    "InfluxopsRunTooOld": (NODE, "No full run of  for 3h 20m 0s"),
    "InfluxopsTargetDown": (
        {**NODE, "target": "eu1"},
        "The target eu1 of  cannot be read",
    ),
    "InfluxopsDatabaseLost": (
        {**NODE, "state": "lost"},
        "1 tenants of  have lost their databases",
    ),
    "InfluxopsStillWrittenTo": (NODE, "Clients still write to 1 old copies of "),
    "InfluxopsMetricsOld": (
        NODE,
        "The metrics of ops1 are of an older influxops than these rules",
    ),
}


def case(name: str, figures: dict[str, Any], fire: dict[str, tuple[dict[str, str], str]]) -> Any:
    """Return a test as promtool takes it: which alerts fire after five hours, and which do not."""
    expected = []
    for alert, rule in BY_NAME.items():
        fired = []
        if alert in fire:
            labels, summary = fire[alert]
            told = {**rule["annotations"], "summary": summary}
            fired = [{"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": told}]
        expected.append({"eval_time": "5h", "alertname": alert, "exp_alerts": fired})
    series = []
    for key, (labels, values) in figures.items():
        inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
        series.append({"series": f"{key.partition('/')[0]}{{{inside}}}", "values": values})
    return {
        "name": name,
        "interval": "5m",
        "input_series": series,
        "alert_rule_test": expected,
    }


def promtool(*arguments: str) -> str:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(tests: list[Any], folder: Path) -> None:
    """See that the alerts are as these tests have them."""
    file, rules = folder / "tests.yml", {"rule_files": [str(RULES)], "evaluation_interval": "5m"}
    file.write_text(yaml.safe_dump({**rules, "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", str(file))


@needs_prometheus
def test_each_alert_fires_for_what_it_is_about_and_for_nothing_else(tmp_path: Path) -> None:
    tests = [case(name, {**WELL, **changed}, {}) for name, changed in QUIET.items()]
    for name, (changed, labels, summary) in CASES.items():
        first, *more = name.partition(" ")[0].rstrip(","), *name.split(", ")[1:]
        fire = {first: (labels, summary)}
        if "InfluxopsSlotsLow" in more:
            low = f"Room for 0 more databases in all targets of {CONFIG}"
            fire["InfluxopsSlotsLow"] = (labels, low)
        tests.append(case(name, {**WELL, **changed}, fire))
    assert "SUCCESS" in promtool("check", "rules", str(RULES))
    check(tests, tmp_path)
    assert {name.partition(" ")[0].rstrip(",") for name in CASES} == set(BY_NAME)


@needs_prometheus
def test_rules_say_of_older_metrics_that_they_are_older(tmp_path: Path) -> None:
    check([case("older", OLDER, OLDER_FIRE)], tmp_path)


def test_each_alert_names_a_runbook_that_there_is() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in (ROOT / "docs" / "runbooks.md").read_text().splitlines()
        if line.startswith("#")
    }
    for name, rule in BY_NAME.items():
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/runbooks.md"
        assert heading in headings, name
        assert rule["labels"]["severity"] in ("critical", "warning")
