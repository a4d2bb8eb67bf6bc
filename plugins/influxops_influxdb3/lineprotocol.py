"""The marker: the one line of line protocol that influxops writes."""

from __future__ import annotations

from datetime import UTC, datetime

#: The table that says that a database was made for a tenant.
MARKER_TABLE = "_init"
#: The table that the tenant's devices fill.
TELEMETRY_TABLE = "telemetry"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        ",": "\\,",
        "=": "\\=",
        " ": "\\ ",
        # A line ends at a line break; a tag has no other way to hold one.
        "\n": "\\ ",
        "\r": "\\ ",
    }
)


def escape_tag(value: str) -> str:
    """Escape a tag's value.

    Args:
        value: Any text; its line breaks become spaces.
    """
    return value.translate(_ESCAPES)


def marker(tenant: str, at: datetime) -> str:
    """Give the marker of one tenant.

    Its time is the hour, so that the same marker written again, or by two runs that overlap, is
    one point. It is never a fixed old time, which a retention period would hide at once.

    Args:
        tenant: The tenant's id.
        at: When the run started; an aware datetime.
    """
    tag = f",tenant={escape_tag(tenant)}" if tenant else ""
    hours = (at - _EPOCH).total_seconds() // 3600
    time = int(hours) * 3600 * 1_000_000_000
    return f"{MARKER_TABLE},source=provisioning{tag} value=1i,initialized=1i {time}"
