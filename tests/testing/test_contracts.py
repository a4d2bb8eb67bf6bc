"""The contract suites notice plugins that break the contract, and say what is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Inventory,
    Outcome,
    Report,
    Reporter,
    ReporterError,
    RunContext,
    SourceError,
    Tenant,
    hookimpl,
)
from influxops.testing import (
    MemorySource,
    MemoryTarget,
    ReporterContract,
    SourceContract,
    TargetContract,
)


def failure(contract: Any, plugin: type[Any], test: str, **attributes: Any) -> str:
    """Return why a test of a contract fails for a plugin; fail where it does not."""
    suite = type("Suite", (contract,), {"plugin": plugin, **attributes})()
    with pytest.raises(AssertionError) as caught:
        getattr(suite, test)()
    return str(caught.value)


class GivesTwice(MemorySource):
    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
        return [Tenant("acme"), Tenant("globex"), Tenant("acme")]


class GivesOnce(MemorySource):
    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
        given, self.__dict__["given"] = self.__dict__.get("given", ["acme", "globex"]), []
        return [Tenant(id_) for id_ in given]


class GivesNothingForATrouble(MemorySource):
    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
        return []


class HasNoHint(MemorySource):
    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterable[Tenant]:
        raise SourceError("it is not there")


class LooksUpOthers(MemorySource):
    @hookimpl
    def influxops_get_tenants(self, ids: Collection[str], context: RunContext) -> Iterable[Tenant]:
        return [Tenant("acme"), Tenant("globex")]


class Misspelt(MemorySource):
    @hookimpl
    def influxops_chek(self) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "test", "says"),
    [
        (GivesTwice, "it_gives_all_tenants", "given twice"),
        (GivesOnce, "it_gives_them_again", ""),
        (LooksUpOthers, "it_reads_single_tenants", ""),
        (Misspelt, "it_implements_the_hooks_of_its_kind_and_no_others", "did you mean influxops_"),
        (
            GivesNothingForATrouble,
            "a_place_that_cannot_be_read_is_an_error_with_a_hint",
            "nothing was raised",
        ),
        (HasNoHint, "a_place_that_cannot_be_read_is_an_error_with_a_hint", "has no hint"),
    ],
)
def test_a_source_that_breaks_its_contract_is_noticed(
    plugin: type[Any], test: str, says: str
) -> None:
    settings = {"tenants": ["acme", "globex"]}
    own = {"settings": settings, "unreachable": settings, "expected": ("acme", "globex")}
    assert says in failure(SourceContract, plugin, f"test_{test}", **own)


class Broken(MemoryTarget):
    """Does to each change what `breaks` says; a change that it keeps is made."""

    breaks: Callable[[Any, Change], Iterable[Outcome] | None]

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        for change in changes:
            found = type(self).breaks(self, change)
            yield from found if found is not None else super().influxops_ensure([change], context)


def lies(self: Any, change: Change) -> list[Outcome] | None:
    return [Outcome(change, ChangeResult.DONE)] if change.action is Action.CREATE else None


def says_nothing(self: Any, change: Change) -> list[Outcome] | None:
    return [] if change.action is Action.CREATE else None


def drops_all(self: Any, change: Change) -> list[Outcome] | None:
    if change.action is Action.DROP:
        self.databases.clear()
    return None


def sets_no_retention(self: Any, change: Change) -> list[Outcome] | None:
    is_set = change.action is Action.SET_RETENTION
    return [Outcome(change, ChangeResult.DONE)] if is_set else None


def fails_again(self: Any, change: Change) -> list[Outcome] | None:
    is_there = change.action is Action.CREATE and change.database in self.databases
    return [Outcome(change, ChangeResult.FAILED, "it exists")] if is_there else None


@pytest.mark.parametrize(
    ("breaks", "test", "says"),
    [
        (lies, "a_database_is_created_and_found", ""),
        (lies, "what_it_calls_done_is_there_after_an_interrupt", ""),
        (lies, "a_run_makes_what_is_missing_and_changes_nothing_after", ""),
        (says_nothing, "each_change_has_one_outcome", "did not say how 1 of 1 changes ended"),
        (drops_all, "dropping_leaves_nothing_and_can_be_repeated", "another database is gone"),
        (sets_no_retention, "it_keeps_retention_periods", ""),
        (fails_again, "creating_it_again_is_no_failure", "it exists"),
    ],
)
def test_a_target_that_breaks_its_contract_is_noticed(breaks: Any, test: str, says: str) -> None:
    plugin = type("Target", (Broken,), {"breaks": breaks, "servers": {}, "rows": {}})
    assert says in failure(TargetContract, plugin, f"test_{test}")


class AnotherServerEachTime(MemoryTarget):
    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        return replace(super().influxops_list_databases(verify, context), identity=uuid.uuid4().hex)


class ReadsAll(MemoryTarget):
    @hookimpl
    def influxops_get_databases(self, names: Collection[str], context: RunContext) -> Inventory:
        return self.influxops_list_databases((), context)


class AlwaysNew(MemoryTarget):
    @hookimpl
    def influxops_create_databases(
        self, changes: Sequence[Change], context: RunContext
    ) -> Iterator[Outcome]:
        for outcome in super().influxops_create_databases(changes, context):
            yield replace(outcome, partially_applied=True)


@pytest.mark.parametrize(
    ("plugin", "test"),
    [
        (AnotherServerEachTime, "its_server_is_the_same_each_time"),
        (ReadsAll, "it_reads_single_databases"),
        (AlwaysNew, "it_creates_databases_for_an_application_that_waits"),
    ],
)
def test_a_target_whose_reading_breaks_its_contract_is_noticed(
    plugin: type[Any], test: str
) -> None:
    plugin = type("Target", (plugin,), {"servers": {}, "rows": {}})
    failure(TargetContract, plugin, f"test_{test}")


class BreaksOnDryRuns(Reporter):
    """Takes for granted that something was done."""

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        assert not report.dry_run


class SaysNotWhatToDo(Reporter):
    """Fails without a hint."""

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        raise ReporterError("it is not there")


@pytest.mark.parametrize(
    ("plugin", "test", "says"),
    [
        (BreaksOnDryRuns, "it_reports_every_sort_of_run", "a dry run: its plugin broke"),
        (SaysNotWhatToDo, "what_cannot_be_delivered_is_a_warning_with_a_hint", "has no hint"),
    ],
)
def test_a_reporter_that_breaks_its_contract_is_noticed(
    plugin: type[Any], test: str, says: str
) -> None:
    assert says in failure(ReporterContract, plugin, f"test_{test}", unreachable={})
