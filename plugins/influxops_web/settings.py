"""The table `[web]`: the settings of the HTTP service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from influxops.config.settings import PluginSettings, setting
from influxops.domain.durations import check_duration


class WebSettings(PluginSettings):
    """The table `[web]`."""

    renamed: ClassVar[Mapping[str, str]] = {
        "devices": "`device_table`",
        "activation": "`activation_ttl`",
        "session": "`session_ttl`",
        "logins": "`login_rate_per_minute`",
        "budget": "`timeout`",
    }

    device_table: str = setting(
        "device_registry",
        description="The table of the devices, in the schema of the table of the tenants.",
        min_length=1,
        max_length=63,
    )
    columns: dict[str, str] = setting(
        {},
        description="What a table of devices that was there already calls `device_id`, "
        "`tenant_id`, `name`, `status`, `created_at` and `last_seen_at`; all but the first two "
        "may be missing.",
    )
    device_values: dict[str, str] = setting(
        {}, description="What further columns of that table hold for a new device, by column."
    )
    activation_ttl: str = setting(
        "24h", description="How long the activation code of a device is good.", parse=check_duration
    )
    session_ttl: str = setting(
        "12h", description="How long a login with the session cookie lasts.", parse=check_duration
    )
    login_rate_per_minute: int = setting(
        10,
        description="Requests without a good token a minute from one address (of IPv6, from one "
        "/64); from all addresses together, thirty times as many. A good token is never refused.",
        ge=1,
        le=100_000,
    )
    timeout: float = setting(
        2.0, description="Seconds that a request waits for InfluxDB.", gt=0, le=60
    )
    body_limit: int = setting(
        65_536, description="The most bytes of a request's body.", ge=1024, le=16 * 2**20
    )
    connections: int = setting(10, description="The most connections to PostgreSQL.", ge=1, le=1000)
