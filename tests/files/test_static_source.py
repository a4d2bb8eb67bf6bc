"""Tenants that the configuration lists itself."""

from __future__ import annotations

from typing import Any

import pytest

from influxops.config.settings import InvalidSettings
from influxops.plugin import Finding, FindingKind, RunContext, Tenant
from influxops_files import StaticSettings, StaticSource


def settings(*tenants: Any) -> StaticSettings:
    return StaticSettings.parse({"tenants": list(tenants)})


def read(*tenants: Any) -> list[Tenant | Finding]:
    return list(StaticSource("static", settings(*tenants)).influxops_tenants(RunContext()))


def test_ids_and_tables_are_tenants() -> None:
    assert read(
        "acme", {"id": "globex", "retention": "90d"}, {"tenant_id": "x", "database": 1}
    ) == [
        Tenant("acme"),
        Tenant("globex", {"retention": "90d"}),
        Tenant("x", {"database": "1"}),
    ]
    assert read() == []


def test_an_empty_id_is_a_finding() -> None:
    tenant, finding = read("acme", "")
    assert tenant == Tenant("acme")
    assert isinstance(finding, Finding)
    assert (finding.kind, finding.message) == (
        FindingKind.EMPTY_ID,
        "1 entry has no tenant id (item 2)",
    )


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (42, 'item 2: the id 42 is read as a number, not as text (put it into quotes: "42")'),
        (
            True,
            'item 2: the id true is read as a boolean, not as text (put it into quotes: "true")',
        ),
        ({"id": 42}, "item 2: the id 42 is read as a number"),
        ({"retention": "90d"}, "item 2: a table without `id`"),
        ({"id": "a", "target": ["x"]}, "item 2: target is a list"),
        (["a"], "item 2: neither an id nor an object"),
    ],
)
def test_an_item_that_is_no_tenant_is_refused_with_its_place(item: Any, message: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings("acme", item)
    assert message in str(caught.value)


def test_something_else_than_a_list_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="write a list"):
        StaticSettings.parse({"tenants": "acme"})


def test_the_location_is_the_configuration() -> None:
    location = settings("acme").location()
    assert location is not None
    assert (location.text, location.host, location.is_default) == ("the configuration", None, False)


def test_a_misspelt_attribute_is_refused_and_an_unknown_one_is_told() -> None:
    with pytest.raises(InvalidSettings, match="item 1: there is Target; is target meant"):
        settings({"id": "a", "Target": "eu1"})
    tenant, finding = read({"id": "a", "note": "x"})
    assert tenant == Tenant("a")
    assert isinstance(finding, Finding)
    assert finding.message == "1 key is ignored: note"


def test_single_tenants_are_looked_up_as_the_list_has_them() -> None:
    source = StaticSource("static", settings("acme", {"id": "globex", "retention": "90d"}))
    found = source.influxops_get_tenants({"globex", "nobody"}, RunContext())
    assert list(found) == [Tenant("globex", {"retention": "90d"})]
