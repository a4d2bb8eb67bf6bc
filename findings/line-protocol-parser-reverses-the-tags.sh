#!/usr/bin/env bash
# line-protocol-parser 2.0.1 (PyPI).
#
# Guess:  a parser gives tags and fields in the order of the line; its answer is a dict, which keeps
#         an order.
# Seen:   both are in reverse order. That matters for InfluxDB 3, where the order of the tags in
#         the first line of a table becomes its series key for good: a program that reads lines,
#         changes something and writes them in that order makes another table than the original.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'line-protocol-parser==2.0.1'
"$dir/venv/bin/python" - <<'PY'
import sys
from line_protocol_parser import parse_line

line = "boiler,site=a,house=b,room=c t=20.5,p=1i 1"
read = parse_line(line)
print(line)
print("tags:  ", list(read["tags"]))
print("fields:", list(read["fields"]))
sys.exit(list(read["tags"]) != ["room", "house", "site"] or list(read["fields"]) != ["p", "t"])
PY
echo "as described"
