#!/usr/bin/env bash
# pandas 3.1.1, pyarrow 26.0.1.
#
# Guess:  rows in JSON lines (what InfluxDB 3 answers with format=jsonl) come back as they were
#         written: what is in quotes is text, and an integer is that integer.
# Seen:   pandas.read_json makes numbers of columns whose texts look like numbers: the device "007"
#         is 7, the version "1.10" is 1.1, the serial number "1e5" is 100000. An integer above
#         2^53 is another one if its column has a row without it. pyarrow.json leaves texts alone,
#         and makes a rounded double of an unsigned integer above 2^63.
# So:     pandas with dtype=False leaves texts alone, but still rounds; pyarrow needs a schema.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pandas==3.1.1' 'pyarrow==26.0.1'
"$dir/venv/bin/python" - <<'PY'
import io, sys
import pandas, pyarrow.json

ROWS = (
    b'{"device":"007","version":"1.10","serial":"1e5","total":18446744073709551615,"n":9007199254740993}\n'
    b'{"device":"010","version":"1.20","serial":"2e5","total":1}\n'
)
by_pandas = pandas.read_json(io.BytesIO(ROWS), lines=True).to_dict("records")[0]
as_text = pandas.read_json(io.BytesIO(ROWS), lines=True, dtype=False).to_dict("records")[0]
by_pyarrow = pyarrow.json.read_json(io.BytesIO(ROWS)).to_pylist()[0]
print("pandas:             ", by_pandas)
print("pandas, dtype=False:", as_text)
print("pyarrow:            ", by_pyarrow)
sys.exit(
    by_pandas
    != {"device": 7, "version": 1.1, "serial": 1e5, "total": 2**64 - 1, "n": 9007199254740992.0}
    or (as_text["device"], as_text["serial"], as_text["n"]) != ("007", "1e5", 9007199254740992.0)
    or (by_pyarrow["device"], by_pyarrow["n"]) != ("007", 9007199254740993)
    or not isinstance(by_pyarrow["total"], float)
)
PY
echo "as described"
