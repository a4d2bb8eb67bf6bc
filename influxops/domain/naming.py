"""From a tenant's id to its database's name, and back."""

from __future__ import annotations

import re

from influxops.domain.text import truncate

#: How a tenant's database is named unless the configuration says otherwise.
DEFAULT_TEMPLATE = "telemetry_{tenant_id}"
_FIELD = "{tenant_id}"
_ANY_FIELD = re.compile(r"\{[^}]*\}?|\}")


class Template:
    """The naming template: a text with `{tenant_id}` once makes a database's name of an id."""

    def __init__(self, text: str) -> None:
        for field in _ANY_FIELD.findall(text):
            if field != _FIELD:
                raise ValueError(
                    f"{truncate(field)} is not known in a naming template; use {_FIELD}"
                )
        if text.count(_FIELD) != 1:
            raise ValueError(f"the naming template needs {_FIELD} exactly once")
        self.text = text
        self._prefix, self._suffix = text.split(_FIELD)

    def name(self, tenant_id: str) -> str:
        """Return the name of a tenant's database, valid or not."""
        return f"{self._prefix}{tenant_id}{self._suffix}"

    def tenant_id(self, name: str) -> str | None:
        """Return the id that makes this name; None when no id does."""
        return name[len(self._prefix) : len(name) - len(self._suffix)] if self.fits(name) else None

    def fits(self, name: str) -> bool:
        """Return whether some id makes this name."""
        return (
            name.startswith(self._prefix)
            and name.endswith(self._suffix)
            and len(name) > len(self._prefix) + len(self._suffix)
        )
