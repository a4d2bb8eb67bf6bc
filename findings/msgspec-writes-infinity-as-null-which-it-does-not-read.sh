#!/usr/bin/env bash
# msgspec 0.23.0.
#
# Guess:  what msgspec encodes of a type, it decodes as that type; a float that JSON has no number
#         for is an error, or `Infinity` as the standard library writes it.
# Seen:   infinity and NaN are written as null without a word, and null is no float when that is
#         read: the document is refused, in another process and hours later. As `float | None` it is
#         read as None, which is another value: what was endless is missing. MessagePack keeps it.
# So:     encode such a limit as a text or leave it out, or refuse it before it is written.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'msgspec==0.23.0'
"$dir/venv/bin/python" - <<'PY'
import json, math, sys
import msgspec
from msgspec import Struct


class Limit(Struct):
    seconds: float


class Maybe(Struct):
    seconds: float | None


endless = Limit(math.inf)
written = msgspec.json.encode(endless)
try:
    read = repr(msgspec.json.decode(written, type=Limit))
except msgspec.ValidationError as error:
    read = f"refused: {error}"
maybe = msgspec.json.decode(written, type=Maybe)
packed = msgspec.msgpack.decode(msgspec.msgpack.encode(endless), type=Limit)
print("json of the standard library:", json.dumps({"seconds": math.inf}))
print("msgspec.json writes:         ", written.decode())
print("read as a float:             ", read)
print("read as float | None:        ", maybe)
print("by MessagePack:              ", packed)
sys.exit(
    written != b'{"seconds":null}'
    or not read.startswith("refused: Expected `float`, got `null`")
    or maybe != Maybe(None)
    or packed != endless
)
PY
echo "as described"
