"""What a section of the configuration may say: the base classes of every plugin's `Settings`."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from influxops.secrets import Secret


@dataclass(frozen=True, slots=True)
class Location:
    """Where a configured section reads or writes.

    Args:
        text: Fit to be shown, without secrets: `iot@db.example/iotcloud`.
        host: The host's name or address; None for a local socket or a file.
        is_default: Whether nobody said where, so that the default is used.
        subject: What is read or written there, in a word: the table's name.
    """

    text: str
    host: str | None = None
    is_default: bool = False
    subject: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether this is another machine."""
        return self.host is not None and not is_this_machine(self.host)


@functools.cache
def is_this_machine(host: str) -> bool:
    """Tell whether a host is the machine that this runs on, without asking a name server.

    Args:
        host: A name, an address, or the path of a socket's folder.
    """
    name = host.strip("[]").rstrip(".").lower()
    if not name or name.startswith(("/", "@")) or name == "localhost":
        return True
    if name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def setting(
    default: Any = ..., *, description: str, env: tuple[str, ...] = (), **constraints: Any
) -> Any:
    """Declare one setting of a section.

    Args:
        default: Its default; leave it out where one must be given.
        description: What it does and its unit, as `influxops plugins show` prints it.
        env: The environment variables that set it, the strongest first. They speak for a section
            that is the only one of its kind.
        **constraints: What pydantic's `Field` takes (`ge=`, `pattern=`, …).
    """
    extra: dict[str, Any] | None = {"env": list(env)} if env else None
    return Field(default, description=description, json_schema_extra=extra, **constraints)


class PluginSettings(BaseModel):
    """The base of every plugin's `Settings`: closed, frozen, documented field by field."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    #: The variable that says where this section is, for messages.
    location_variable: ClassVar[str] = ""

    def location(self) -> Location | None:
        """Say where this section reads or writes; None where there is no such place."""
        return None

    def secrets(self) -> Iterator[Secret]:
        """Give every secret among the settings."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Secret):
                yield value


class SourceSettings(PluginSettings):
    """The base of a tenant source's settings."""


class TargetSettings(PluginSettings):
    """The base of a target's settings: what the engine itself needs to know of it."""

    capacity: Annotated[int, Field(ge=0)] | Literal["unlimited"] | None = setting(
        None,
        description="How many databases the server holds, or `unlimited`; left out: an estimate "
        "from its edition, and the server decides.",
    )
    cluster_uuid: str | None = setting(
        None, description="The server's identity; any other server behind this URL is refused."
    )
    state: Literal["active", "draining"] = setting(
        "active", description="`draining` keeps what it has and gets nothing new."
    )


class ReporterSettings(PluginSettings):
    """The base of a reporter's settings."""
