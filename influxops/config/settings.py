"""What a section of the configuration may say: the base classes of every plugin's `Settings`."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import operator
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, dataclass_transform, get_args

from influxops.config.secrets import Secret
from influxops.text import nearest


@dataclass(frozen=True)
class Location:
    """Where a configured section reads or writes."""

    text: str  # fit to be shown, without secrets: `iot@db.example/iotcloud`
    host: str | None = None  # a name or an address; None for a local socket or a file
    is_default: bool = False  # whether nobody said where, so that the default is used
    subject: str = ""  # what is read or written there, in a word: the table's name

    @property
    def is_remote(self) -> bool:
        """Whether this is another machine."""
        return self.host is not None and not is_this_machine(self.host)


@functools.cache
def is_this_machine(host: str) -> bool:
    """Return whether a host is the machine that this runs on, without asking a name server.

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


class SettingError(ValueError):
    """A setting says what cannot be.

    Args:
        message: What is wrong, to be read after the setting's name; it repeats no value that
            may be secret.
        setting: The setting's name, where `check` raises this for one of several.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.setting = setting


class InvalidSettings(Exception):
    """What is wrong with a section, all of it: (setting, message) each."""

    def __init__(self, mistakes: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in mistakes))
        self.mistakes = mistakes


def setting(
    default: Any = dataclasses.MISSING,
    *,
    description: str,
    env: tuple[str, ...] = (),
    parse: Callable[[Any], Any] | None = None,
    **constraints: Any,
) -> Any:
    """Declare one setting of a section; its annotation says which values it takes.

    Args:
        default: Its default; leave it out where one must be given.
        description: What it does and its unit, as `influxops plugins show` prints it.
        env: The environment variables that set it, the strongest first. They speak for a section
            that is the only one of its kind.
        parse: Returns the value to keep for one of the right type; raises ValueError where it
            cannot be, without repeating it.
        **constraints: What `msgspec.Meta` takes: `ge`, `gt`, `le`, `lt`, `min_length`,
            `max_length`, `pattern`.
    """
    metadata = {"description": description, "env": env, "parse": parse, "constraints": constraints}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Declared:
    """One setting as a class declares it."""

    name: str
    type: Any
    default: Any  # dataclasses.MISSING where one must be given
    description: str
    env: tuple[str, ...]
    parse: Callable[[Any], Any] | None
    constraints: Mapping[str, Any]

    @property
    def is_required(self) -> bool:
        """Whether a section must give it."""
        return self.default is dataclasses.MISSING

    @property
    def is_secret(self) -> bool:
        """Whether it takes a reference to a secret."""
        return Secret in (self.type, *get_args(self.type))

    def read(self, value: object, *, as_text: bool = False) -> Any:
        """Return what a value means for this setting.

        Args:
            value: What the section says.
            as_text: Whether it is the text of an environment variable.

        Raises:
            ValueError: When it is nothing that this setting takes.
        """
        if self.is_secret and not (isinstance(value, str) and str in get_args(self.type)):
            found: Any = None if value is None else Secret.parse(value)
        else:
            found = self._converted(value, as_text)
        return found if self.parse is None or found is None else self.parse(found)

    def _converted(self, value: object, as_text: bool) -> Any:
        import msgspec

        wanted = self.type
        if self.is_secret:
            wanted = str
        if self.constraints:
            meta = msgspec.Meta(**self.constraints)
            members = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
            bounded = (Annotated[m, meta] if m in (int, float, str) else m for m in members)
            wanted = functools.reduce(operator.or_, bounded)
        try:
            return msgspec.convert(value, wanted, strict=not as_text, dec_hook=_decode)
        except msgspec.ValidationError as error:
            message = str(error).partition(" - at `$")[0]
            raise ValueError(message[:1].lower() + message[1:]) from None


def _decode(wanted: type, value: object) -> object:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"expected {'a path' if wanted is Path else wanted.__name__}")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
class PluginSettings:
    """The base of every plugin's `Settings`: closed, frozen, documented setting by setting."""

    #: The variable that says where this section is, for messages.
    location_variable: ClassVar[str] = ""
    #: The names of the settings that somebody gave; the others have their defaults.
    given: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    @functools.cache
    def declared(cls) -> Mapping[str, Declared]:
        """Return the settings that a section may give, by name."""
        from typing import get_type_hints

        hints = get_type_hints(cls, include_extras=True)
        return {
            field.name: Declared(
                field.name,
                hints[field.name],
                field.default,
                field.metadata.get("description", ""),
                field.metadata.get("env", ()),
                field.metadata.get("parse"),
                field.metadata.get("constraints", {}),
            )
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        }

    @classmethod
    def of(cls, values: Mapping[str, object], as_text: Collection[str] = ()) -> Self:
        """Return the settings that a section's values mean.

        Args:
            values: What the section says, by setting.
            as_text: The settings whose value is the text of an environment variable.

        Raises:
            InvalidSettings: When they say what cannot be; it tells all of it, and no value.
        """
        declared = cls.declared()
        found: dict[str, Any] = {}
        mistakes = [
            (name, f"is not known ({nearest(name, declared) or 'known: ' + ', '.join(declared)})")
            for name in values
            if name not in declared
        ]
        for name, one in declared.items():
            if name not in values:
                if one.is_required:
                    mistakes.append((name, "is missing"))
                continue
            try:
                found[name] = one.read(values[name], as_text=name in as_text)
            except ValueError as error:
                mistakes.append((name, str(error)))
        if mistakes:
            raise InvalidSettings(mistakes)
        settings = cls(**found)
        object.__setattr__(settings, "given", frozenset(found))
        try:
            settings.check()
        except SettingError as error:
            raise InvalidSettings([(error.setting, error.message)]) from None
        return settings

    def check(self) -> None:
        """Look at what several settings say together.

        Raises:
            SettingError: When it cannot be.
        """

    def location(self) -> Location | None:
        """Return where this section reads or writes; None where there is no such place."""
        return None

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret among the settings."""
        for name in type(self).declared():
            value = getattr(self, name)
            if isinstance(value, Secret):
                yield value


class SourceSettings(PluginSettings):
    """The base of a tenant source's settings."""


class TargetSettings(PluginSettings):
    """The base of a target's settings: what the engine itself needs to know of it."""

    capacity: int | Literal["unlimited"] | None = setting(
        None,
        description="How many databases the server holds, or `unlimited`; left out: what the "
        "target estimates, and the server decides.",
        ge=0,
    )
    state: Literal["active", "draining"] = setting(
        "active", description="`draining` keeps what it has and gets nothing new."
    )

    @property
    def expected_identity(self) -> str | None:
        """The identity of the only server that this target may be; None for any."""
        return None


class ReporterSettings(PluginSettings):
    """The base of a reporter's settings."""

    budget: float = setting(
        10.0, description="Seconds that telling may take, all waiting included.", gt=0, le=300
    )
