#!/usr/bin/env bash
# prometheus_client 0.26.0 (Python), its parser of the text format.
#
# Guess:  text_string_to_metric_families gives samples the names that stand in the text, which are
#         the ones that a Prometheus server stores and a rule asks for.
# Seen:   a counter whose name does not end in _total gets that ending, in its samples too, and a
#         lookup by the name in the text finds nothing. It depends on the TYPE line: the same sample
#         without one, or as a gauge, keeps its name. Two of the text's counters, x and x_total,
#         become two families of one name.
# So:     look counters up with and without _total, or read the lines of the text oneself.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'prometheus_client==0.26.0'
"$dir/venv/bin/python" - <<'PY'
import sys
from prometheus_client.parser import text_string_to_metric_families


def names(text):
    families = list(text_string_to_metric_families(text))
    print(repr(text), "→", [(f.name, [s.name for s in f.samples]) for f in families])
    return [s.name for f in families for s in f.samples]


sys.exit(
    names("# TYPE writes counter\nwrites 1\n") != ["writes_total"]
    or names("# TYPE writes gauge\nwrites 1\n") != ["writes"]
    or names("writes 1\n") != ["writes"]
    or names("# TYPE writes_total counter\nwrites_total 1\n") != ["writes_total"]
    or names("# TYPE writes counter\nwrites 1\n# TYPE writes_total counter\nwrites_total 2\n")
    != ["writes_total", "writes_total"]
)
PY
echo "as described"
