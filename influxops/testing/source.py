"""What every tenant source has to do."""

from __future__ import annotations

from collections.abc import Sequence

from influxops.domain.tenant import Tenant
from influxops.engine.operations import Ensure
from influxops.errors import Interrupted, LockBusy, SourceError
from influxops.plugin_host.source import SourceHandle
from influxops.runtime.context import RunContext
from influxops.testing.contract import PluginContract, raised


class SourceContract(PluginContract):
    """The contract of a tenant source: say `plugin`, `settings` and `expected`.

    Beside a place that holds the `expected` tenants, `unreachable` leads to one that cannot be
    read.
    """

    role = "sources"
    #: The tenants that it gives with these settings: ids, or whole tenants.
    expected: Sequence[str | Tenant] = ()

    def read(self, tested: SourceHandle) -> dict[str, dict[str, str]]:
        """Return the attributes of all tenants by id."""
        tenants, _ = tested.tenants(RunContext())
        return {tenant.id: dict(tenant.attributes) for tenant in tenants}

    @property
    def wanted(self) -> dict[str, dict[str, str]]:
        """What is to be read."""
        assert self.expected, "`expected` names no tenant"
        tenants = [each if isinstance(each, Tenant) else Tenant(each) for each in self.expected]
        return {tenant.id: dict(tenant.attributes) for tenant in tenants}

    def test_it_gives_all_tenants(self) -> None:
        """It gives each once, and no other."""
        with self.handle() as tested:
            tenants, _ = tested.tenants(RunContext())
            assert self.read(tested) == self.wanted
        assert len(tenants) == len(self.wanted), "a tenant is given twice"

    def test_it_gives_them_again(self) -> None:
        """Reading takes nothing away, and changes nothing."""
        with self.handle() as tested:
            assert self.read(tested) == self.read(tested) == self.wanted

    def test_what_it_gives_is_planned(self) -> None:
        """A run plans a database for each tenant, and makes it."""
        with self.engine() as engine:
            planned = engine.run(Ensure(), RunContext(dry_run=True))
            made = engine.run(Ensure(), RunContext())
        assert {each.tenant for each in planned.tenants} == {*self.wanted}
        assert made.exit_code == 0, [finding.sentence for finding in made.findings]

    def test_a_run_that_is_over_ends_it(self) -> None:
        """It raises what the context raises, and wraps it in no other error."""
        context = RunContext()
        context.cancel()
        with self.handle() as tested:
            error = raised(lambda: tested.tenants(context))
        assert isinstance(error, Interrupted), f"{type(error).__name__}: {error}"

    def test_a_place_that_cannot_be_read_is_an_error_with_a_hint(self) -> None:
        """It raises SourceError, with what to do, and gives no part of the tenants."""
        with self.handle(self.unreachable_settings()) as tested:
            self.told(raised(lambda: tested.tenants(RunContext())), SourceError)

    def test_it_reads_single_tenants(self) -> None:
        """It gives just those that exist, each as a whole reading does; of none, none."""
        self.needs("influxops_get_tenants")
        first, *_ = self.wanted
        with self.handle() as tested:
            some = tested.get_tenants([first, "contract-no-such-tenant"], RunContext())
            assert {each.id: dict(each.attributes) for each in some} == {first: self.wanted[first]}
            assert tested.get_tenants([], RunContext()) == []

    def test_its_lock_keeps_another_run_out_and_is_released(self) -> None:
        """Another instance finds it busy, or cannot lock at all; afterwards it is free."""
        self.needs("influxops_lock")
        with self.handle() as one, self.handle() as other:
            with one.lock(RunContext()):
                error = raised(lambda: other.lock(RunContext()).__enter__())
                assert isinstance(error, LockBusy | SourceError), error
            with other.lock(RunContext()):
                pass
