"""Decisions, told by the plan alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from influxops.domain.database import UNKNOWN, Database, Inventory, TargetCapabilities
from influxops.domain.finding import Finding, Severity
from influxops.domain.naming import Template
from influxops.domain.plan import Action, Change, TenantStatus
from influxops.domain.tenant import Tenant
from influxops.reconcile.guards import guard
from influxops.reconcile.plan.desired import with_desired
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.policy import Rules, TargetPolicy
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import RunState
from influxops.report.model import RunOrigin, SourceState, TargetState
from influxops.runtime.context import RunContext
from tests.fakes import MemoryTarget

DAY = 86400


def database(name: str, retention: object = None, complete: object = True) -> tuple[str, Database]:
    return f"telemetry_{name}", Database(retention, complete)  # type: ignore[arg-type]


def inventory(*databases: tuple[str, Database], capacity: int | None = None) -> Inventory:
    return Inventory(dict(databases), capacity=capacity)


def policy(**values: object) -> TargetPolicy:
    return TargetPolicy(**{"capabilities": MemoryTarget.capabilities, **values})  # type: ignore[arg-type]


def rules(*targets: str, **values: object) -> Rules:
    policies = {name: policy() for name in targets or ("eu1",)}
    return Rules(**{"template": Template("telemetry_{tenant_id}"), "targets": policies, **values})  # type: ignore[arg-type]


class Result:
    """A plan, and what tests ask of it."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    @property
    def held(self) -> tuple[str, ...]:
        return self._with(TenantStatus.BLOCKED)

    @property
    def unknown(self) -> tuple[str, ...]:
        return self._with(TenantStatus.UNKNOWN)

    def _with(self, verdict: TenantStatus) -> tuple[str, ...]:
        return tuple(id_ for id_, each in self.state.plans.items() if each.status is verdict)

    @property
    def findings(self) -> list[Finding]:
        own = [f for each in self.state.plans.values() for f in each.findings]
        return [*own, *self.state.plan_notes]

    @property
    def changes(self) -> list[Change]:
        return [c for each in self.state.plans.values() for c in each.changes]

    @property
    def refused(self) -> list[Change]:
        return [c for each in self.state.plans.values() for c in each.refused]


def plan(
    tenants: Sequence[str | Tenant],
    inventories: dict[str, Inventory] | None = None,
    rule: Rules | None = None,
    *,
    context: RunContext | None = None,
    allow: Iterable[str] = (),
    absent: bool = False,
    sources_complete: bool = True,
    check: Callable[[], None] | None = None,
) -> Result:
    rule = rule or rules()
    request = RunRequest((), (), rule, RunOrigin(), frozenset(allow))
    state = RunState(
        request,
        context or RunContext(),
        [each if isinstance(each, Tenant) else Tenant(each) for each in tenants],
        {"eu1": inventory()} if inventories is None else inventories,
        (SourceState("registry", "memory", "", error="" if sources_complete else "gone"),),
        tuple(TargetState(name, "memorydb", "", True) for name in rule.targets),
    )
    state = make_plan(with_desired(state, check), absent=absent, check=check)
    return Result(guard(state, drops=absent))


def actions(result: Result) -> list[tuple[str, str, str]]:
    return [(c.action.value, c.tenant, c.target) for c in result.changes]


def found(result: Result, kind: str) -> list[str | None]:
    return [f.tenant for f in result.findings if f.kind == kind]


@pytest.mark.parametrize(
    ("tenant", "rule"),
    [
        ("a b", "ASCII letters"),
        ("../x", "slash"),
        ("a/b", "slash"),
        ("a\nb", "ASCII letters"),
        ("münchen", "ASCII letters"),
        ("x" * 600, "610 characters"),
        ("a.b", "ASCII letters"),
    ],
)
def test_an_id_that_makes_no_valid_name_is_held_with_the_rule_it_breaks(
    tenant: str, rule: str
) -> None:
    result = plan([tenant, "good"])
    assert result.held == (tenant,)
    assert rule in result.findings[0].message
    assert result.findings[0].severity is Severity.ERROR
    assert "\n" not in result.findings[0].message
    assert actions(result) == [("create", "good", "eu1")]


def test_the_longest_valid_name_is_taken() -> None:
    assert not plan(["x" * (511 - len("telemetry_"))]).held
    assert plan(["x" * (512 - len("telemetry_"))]).held


def test_two_ids_with_one_name_are_both_held() -> None:
    other = Tenant("b", {"database": "telemetry_a"})
    assert plan(["a", other, "c"]).held == ("a", "b")


@pytest.mark.parametrize("tenant", ["a\tb", "a\x7f"])
def test_an_id_that_its_target_cannot_write_is_held(tenant: str) -> None:
    assert found(plan([Tenant(tenant, {"database": "own"})]), "invalid-id") == [tenant]


def test_ids_that_differ_by_case_are_held_unless_their_database_exists() -> None:
    result = plan(["Acme", "acme"], {"eu1": inventory(database("acme"))})
    assert result.held == ("Acme",)
    severities = {f.tenant: f.severity for f in result.findings if f.kind == "case"}
    assert severities == {"Acme": Severity.ERROR, "acme": Severity.WARNING}


def test_a_tenant_that_is_ignored_is_said_to_be_and_is_no_error() -> None:
    result = plan(["a b"], rule=rules(acknowledged=frozenset(["a b"])))
    assert result.held == ("a b",)
    (found,) = result.findings
    assert found.severity is Severity.INFO
    assert found.message.endswith(" (ignored)")


def test_unmanaged_retention_is_neither_set_nor_cleared() -> None:
    result = plan(["a"], {"eu1": inventory(database("a", 30 * DAY))})
    assert actions(result) == []


@pytest.mark.parametrize(
    ("actual", "wanted", "allowed"),
    [(30 * DAY, 60 * DAY, True), (30 * DAY, None, True), (60 * DAY, 30 * DAY, False),
     (None, 30 * DAY, False)],
)  # fmt: skip
def test_longer_retention_is_set_and_shorter_waits(
    actual: int | None, wanted: int | None, allowed: bool
) -> None:
    result = plan(["a"], {"eu1": inventory(database("a", actual))}, rules(retention=wanted))
    assert bool(result.changes) is allowed
    assert bool(result.refused) is not allowed
    change = (*result.changes, *result.refused)[0]
    assert change.action is Action.SET_RETENTION
    assert change.after is not None and change.after.retention == wanted


def test_what_cannot_be_read_is_not_changed() -> None:
    unknown = database("a", UNKNOWN, UNKNOWN)
    result = plan(["a"], {"eu1": inventory(unknown)}, rules(retention=DAY))
    assert actions(result) == []


def test_a_missing_marker_and_another_retention_are_two_changes() -> None:
    result = plan(["a"], {"eu1": inventory(database("a", DAY, False))}, rules(retention=2 * DAY))
    assert [a for a, *_ in actions(result)] == ["set-retention", "add-marker"]
    first, second = result.changes
    assert first.after == second.before
    assert second.after == database("a", 2 * DAY, True)[1]


def test_attributes_override_template_retention_and_placement() -> None:
    tenant = Tenant("a", {"database": "own", "retention": "2d", "target": "eu2"})
    two = {"eu1": inventory(), "eu2": inventory()}
    result = plan([tenant], two, rules("eu1", "eu2", retention=DAY))
    (change,) = result.changes
    assert (change.database, change.target) == ("own", "eu2")
    assert change.after is not None and change.after.retention == 2 * DAY


@pytest.mark.parametrize("retention", ["30 parsecs", "59m", "x"])
def test_a_tenant_with_a_bad_retention_is_held(retention: str) -> None:
    assert found(plan([Tenant("a", {"retention": retention})]), "invalid-retention") == ["a"]


def test_a_tenant_that_names_an_unknown_target_is_held_with_the_nearest() -> None:
    result = plan([Tenant("a", {"target": "eu11"})])
    assert found(result, "unknown-target") == ["a"]
    assert "eu1" in result.findings[0].hint


def test_fill_takes_the_first_with_room_and_spread_the_emptiest() -> None:
    two = {"eu1": inventory(database("x"), capacity=2), "eu2": inventory(capacity=2)}
    known = ["x", "a", "b", "c"]
    filled = plan(known, two, rules("eu1", "eu2"))
    assert [c.target for c in filled.changes] == ["eu1", "eu2", "eu2"]
    spread = plan(known, two, rules("eu1", "eu2", policy="spread"))
    assert [c.target for c in spread.changes] == ["eu2", "eu1", "eu2"]


def test_where_the_database_is_it_stays() -> None:
    two = {"eu1": inventory(), "eu2": inventory(database("a"))}
    result = plan(["a"], two, rules("eu1", "eu2", pins={"a": "eu1"}))
    assert actions(result) == []
    assert found(result, "misplaced") == ["a"]


def test_a_draining_target_keeps_what_it_has_and_gets_nothing_new() -> None:
    targets = {"eu1": policy(draining=True), "eu2": policy()}
    two = {"eu1": inventory(database("a", complete=False)), "eu2": inventory()}
    result = plan(["a", "b"], two, rules(targets=targets))
    assert actions(result) == [("add-marker", "a", "eu1"), ("create", "b", "eu2")]
    pinned = plan(["b"], two, rules(targets=targets, pins={"b": "eu1"}))
    assert found(pinned, "draining") == ["b"]


def test_a_set_capacity_holds_who_does_not_fit() -> None:
    limited = rules(targets={"eu1": policy(capacity=2)})
    result = plan(["a", "b", "c"], rule=limited)
    assert [c.tenant for c in result.changes] == ["a", "b"]
    assert found(result, "over-capacity") == ["c"]


def test_an_estimated_capacity_is_told_and_tried() -> None:
    result = plan(["a", "b", "c"], {"eu1": inventory(capacity=2)})
    assert len(result.changes) == 3
    (finding,) = result.findings
    assert "3 to create, ~2 slots free" in finding.message and finding.target == "eu1"


def test_targets_with_free_slots_come_before_one_that_is_asked_for_more() -> None:
    two = {"eu1": inventory(capacity=1), "eu2": inventory(capacity=1)}
    result = plan(["a", "b", "c"], two, rules("eu1", "eu2"))
    assert [c.target for c in result.changes] == ["eu1", "eu2", "eu1"]


def test_a_server_that_holds_more_than_its_edition_should_disproves_the_estimate() -> None:
    held = [database(str(number)) for number in range(3)]
    result = plan([*"012", "a"], {"eu1": inventory(*held, capacity=2)})
    assert not result.findings


def test_an_unlimited_capacity_is_no_estimate() -> None:
    unlimited = rules(targets={"eu1": policy(capacity="unlimited")})
    assert not plan(["a", "b"], {"eu1": inventory(capacity=1)}, unlimited).findings


def test_a_database_on_two_targets_is_held_whatever_its_pin() -> None:
    two = {"eu1": inventory(database("a")), "eu2": inventory(database("a"))}
    result = plan(["a"], two, rules("eu1", "eu2", pins={"a": "eu2"}))
    assert found(result, "in-two-targets") == ["a"]
    assert result.held == ("a",)


def test_orphans_are_told_only_when_everything_was_read_and_asked_about() -> None:
    one = {"eu1": inventory(database("gone"), ("other", Database()))}
    assert [f.database for f in plan(["a"], one).findings if f.kind == "orphan"] == [
        "telemetry_gone"
    ]
    assert not found(plan(["a"], one, sources_complete=False), "orphan")
    assert not found(plan(["a"], one, context=RunContext(tenants=frozenset("a"))), "orphan")


def test_the_database_of_a_held_tenant_is_no_orphan() -> None:
    one = {"eu1": inventory(database("a"))}
    result = plan(["a", Tenant("b", {"database": "telemetry_a"})], one)
    assert not found(result, "orphan")


def test_an_empty_scope_covers_nobody_and_none_covers_all() -> None:
    def run(**scope: frozenset[str]) -> RunState:
        return RunState(RunRequest((), (), rules(), RunOrigin()), RunContext(**scope))  # type: ignore[arg-type]

    assert run().covers("a", "eu1")
    assert not run(tenants=frozenset()).covers("a")
    assert not run(targets=frozenset()).covers("a", "eu1")
    assert RunContext(tenants=frozenset()).is_limited


def test_a_scope_of_targets_writes_only_what_belongs_there() -> None:
    two = {"eu1": inventory(capacity=1), "eu2": inventory(capacity=5)}
    context = RunContext(targets=frozenset(["eu2"]))
    result = plan(["a", "b"], two, rules("eu1", "eu2"), context=context)
    assert actions(result) == [("create", "b", "eu2")]


def test_a_tenant_pinned_to_an_unreachable_target_waits_even_when_allowed() -> None:
    one = {"eu2": inventory()}
    pinned = rules("eu1", "eu2", pins={"a": "eu1"})
    result = plan(["a", "b"], one, pinned, allow=["unreachable"])
    assert result.unknown == ("a",)
    assert actions(result) == [("create", "b", "eu2")]


def test_nothing_but_named_tenants_is_ever_dropped() -> None:
    one = {"eu1": inventory(database("a"), database("b"))}
    assert not plan(["a", "b"], one, absent=True, allow=["drop"]).changes
    context = RunContext(tenants=frozenset("a"))
    result = plan(["a", "b"], one, absent=True, allow=["drop"], context=context)
    assert actions(result) == [("drop", "a", "eu1")]


def test_ids_that_look_alike_are_held_and_written_out() -> None:
    alike = [Tenant(id_, {"database": id_[-1] + name}) for id_, name in
             (("caf\u00e9", "one"), ("cafe\u0301", "two"))]  # fmt: skip
    result = plan([Tenant(each.id, {"database": f"db{n}"}) for n, each in enumerate(alike)])
    assert found(result, "case") == ["caf\u00e9", "cafe\u0301"]
    messages = [f.sentence for f in result.findings]
    assert messages[0] != messages[1]
    assert "u0301" in messages[1]


def test_what_a_kind_of_target_does_not_have_is_held_and_not_sent() -> None:
    plain = rules(targets={"eu1": TargetPolicy(capabilities=TargetCapabilities(server="Plain"))})
    assert found(plan([Tenant("a", {"retention": "30d"})], rule=plain), "invalid-retention") == [
        "a"
    ]
    (change,) = plan(["a/b"], rule=plain).changes
    assert change.after == Database()


def test_a_retention_that_is_wanted_and_cannot_be_read_is_a_warning() -> None:
    result = plan(["a"], {"eu1": inventory(database("a", UNKNOWN))}, rules(retention=DAY))
    assert [f.severity for f in result.findings if f.kind == "retention-not-read"] == [
        Severity.WARNING
    ]


TENANTS = 20_000


def many(**attributes: str) -> list[Tenant]:
    return [Tenant(f"t{number:06}", attributes) for number in range(TENANTS)]


@pytest.mark.parametrize(
    ("tenants", "inventories"),
    [
        (many(), {"eu1": inventory(capacity=5)}),
        (many(), {}),
        (many(database="telemetry_x"), {"eu1": inventory()}),
        (many(retention="never"), {"eu1": inventory()}),
    ],
    ids=["full", "unreachable", "collision", "blocked"],
)
def test_planning_looks_at_the_clock_now_and_then_and_asks_linearly(
    tenants: list[Tenant], inventories: dict[str, Inventory]
) -> None:
    looks: list[int] = []
    acknowledged = frozenset(f"x{number}" for number in range(200))
    result = plan(
        tenants,
        inventories,
        rules(acknowledged=acknowledged),
        check=lambda: looks.append(1),
    )
    assert TENANTS / 1000 <= len(looks) <= 10 * TENANTS / 1000
    assert len(result.state.plans) == TENANTS
    assert sum(len(f.message) for f in result.findings) < 300 * TENANTS
