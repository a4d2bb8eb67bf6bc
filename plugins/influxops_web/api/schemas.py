"""What the API takes and gives: the shapes of requests and answers, with examples."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: An id that a tenant of the service may have, as a pattern of JSON Schema.
TENANT_ID = "^[A-Za-z0-9_-]{1,128}$"
TEXT = "^[^\\u0000-\\u001f\\u007f]*$"
_DEVICE_ID = "^[^\\u0000-\\u001f\\u007f]+$"

TenantId = Annotated[
    str, Field(pattern=TENANT_ID, description="The tenant's id.", examples=["acme"])
]
Name = Annotated[
    str,
    Field(max_length=200, pattern=TEXT, description="What people call it.", examples=["Acme"]),
]


class Status(StrEnum):
    """The status of a tenant; its database is kept either way."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


def example(**values: Any) -> ConfigDict:
    """Return the configuration of a model that is documented with an example."""
    return ConfigDict(json_schema_extra={"examples": [values]})


#: A text that is null where it is empty.
Text = Annotated[str | None, BeforeValidator(lambda text: text or None)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Answer(BaseModel):
    """What is answered with the attributes of a value, by the names of `validation_alias`."""

    model_config = ConfigDict(from_attributes=True)


class NewTenant(_Request):
    """A tenant to be created."""

    model_config = example(tenant_id="acme", name="Acme")

    tenant_id: TenantId
    name: Name = ""


class TenantChange(_Request):
    """What is to be changed of a tenant; what is not given stays."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "examples": [{"status": "suspended"}]}
    )

    name: Name = ""
    status: Status = Status.ACTIVE


class NewDevice(_Request):
    """A device to be registered."""

    model_config = example(tenant_id="acme", device_id="pump-7")

    tenant_id: TenantId
    device_id: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            pattern=_DEVICE_ID,
            description="Its id; left out: one is made.",
            examples=["pump-7"],
        ),
    ] = ""
    name: Name = ""


class Created(BaseModel):
    """A tenant that was created."""

    model_config = example(tenant_id="acme", status="created", influxdb_provisioned=True)

    tenant_id: str
    status: str = Field(description="`created`.")
    influxdb_provisioned: bool = Field(
        description="Whether its database is there; if not, it is made as soon as it can be."
    )


class InfluxInfo(_Answer):
    """What the ledger has of a tenant's database, and whether that still holds."""

    state: str | None = Field(
        description="`pending`, `ready`, …; null: nothing is recorded. Where its server shows "
        "otherwise: `missing`, `replaced`, `unavailable`, `not configured`."
    )
    database: Text = Field(description="Its name; null while it has no target.")
    target: str | None = Field(description="The server that it is on; null while it has none.")
    url: str | None = Field(
        default=None, description="Where that server is; null unless the database is there."
    )
    trouble: str | None = Field(
        default=None, description="Why its database is not as the ledger has it; null if it is."
    )
    since: datetime | None = Field(
        validation_alias="state_since", description="When it came to this state."
    )
    error: Text = Field(description="Why the last try failed; null after a good one.")


class Tenant(_Answer):
    """A tenant."""

    tenant_id: str = Field(validation_alias="tenant")
    name: str
    status: str
    created_at: datetime
    influxdb: InfluxInfo = Field(validation_alias="record")


class TenantPage(BaseModel):
    """Some of the tenants, in the order of their ids."""

    tenants: list[Tenant]
    page: int
    per_page: int
    pages: int = Field(description="How many pages there are, at least one.")
    total: int = Field(description="How many tenants there are that fit.")


class DeviceStats(_Answer):
    """How many devices a tenant has; null is what the table of devices does not tell."""

    devices: int = Field(validation_alias="total")
    active_devices: int | None = Field(
        validation_alias="active", description="Those with the status `active`."
    )
    last_device_at: datetime | None = Field(description="When the last one was registered.")
    last_seen_at: datetime | None = Field(description="When one was last seen.")


class Table(_Answer):
    """A table of a tenant's database."""

    name: str
    rows: int | None = Field(description="How many rows; null where that is not known.")
    at_most: bool = Field(description="Whether there may be fewer rows than that.")
    last_write: datetime | None = Field(description="The newest time of a row.")


class Telemetry(_Answer):
    """A tenant's database as InfluxDB has it; null is what is not known."""

    exists: bool | None = Field(description="Null where that is unknown now.")
    telemetry_count: int | None = Field(description="How many rows the table `telemetry` has.")
    rows: int | None = Field(default=None, description="How many rows all tables have.")
    tables: list[Table] | None = Field(default=None, description="Each table that it has.")
    last_write: datetime | None = Field(
        default=None, description="The newest time of a row in any table."
    )
    error: Text = Field(default=None, description="Why something is not known.")


class TenantStats(BaseModel):
    """What a tenant has."""

    tenant_id: str
    name: str
    status: str
    stats: DeviceStats
    influxdb: Telemetry


class Provisioned(_Answer):
    """The result of ensuring a tenant's database."""

    tenant_id: str = Field(validation_alias="tenant")
    influxdb_provisioned: bool = Field(validation_alias="is_ready")
    how: str = Field(
        validation_alias="status", description="`existing`, `created`, `queued` or `failed`."
    )
    database: Text
    target: str | None = Field(
        description="The server that holds it, or that the ledger has for it; else null."
    )
    url: Text = Field(description="Where that server is; null without one.")
    reason: Text = Field(description="Why it is not there.")


class Registered(BaseModel):
    """A device that was registered."""

    model_config = example(
        tenant_id="acme",
        device_id="pump-7",
        activation_code="K7QF-2MXD-9TRA-C4WH",
        activation_expires_at="2026-03-02T10:00:00Z",
        influxdb_provisioned=True,
    )

    tenant_id: str
    device_id: str
    activation_code: str = Field(description="It is given once, and stored hashed.")
    activation_expires_at: datetime
    influxdb_provisioned: bool


class Server(BaseModel):
    """A server of the fleet."""

    name: str
    url: str
    state: str = Field(description="`active` or `draining`.")
    databases: int | None = Field(description="Those that the ledger has recorded there.")
    found: int | None = Field(description="How many it held when it was last read; null: never.")
    capacity: int | None = Field(description="How many it takes; null: no limit is known.")
    capacity_is_estimate: bool = Field(description="Whether `capacity` is not configured.")
    read_at: datetime | None = Field(description="When it was last read.")
    fault: Text = Field(description="`unavailable`, `replaced`; null where all is well.")
    trouble: Text = Field(description="The same in a sentence; null where all is well.")


class Waiting(_Answer):
    """A tenant whose database is not there yet."""

    tenant_id: str = Field(validation_alias="tenant")
    state: str
    since: datetime | None = Field(validation_alias="state_since")
    error: Text


class Fleet(BaseModel):
    """The servers, and who waits."""

    servers: list[Server]
    waiting: list[Waiting] = Field(
        description="The first hundred of `waiting_total`, the longest waiting first."
    )
    waiting_total: int = Field(
        description="How many tenants wait for their database, or have an attempt that failed."
    )
    states: dict[str, int] = Field(
        description="How many tenants there are by `state`, which a fault of a server outranks."
    )


class SessionInfo(BaseModel):
    """Who asks."""

    who: str
    role: str
    via: str
    csrf_token: str | None = Field(description="For writes with the cookie; null with a token.")
