"""The environment variables, from the settings that they set, and those that are read elsewhere."""

from __future__ import annotations

from collections import defaultdict

from docs.generate.configuration import builtin
from docs.generate.pages import code, head, table

#: Variables that set no key of the configuration, and what each does.
OTHERS = {
    "INFLUXOPS_CONFIG": "The configuration file, where `--config` names none.",
    "NO_COLOR": "Set to anything: no colours on a terminal.",
    "TERM": "`dumb`, `unknown` or unset: no colours, no progress bar.",
    "XDG_STATE_HOME": "Where the reporter `slack` keeps which failure it has posted, in "
    "`influxops/`; `~/.local/state` without it.",
    "PGSERVICE": "A service of libpq's, which says where PostgreSQL is.",
    "PGHOSTADDR": "The address of PostgreSQL, as libpq takes it.",
    "PGPASSFILE": "libpq's file of passwords; `~/.pgpass` without it.",
    "HTTPS_PROXY": "The proxy of the reporter `slack`; `NO_PROXY` names hosts without one. "
    "Requests to InfluxDB go through none.",
    "SSL_CERT_FILE": "A file of certificates that the reporter `slack` and the writers of "
    "`influxops demo` trust.",
    "PAGER": "What shows a page of `influxops docs` on a terminal.",
}


def page() -> str:
    """Return docs/reference/environment.md."""
    lines = head(
        "Environment variables",
        "The first of several that set a key wins. A variable counts for a section that is the "
        "only one of its kind, and wins over what the file says there; `influxops config` shows "
        "which ones did. An empty one counts as unset.",
    )
    lines += ["## Those that set a key", ""]
    rows = ((code(name), *sets) for name, sets in sorted(variables().items()))
    lines += table(("variable", "sets", "what it does"), rows)
    lines += ["## Others", ""]
    lines += table(("variable", "what it does"), ((code(n), text) for n, text in OTHERS.items()))
    return "\n".join(lines).rstrip() + "\n"


def variables() -> dict[str, tuple[str, str]]:
    """Return what each variable sets: the key, with its kinds, and what that does."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for plugin in builtin():
        for name, spec in plugin.load().Settings.declared().items():
            for variable in spec.env:
                found[variable][f"`{name}` of `{plugin.kind}`"] = spec.description
    return {
        variable: (", ".join(keys), next(iter(keys.values()))) for variable, keys in found.items()
    }
