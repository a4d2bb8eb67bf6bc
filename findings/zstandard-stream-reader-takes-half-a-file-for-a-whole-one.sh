#!/usr/bin/env bash
# zstandard 0.25.0, backports.zstd 1.8.0.
#
# Guess:  a compressed file that lost its end (a full disk, a copy that broke off) is an error where
#         it is read: each frame says where it ends, and `decompress` raises.
# Seen:   `stream_reader` and `copy_stream` of zstandard give what there is and end without an error,
#         as at the end of a whole file, also where a checksum was to follow. backports.zstd, which is
#         Python's own module from 3.14 on, raises EOFError.
# So:     a program that reads a dump by `stream_reader` has to count its rows, or to read by
#         backports.zstd: the last rows are missing, and nothing says so.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'zstandard==0.25.0' 'backports.zstd==1.8.0'
"$dir/venv/bin/python" - <<'PY'
import io, sys
import zstandard
from backports import zstd

rows = b"".join(b"telemetry,device_id=d t=%d %d\n" % (n % 40, n) for n in range(200_000))
whole = zstandard.ZstdCompressor(write_checksum=True).compress(rows)
cut = whole[: len(whole) // 2]


def tried(read):
    try:
        return len(read())
    except Exception as error:
        return type(error).__name__


def copied(data):
    into = io.BytesIO()
    zstandard.ZstdDecompressor().copy_stream(io.BytesIO(data), into)
    return into.getvalue()


def streamed(data):
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()


assert streamed(whole) == rows
found = {
    "zstandard, decompress": tried(lambda: zstandard.ZstdDecompressor().decompress(cut)),
    "zstandard, stream_reader": tried(lambda: streamed(cut)),
    "zstandard, copy_stream": tried(lambda: copied(cut)),
    "backports.zstd, open": tried(lambda: zstd.open(io.BytesIO(cut)).read()),
}
print(f"of {len(rows):,} bytes, after half of the file:")
for name, result in found.items():
    print(f"{name + ':':26}{result if isinstance(result, str) else f'{result:,} bytes, no error'}")
raised, first, second, other = found.values()
sys.exit(
    (raised, other) != ("ZstdError", "EOFError")
    or not (isinstance(first, int) and 0 < first < len(rows))
    or first != second
)
PY
echo "as described"
