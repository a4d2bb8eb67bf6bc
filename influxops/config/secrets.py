"""Secrets: written as a reference, read when needed, never shown.

In the configuration a secret is `{env = "NAME"}` or `{file = "path"}`, never a literal: a literal
ends up in a repository, a flag ends up in a process list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from influxops.config.toml import read_small
from influxops.errors import ConfigError

_HIDDEN = "[redacted]"
#: Shorter values are left alone: hiding each `a` of a text would hide the text.
_SHORTEST = 4
#: The most bytes of a secret's file.
_LIMIT = 1 << 20


class Secret:
    """A reference to a secret; `reveal()` reads it, a `file` again each time."""

    __slots__ = ("_env", "_file", "_said", "_value")

    def __init__(self, *, env: str | None = None, file: str | None = None) -> None:
        if (env is None) == (file is None):
            raise ValueError("a secret is read from one place: env or file")
        self._env = env
        self._file = file
        self._value: str | None = None
        self._said = ""

    @classmethod
    def given(cls, value: str, said: str) -> Secret:
        """Return a secret that a program holds already; `said` names its origin and is shown."""
        secret = cls(env="")
        secret._env, secret._value, secret._said = None, value, said
        return secret

    def reveal(self) -> str:
        """Return the secret as it is, except for the line break that ends a file."""
        if self._value is not None:
            if not self._value:
                raise ConfigError(f"{self._said} is empty")
            return self._value
        if self._env is not None:
            value = os.environ.get(self._env, "")
            if not value:
                raise ConfigError(
                    f"the secret in the environment variable {self._env} is not set",
                    hint=f"export {self._env}",
                )
            return value
        path = Path(str(self._file))
        try:
            path = path.expanduser()
            value = read_small(path, limit=_LIMIT)
        except (OSError, RuntimeError) as error:  # the latter for an unknown home folder
            raise ConfigError(
                f"the secret in the file {path} cannot be read: "
                f"{error.strerror if isinstance(error, OSError) else error}",
                hint="check the path and that this user may read it",
            ) from None
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise ConfigError(f"the secret in the file {path} is empty", hint="write it there")
        if not path.is_file():
            self._value = value  # a pipe gives it once
        return value

    @property
    def origin(self) -> str:
        """Where it comes from, fit to be shown."""
        if self._said:
            return self._said
        return f"environment variable {self._env}" if self._env else f"file {self._file}"

    def __repr__(self) -> str:
        return f"Secret(from {self.origin})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.origin == other.origin

    def __hash__(self) -> int:
        return hash(self.origin)

    @classmethod
    def parse(cls, value: object) -> Secret:
        """Return the secret that a reference names; refuse anything else, and do not repeat it."""
        if isinstance(value, Secret):
            return value
        if isinstance(value, Mapping) and len(value) == 1:
            (key, name), *_ = value.items()
            if key in ("env", "file") and isinstance(name, str) and name:
                return cls(**{key: name})
        raise ValueError(
            "a secret is never written here, only where it is: `env`, the name of a variable, "
            "or `file`, a path"
        )


class Redactor:
    """Hides known secrets in text that is about to be shown."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = sorted({v for v in values if len(v) >= _SHORTEST}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with each known secret hidden."""
        for value in self._values:
            text = text.replace(value, _HIDDEN)
        return text
