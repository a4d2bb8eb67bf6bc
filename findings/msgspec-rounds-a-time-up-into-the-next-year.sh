#!/usr/bin/env bash
# msgspec 0.23.0, beside pydantic 2.14.4 and the standard library of Python 3.11 or later.
#
# Guess:  of a time with nanoseconds, as InfluxDB gives it in JSON, a datetime keeps the
#         microseconds, and the rest is cut off: the row stays in its second, its day and its year.
# Seen:   msgspec rounds, in convert() as in its JSON decoder: the last half microsecond of a year is
#         the first moment of the next one, so a row that the server answered for "before midnight"
#         fails `time < midnight` in Python. A datetime.time of that kind wraps to 00:00:00, and the
#         same text is another datetime than the one of pydantic or datetime.fromisoformat.
# So:     where rows are put into periods by their time, keep the text or integers of nanoseconds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'msgspec==0.23.0' 'pydantic==2.14.4'
"$dir/venv/bin/python" - <<'PY'
import json, sys
from datetime import datetime, time
import msgspec, pydantic

seen = {}
for text in ("2026-12-31T23:59:59.999999499Z", "2026-12-31T23:59:59.999999500Z"):
    readers = {
        "msgspec.convert": msgspec.convert(text, datetime),
        "msgspec.json": msgspec.json.decode(json.dumps(text), type=datetime),
        "pydantic": pydantic.TypeAdapter(datetime).validate_python(text),
        "fromisoformat": datetime.fromisoformat(text),
    }
    seen[text[-4:-1]] = [value.isoformat() for value in readers.values()]
    for name, value in readers.items():
        print(f"{text} by {name}: {value.isoformat()}")
wrapped = msgspec.convert("23:59:59.999999500", time)
print("23:59:59.999999500 by msgspec.convert:", wrapped.isoformat())
cut, up = "2026-12-31T23:59:59.999999+00:00", "2027-01-01T00:00:00+00:00"
sys.exit(seen != {"499": [cut] * 4, "500": [up, up, cut, cut]} or wrapped != time(0, 0))
PY
echo "as described"
