#!/usr/bin/env bash
# zstandard 0.25.0, beside backports.zstd 1.8.0, pyzstd 0.20.0 and pyarrow 26.0.1 (PyPI).
#
# Guess:  a file of several zstd frames (parts that were compressed by themselves and appended, as
#         with gzip, or an export that was resumed) is decompressed whole, or refused.
# Seen:   zstandard.decompress() gives the first frame and drops the rest without an error, while
#         zstandard.open() and the stream reader of the same package, and all of the other
#         packages, give everything.
# So:     read such files as a stream, or compare the size with what a manifest says.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'zstandard==0.25.0' 'backports.zstd==1.8.0' 'pyzstd==0.20.0' 'pyarrow==26.0.1'
"$dir/venv/bin/python" - "$dir/rows.zst" <<'PY'
import sys
import pyarrow, pyzstd, zstandard
from backports import zstd

parts = [b"boiler f=1 1\n", b"boiler f=2 2\n"]
data = b"".join(map(zstandard.compress, parts))
with open(sys.argv[1], "wb") as file:
    file.write(data)
with zstandard.open(sys.argv[1], "rb") as file:
    streamed = file.read()
read = {
    "zstandard.decompress": zstandard.decompress(data),
    "zstandard.open": streamed,
    "backports.zstd.decompress": zstd.decompress(data),
    "pyzstd.decompress": pyzstd.decompress(data),
    "pyarrow.CompressedInputStream": pyarrow.CompressedInputStream(
        pyarrow.BufferReader(data), "zstd"
    ).read(),
}
for name, found in read.items():
    print(f"{name}: {found.count(10)} of 2 lines")
whole = b"".join(parts)
sys.exit(
    read.pop("zstandard.decompress") != parts[0] or any(found != whole for found in read.values())
)
PY
echo "as described"
