"""What a section of the configuration may say: the base classes of every plugin's `Settings`."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import NODEFAULT, Struct, field
from msgspec.structs import replace

from influxops.config.secrets import Secret
from influxops.domain.text import did_you_mean


class Location(Struct, frozen=True):
    """Where a configured section reads or writes."""

    text: str  # fit to be shown, without secrets: `iot@db.example/iotcloud`
    host: str | None = None  # a name or an address; None for a local socket or a file
    is_default: bool = False  # whether it is not configured, so that the default is used
    subject: str = ""  # what is read or written there, in a word: the table's name
    #: What tells it from every other, for every reader; `text` where that is empty.
    identity: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether this is another machine."""
        return self.host is not None and not is_this_machine(self.host)


@functools.cache
def is_this_machine(host: str) -> bool:
    """Return whether a host, or a socket's folder, is this machine; no name server is asked."""
    name = host.strip("[]").rstrip(".").lower()
    if not name or name.startswith(("/", "@")) or name == "localhost":
        return True
    import ipaddress  # both are slow to import, and mostly not needed
    import socket

    if name.endswith(".localhost") or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


#: Of a whole number, without its sign: what TOML, JSON and databases hold.
_BITS = 63


class SettingError(ValueError):
    """Says what cannot be, after a setting's name and a colon; it repeats no value.

    `setting` is its name, where `check` raises this for one of several.
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


class SettingSpec(Struct, frozen=True):
    """One setting as a class declares it."""

    name: str
    type: Any  # the values that it takes
    default: Any  # NODEFAULT where one must be given
    description: str = ""
    env: tuple[str, ...] = ()  # the variables that set it, the strongest first
    parse: Callable[[Any], Any] | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_required(self) -> bool:
        """Whether a section must give it."""
        return self.default is NODEFAULT

    @property
    def is_secret(self) -> bool:
        """Whether it takes a reference to a secret."""
        return Secret in (self.type, *get_args(self.type))

    def read(self, value: object, *, as_text: bool = False) -> Any:
        """Return what a value means; `as_text` is one that a variable of the environment has."""
        if self.is_secret and not (isinstance(value, str) and str in get_args(self.type)):
            found: Any = None if value is None else Secret.parse(value)
        else:
            found = self._convert(value, as_text)
        return found if self.parse is None or found is None else self.parse(found)

    def _convert(self, value: object, as_text: bool) -> Any:
        meta = msgspec.Meta(**self.constraints)
        members = (
            Annotated[member, meta] if self.constraints and member in (int, float, str) else member
            for member in types_of(str if self.is_secret else self.type)
        )
        wanted: Any = functools.reduce(operator.or_, members)
        try:
            found = msgspec.convert(value, wanted, strict=not as_text, dec_hook=_decode)
        except msgspec.ValidationError:
            expected, got = in_words(self.type, self.constraints), _words_for(value)
            is_right_type = any(words.startswith(got) for words in expected.split(" or ")) or (
                got == "text" and any(get_origin(each) is Literal for each in types_of(self.type))
            )
            suffix = "" if as_text or is_right_type else f", got {got}"
            raise ValueError(f"expected {expected}{suffix}") from None
        if isinstance(found, float) and not math.isfinite(found):
            raise ValueError("expected a finite number")
        if isinstance(found, int) and found.bit_length() > _BITS:
            raise ValueError(f"expected a whole number of at most {_BITS + 1} bits")
        return found


def _decode(wanted: type, value: object) -> object:
    if wanted is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"no {wanted.__name__}")


#: How the types of settings, and of what TOML and a program hold, read in a message.
_WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Secret: "a secret",
}
#: The constraints that `msgspec.Meta` knows, in words.
_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "pattern": "like {}",
}


def in_words(wanted: Any, constraints: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return what a setting takes, in plain words: `a whole number (at least 0) or unlimited`."""
    bounds = " and ".join(_BOUNDS[name].format(value) for name, value in constraints.items())
    if bounds == "at least 1 long":
        bounds = "not empty"
    words = []
    for member in types_of(wanted):
        kind, parts = get_origin(member) or member, get_args(member)
        if kind is Literal:
            words.append(("one of " if len(parts) > 1 else "") + ", ".join(map(str, parts)))
        elif kind in _WORDS:
            bounded = bounds and kind in (int, float, str)
            words.append(f"{_WORDS[kind]} ({bounds})" if bounded else _WORDS[kind])
        elif isinstance(kind, type) and issubclass(kind, Collection):
            is_table = issubclass(kind, Mapping)
            of = f" of {in_words(parts[-1 if is_table else 0])}" if parts else ""
            words.append(("a table" if is_table else "a list") + of)
        elif kind is not NoneType:
            words.append(getattr(kind, "__name__", str(kind)))
    return " or ".join(words)


def _words_for(value: object) -> str:
    """Return what a value is, in a word or two; never what it says."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if hasattr(value, "isoformat"):
        return "a date or a time"
    return "nothing" if value is None else _WORDS.get(type(value), "something else")


def types_of(wanted: Any) -> tuple[Any, ...]:
    """Return the types that a union has; a type that is none, alone."""
    return get_args(wanted) if get_origin(wanted) in (UnionType, Union) else (wanted,)


def setting(
    default: Any = NODEFAULT,
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
    return SettingSpec("", None, default, description, env, parse, constraints)


def checked(check: Callable[[str], object]) -> Callable[[str], str]:
    """Return a `parse` that keeps a text as it is written, where `check` raises nothing."""

    def parse(text: str) -> str:
        check(text)
        return text

    return parse


class PluginSettings:
    """The base of every plugin's `Settings`: closed, frozen, documented setting by setting.

    It is no dataclass: making the methods of one takes longer than all that a run does with it.
    """

    #: The variable that says where this section is, for messages.
    location_variable: ClassVar[str] = ""
    #: The settings that say where it is; one of them is enough.
    place: ClassVar[tuple[str, ...]] = ()
    #: The settings that a section with `like = "NAME"` takes from that one where it lacks them.
    connection: ClassVar[tuple[str, ...]] = ()
    #: The names of the settings that were given; the others have their defaults.
    given: ClassVar[frozenset[str]] = frozenset()
    #: What settings were called in an earlier version: the new name, by the old one.
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **values: Any) -> None:
        declared = self.declared()
        found = {name: values.get(name, one.default) for name, one in declared.items()}
        missing = [name for name, value in found.items() if value is NODEFAULT]
        unknown = [name for name in values if name not in declared]
        if missing or unknown:
            raise TypeError(f"settings missing: {missing}, unknown: {unknown}")
        self.__dict__.update(found, given=frozenset(values))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.declared())
        return f"{type(self).__name__}({shown})"

    @classmethod
    @functools.cache
    def declared(cls) -> Mapping[str, SettingSpec]:
        """Return the settings that a section may give, by name."""
        found = {}
        for name, wanted in get_type_hints(cls, include_extras=True).items():
            if ClassVar in (wanted, get_origin(wanted)):
                continue
            one = getattr(cls, name, NODEFAULT)
            if not isinstance(one, SettingSpec):
                one = SettingSpec(name, wanted, one)  # an annotation alone, or with a default
            found[name] = replace(one, name=name, type=wanted)
        return found

    @classmethod
    def parse(cls, values: Mapping[str, object], as_text: Collection[str] = ()) -> Self:
        """Return the settings that values mean (`as_text`: of variables); refuse all mistakes."""
        declared = cls.declared()
        found: dict[str, Any] = {}
        mistakes = [(name, cls._unknown(name)) for name in values if name not in declared]
        for name, one in declared.items():
            if name not in values:
                if one.is_required:
                    mistakes.append((name, "must be given"))
                continue
            try:
                found[name] = one.read(values[name], as_text=name in as_text)
            except ValueError as error:
                mistakes.append((name, str(error)))
        if mistakes:
            raise InvalidSettings(mistakes)
        settings = cls(**found)
        try:
            settings.check()
        except SettingError as error:
            raise InvalidSettings([(error.setting, error.message)]) from None
        return settings

    @classmethod
    def _unknown(cls, name: str) -> str:
        if name in cls.renamed:
            return f"was renamed to {cls.renamed[name]}"
        declared = cls.declared()
        known = did_you_mean(name, declared) or "known: " + ", ".join(declared)
        return f"no such setting ({known})"

    def check(self) -> None:
        """Raise a SettingError where several settings say together what cannot be."""

    def location(self) -> Location | None:
        """Return where this section reads or writes; None where there is no such place."""
        return None

    def secrets(self) -> Iterator[Secret]:
        """Yield every secret among the settings."""
        for name in type(self).declared():
            value = getattr(self, name)
            if isinstance(value, Secret):
                yield value
