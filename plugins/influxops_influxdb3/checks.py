"""Everything that a run depends on at an InfluxDB 3 server, for `influxops doctor`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from influxops.plugin import (
    NEARLY_FULL,
    Check,
    Hint,
    InfluxopsError,
    Interrupted,
    Inventory,
    RunContext,
    TargetCapabilities,
    is_this_machine,
    pluralize,
)
from influxops_influxdb3.errors import AccessRefused
from influxops_influxdb3.http.client import Client, Ping
from influxops_influxdb3.naming_rules import OLDEST_RELEASE
from influxops_influxdb3.settings import InfluxDB3Settings

#: Clocks may differ by so many seconds; the Date header has whole seconds.
_CLOCK_TOLERANCE = 5.0
#: Databases that a check names.
_SHOWN = 5
#: From here on a marker may be older than a short retention period when it is written.
_CLOCK_FAULT = 3600.0


def checks(
    settings: InfluxDB3Settings,
    client: Client,
    read_inventory: Callable[[Ping], Inventory],
    capabilities: TargetCapabilities,
    context: RunContext,
) -> Iterator[Check]:
    """Yield one check of a server after the other, as far as that makes sense."""
    yield from _transport(settings)
    asked = datetime.now(UTC)
    try:
        ping = client.ping(context)
    except Interrupted:
        raise
    except AccessRefused as error:
        yield Check("InfluxDB reachable", True, f"{settings.url} answers")
        yield Check("token", False, error.reason, error.remedy)
        return
    except InfluxopsError as error:
        yield Check("InfluxDB reachable", False, error.message, error.remedy)
        return
    answered = datetime.now(UTC)
    edition = f"InfluxDB 3 {ping.edition}" if ping.edition else "InfluxDB 3"
    cluster = f", cluster {client.cluster_uuid}" if client.cluster_uuid else ""
    yield Check("InfluxDB reachable", True, f"{settings.url} is {edition} {ping.version}{cluster}")
    yield _release(ping)
    yield from _identity(settings, client)
    yield from _rights(settings, ping, read_inventory, capabilities)
    yield _clock(ping, asked, answered)


def _transport(settings: InfluxDB3Settings) -> Iterator[Check]:
    """Look at what the token travels through."""
    location = settings.location()
    if location.host is None or is_this_machine(location.host):
        return
    if settings.url.startswith("http:"):
        if settings.token is not None:
            yield Check(
                "TLS",
                None,
                f"the token goes to {location.host} in clear text",
                Hint.setting("url", "use https:// in {}, unless the network between is trusted"),
            )
    elif not settings.validate_certs:
        yield Check(
            "TLS",
            None,
            f"the certificate of {location.host} is not verified",
            Hint.setting("ca_path", "set {} to the CA's certificate and leave `validate_certs` on"),
        )
    else:
        yield Check("TLS", True, f"the certificate of {location.host} is verified")


def _release(ping: Ping) -> Check:
    if not _numbers(ping.version):
        return Check("release", None, "the server does not say which release it is")
    if _numbers(ping.version) >= _numbers(OLDEST_RELEASE):
        return Check("release", True, f"{ping.version} is supported ({OLDEST_RELEASE} or newer)")
    return Check(
        "release",
        False,
        f"{ping.version} is older than {OLDEST_RELEASE}, the oldest release that is supported",
        "upgrade the server",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("-")[0])[:3]))


def _identity(settings: InfluxDB3Settings, client: Client) -> Iterator[Check]:
    wanted, found = settings.cluster_uuid, client.cluster_uuid
    if wanted is None:
        return
    if wanted == found:
        yield Check("identity", True, "it is the server that the configuration names")
    else:
        yield Check(
            "identity",
            False,
            f"the configuration names cluster {wanted}, this is {found or 'one without a name'}",
            Hint.setting(
                "cluster_uuid", "check the url; if the server was replaced on purpose, change {}"
            ),
        )


def _rights(
    settings: InfluxDB3Settings,
    ping: Ping,
    read_inventory: Callable[[Ping], Inventory],
    capabilities: TargetCapabilities,
) -> Iterator[Check]:
    """Look at what the token may do, and what the server still takes."""
    try:
        inventory = read_inventory(ping)
    except Interrupted:
        raise
    except InfluxopsError as error:
        yield Check("token", False, getattr(error, "reason", error.message), error.remedy)
        return
    if settings.token is None:
        yield Check("token", None, "none is set, and the server does not ask for one")
    else:
        yield Check("token", True, f"accepted, from {settings.token.origin}")
    if inventory.complete:
        yield Check("rights", True, "the system tables can be read")
    else:
        yield Check(
            "rights",
            False,
            inventory.findings[0].message,
            Hint.setting(
                "token",
                "set {} to an admin token: on Core every token is one; on Enterprise a resource "
                "token reads and writes the databases that it names, but not the system tables "
                "of _internal",
            ),
        )
    yield _capacity(settings, inventory)
    if inventory.tables is not None and inventory.table_capacity is not None:
        yield _tables(inventory.tables, inventory.table_capacity)
    faults = {
        name: fault
        for name, each in sorted(inventory.databases.items())
        if (fault := capabilities.retention_fault(each.retention))
    }
    for name, fault in [*faults.items()][:_SHOWN]:
        message = f"the retention period of {name} {fault}"
        message += f" ({pluralize(len(faults), 'such database')})" if len(faults) > _SHOWN else ""
        yield Check("retention", None, message, "set `retention`, or a longer one on the server")


def _capacity(settings: InfluxDB3Settings, inventory: Inventory) -> Check:
    held = pluralize(len(inventory.databases), "database")
    if settings.capacity == "unlimited":
        return Check("capacity", True, f"{held}; no limit is set")
    if settings.capacity is not None:
        capacity, whose = settings.capacity, "configured"
    elif inventory.capacity is not None:
        capacity, whose = inventory.capacity, f"estimated from the edition {inventory.edition}"
    else:
        return Check("capacity", None, f"{held}; the limit of the server is unknown")
    left = max(0, capacity - len(inventory.databases))
    message = f"{held}, {pluralize(left, 'slot')} free (capacity {capacity}, {whose})"
    if left:
        return Check("capacity", True, message)
    return Check(
        "capacity",
        None,
        message,
        Hint.setting("capacity", "new tenants need another target, or {} if it holds more"),
    )


def _tables(tables: int, capacity: int) -> Check:
    message = f"{tables:,} of {pluralize(capacity, 'table')} in all databases (estimated)"
    if tables < NEARLY_FULL * capacity:
        return Check("tables", True, message)
    return Check(
        "tables",
        None,
        f"{message}; every tenant takes at least two",
        "drop tables that are not needed, or add a target",
    )


def _clock(ping: Ping, asked: datetime, answered: datetime) -> Check:
    """Compare the clocks: markers have this machine's time, retention periods the server's."""
    if ping.clock is None:
        return Check("clock", None, "the server does not tell its time")
    middle = asked + (answered - asked) / 2
    # The header leaves the fraction of a second out: half a second, on average.
    seconds = (ping.clock - middle).total_seconds() + 0.5
    if abs(seconds) <= _CLOCK_TOLERANCE:
        return Check("clock", True, "the server's clock and this machine's agree")
    way = "ahead of" if seconds > 0 else "behind"
    return Check(
        "clock",
        None if abs(seconds) < _CLOCK_FAULT else False,
        f"the server's clock is {abs(seconds):.0f} s {way} this machine's",
        "set both by NTP: markers carry this machine's time, retention periods end by the server's",
    )
