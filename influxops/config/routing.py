"""The table `[routing]`: the proxies that lead clients to their tenants' servers."""

from __future__ import annotations

from urllib.parse import urlsplit

from influxops.config.settings import PluginSettings, setting
from influxops.domain.durations import check_duration


def _urls(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values, 1):
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
            raise ValueError(f"number {number} is no URL as `http://proxy1:8080/PATH`")
    return values


class RoutingTable(PluginSettings):
    """The table `[routing]`."""

    probes: tuple[str, ...] = setting(
        (),
        description="URLs at which the proxies of all clients say which version of the routes they "
        "use. A move asks them instead of waiting for `cache_ttl` of [ledger].",
        parse=_urls,
    )
    timeout: str = setting(
        "30s",
        description="How long a move waits until all of them use its routes; where one does not, "
        "`cache_ttl` is waited for.",
        parse=check_duration,
    )
