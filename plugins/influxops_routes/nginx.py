"""A file for nginx: the server of each database that a request names in its URL.

nginx compares the strings of a map without case, decodes no argument, and takes the first of two.
So each form in which a client may send a name is listed, the one that was found is compared
again by a back reference, and what nginx and a server could read differently is refused.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, urlsplit

from influxops.plugin import Route, Routes

#: What a map takes for a directive of its own.
_DIRECTIVES = frozenset({"default", "hostnames", "include", "volatile"})

#: What stands for no server, and what `_place` writes otherwise.
NOWHERE, _ODD = "*", re.compile("[^a-z0-9_-]")

_HEAD = r"""# Written by influxops, and replaced whole: what is changed here is lost.
map $uri $influxops_route_version { default "@version@"; }

# The policies of version 1 that are a part of a database's name.
map $arg_rp $influxops_policy { default "/$arg_rp"; "" ""; "~^(?:autogen|default)$" ""; }
map $uri $influxops_database {
    default "";
    /api/v3/write_lp $arg_db;
    /api/v3/query_sql $arg_db;
    /api/v3/query_influxql $arg_db;
    /api/v2/write $arg_bucket;
    /write "$arg_db$influxops_policy";
    /query "$arg_db$influxops_policy";
}
# Two names, two policies, or a parameter that only the server could read.
map $args $influxops_is_unclear {
    default 0;
    "~*(?:^|&)(?:db|bucket)(?:=[^&]*)?&(?:.*&)?(?:db|bucket)(?:[=&]|$)" 1;
    "~*(?:^|&)rp(?:=[^&]*)?&(?:.*&)?rp(?:[=&]|$)" 1;
    "~(?:^|&)[^=&]*%" 1;
}
# What requests are counted by, those of workers of before a reload too: moves ask for these.
map $uri $influxops_in_flight {
    default "$influxops_target:$influxops_database";
    /influxops-route-version $arg_in_flight;
}
limit_conn_zone $influxops_in_flight zone=influxops_in_flight:10m;
# 503 keeps Telegraf from writing to all other databases of an output; 507 is kept as well.
map $http_user_agent $influxops_later { default 503; "~^Telegraf/" 507; }
# What a name that is not listed gets: the same until @seconds@ s after @written@.
map $msec $influxops_unknown { default 404; "~^(?:@young@)" $influxops_later; }

# Each name, as clients send it: the same again, and its server, "*" where it has none now.
map $influxops_database $influxops_entry {
    default "";
"""
_TAIL = r"""}
map "$influxops_database $influxops_entry" $influxops_place {
    default "";
    "~^(\S+) \1 (?<influxops_found>\S+)$" $influxops_found;
}
map $influxops_place $influxops_unrouted {
    default "";
    "" $influxops_unknown;
    "*" $influxops_later;
}
# 400, 404, 503 or 507 where a request goes nowhere.
map "$influxops_is_unclear:$influxops_database" $influxops_answer {
    default $influxops_unrouted;
    "~^1:" 400;
    "0:" 400;
}
"""
#: What differs between two files of the same routes.
_WRITTEN = re.compile(r"(?m)^# What a name .*\n.*\n")


def render(routes: Routes, grace: float) -> str:
    """Return the file, which goes into the `http` block of a configuration, once.

    A name that is not listed may for `grace` seconds be of a tenant that is too new.
    """
    began, seconds = int(time.time()), int(grace)
    head = _HEAD.replace("@version@", str(routes.version)).replace("@seconds@", str(seconds))
    head = head.replace("@young@", "|".join(_prefixes(began, began + seconds)) or "-")
    head = head.replace("@written@", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)))
    targets = {each.target: each.url for each in routes.routes if each.target}
    return "".join([head, *_entries(routes.routes), _TAIL, *_servers(targets)])


def content(text: str) -> str:
    """Return what two files of the same routes have in common."""
    return _WRITTEN.sub("", text)


def _entries(routes: tuple[Route, ...]) -> Iterator[str]:
    listed = [
        (form, _place(each.target) if each.target else NOWHERE)
        for each in routes
        for form in sorted({quote(each.database, safe=""), quote_plus(each.database)})
    ]
    alike = Counter(form.lower() for form, _ in listed)
    for form, place in listed:
        key = _key(form)
        if alike[form.lower()] > 1:
            key = f"~^{re.escape(form)}$"
        yield f'\t"{key}" "{form} {place}";\n'


def _place(target: str) -> str:
    """Return a target's name as nginx takes it: without capitals, which it does not tell apart."""
    return _ODD.sub(lambda found: "".join(f".{each:02x}" for each in found[0].encode()), target)


def _key(text: str) -> str:
    """Return a text as the string of a map."""
    return f"\\{text}" if text in _DIRECTIVES or text.startswith("~") else text


def _servers(targets: dict[str, str]) -> Iterator[str]:
    """Yield the servers, and what a request to each of them needs."""
    found: dict[str, list[str]] = {"target": [], "host": [], "server": []}
    for target in sorted(targets):
        place, url = _place(target), urlsplit(targets[target])
        port = url.port or (443 if url.scheme == "https" else 80)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        yield f"upstream influxops_{place} {{ server {host}:{port}; keepalive 64; }}\n"
        found["target"].append(f'    "{_key(place)}" "{quote(target)}";\n')
        found["host"].append(f'    "{_key(place)}" "{host}";\n')
        path = quote(url.path.rstrip("/"))
        found["server"].append(f'    "{_key(place)}" "{url.scheme}://influxops_{place}{path}";\n')
    for name, lines in found.items():
        yield f'map $influxops_place $influxops_{name} {{\n    default "";\n{"".join(lines)}}}\n'


def _prefixes(first: int, end: int) -> Iterator[str]:
    """Yield what the numbers from one to before another of as many digits begin with."""
    while first < end:
        size = 1
        while first % (size * 10) == 0 and first + size * 10 <= end:
            size *= 10
        yield str(first // size)
        first += size
