"""The fake Provisioner: it does what docs/applications.md says of a real one."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from influxops import InvalidRequest, Provisioner, TransactionLost
from influxops.config.load import parse_config
from influxops.testing import FakeProvisioner


@pytest.fixture
def fake() -> Iterator[FakeProvisioner]:
    fake = FakeProvisioner(tenants=["acme", "globex"])
    with fake:
        yield fake


def test_it_takes_what_a_real_one_takes(fake: FakeProvisioner) -> None:
    assert isinstance(fake, Provisioner)
    for name, method in inspect.getmembers(Provisioner, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(FakeProvisioner, name)) == inspect.signature(method)
    real = inspect.signature(Provisioner).parameters
    assert real.keys() <= inspect.signature(FakeProvisioner).parameters.keys()


def test_a_database_is_created_once_and_is_then_existing(fake: FakeProvisioner) -> None:
    created = fake.ensure("acme")
    assert (created.status, created.is_ready) == ("created", True)
    assert (created.database, created.target) == ("telemetry_acme", "default")
    assert created.url == "http://influxdb.invalid:8181"
    assert fake.databases == {"telemetry_acme"}
    assert fake.ensure("acme").status == "existing"
    fake.drop("telemetry_acme")
    assert fake.ensure("acme").status == "created"


def test_what_is_in_trouble_is_queued_and_made_when_that_is_over(fake: FakeProvisioner) -> None:
    fake.trouble = "connection refused"
    queued = fake.ensure("acme")
    assert (queued.status, queued.url, queued.target) == ("queued", "", None)
    assert "connection refused" in queued.reason
    assert fake.submit("globex")
    assert fake.health().trouble == {"target:default": "connection refused"}
    assert fake.health().pending == 2
    assert not fake.wait(timeout=0.01)
    assert fake.inspect("acme").exists is None
    assert fake.databases == set()
    fake.trouble = ""
    assert fake.wait(timeout=30)
    assert fake.databases == {"telemetry_acme", "telemetry_globex"}
    assert fake.health().trouble == {} and fake.health().pending == 0


def test_a_tenant_that_no_source_has_fails_until_it_is_there(fake: FakeProvisioner) -> None:
    failed = fake.ensure("initech")
    assert (failed.status, failed.is_ready, failed.url) == ("failed", False, "")
    assert failed.reason
    assert fake.tenants is not None
    fake.tenants.add("initech")
    assert fake.ensure("initech").status == "created"
    with FakeProvisioner() as other:
        assert other.ensure("anybody").status == "created"


def test_a_mistake_of_the_program_is_raised_at_once(fake: FakeProvisioner) -> None:
    for wrong in ("", " ", 7):
        with pytest.raises(InvalidRequest):
            fake.ensure(wrong)  # type: ignore[arg-type]
    for keywords in ({"target": "elsewhere"}, {"retention": "soon"}):
        with pytest.raises(InvalidRequest):
            fake.validate("acme", **keywords)
    with pytest.raises(InvalidRequest):
        fake.ensure_many("acme")
    assert not fake.submit("")


def test_looking_creates_nothing(fake: FakeProvisioner) -> None:
    assert fake.locate("acme").reason == "it is not there yet"
    looked = fake.inspect("acme")
    assert (looked.exists, looked.rows) == (False, 0)
    assert fake.databases == set()
    fake.ensure("acme")
    fake.write("telemetry_acme")
    assert fake.locate("acme").status == "existing"
    looked = fake.inspect("acme")
    assert (looked.exists, looked.telemetry_count) == (True, 1)
    assert looked.last_write is not None


async def _asynchronous(fake: FakeProvisioner) -> None:
    assert (await fake.aensure("acme")).status == "created"
    assert (await fake.alocate("acme")).status == "existing"
    assert (await fake.ainspect("acme")).exists is True
    assert fake.submit("globex") and await fake.wait_async(timeout=30)
    assert (await fake.aenqueue("globex", None)).status == "queued"


def test_its_asynchronous_calls_do_the_same(fake: FakeProvisioner) -> None:
    import asyncio

    asyncio.run(_asynchronous(fake))


def test_a_transaction_that_is_lost_is_refused_and_another_is_queued(fake: FakeProvisioner) -> None:
    with pytest.raises(TransactionLost):
        fake.enqueue("acme", SimpleNamespace(closed=True))
    queued = fake.enqueue("acme", SimpleNamespace(closed=False))
    assert queued.status == "queued"
    assert fake.wait("acme", timeout=30)
    assert fake.databases == {"telemetry_acme"}


def test_many_are_one_answer_each_and_a_closed_one_queues(fake: FakeProvisioner) -> None:
    with fake:
        assert {each.status for each in fake.ensure_many(["acme", "globex"])} == {"created"}
    assert fake.ensure("acme").status == "queued"
    assert fake.inspect("acme").error == "the Provisioner is closed"


def test_names_and_the_target_are_those_of_a_configuration() -> None:
    config = parse_config(
        {
            "naming": {"database": "iot_{tenant_id}"},
            "targets": {"eu1": {"kind": "influxdb3", "url": "http://eu1.example:8181"}},
        }
    )
    with FakeProvisioner(config) as fake:
        created = fake.ensure("acme")
    assert (created.database, created.target) == ("iot_acme", "eu1")
