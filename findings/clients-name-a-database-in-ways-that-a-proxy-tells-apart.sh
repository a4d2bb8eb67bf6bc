#!/usr/bin/env bash
# influxdb3-python 0.21.0, @influxdata/influxdb3-client 2.1.0 (npm), Debian 12: nginx 1.22.1-9+deb12u11.
#
# Guess:  a proxy can route writes by the database in the URL: nginx's $arg_bucket is the name that
#         the client was given, and a map from names to servers compares it as it is.
# Seen:   $arg_bucket is the text of the URL, not decoded, and the clients encode differently: of
#         `line 1` Python makes `line+1` and Node `line%201`. A map that lists the name, or one of
#         these forms, misses the other client. And a map compares without case: a line for
#         `acme` also takes `ACME`, and a map with both is refused as a conflict when nginx starts.
# So:     list each name in every form, or anchored regular expressions (~^…$), which keep case.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${nginx:-}" ]; then kill "$nginx" 2>/dev/null || true; wait "$nginx" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'nginx=1.22.1-9+deb12u11' 2>/dev/null
dpkg -x nginx_*.deb .
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'influxdb3-python==0.21.0'
npm install --silent --no-audit --no-fund '@influxdata/influxdb3-client@2.1.0'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
conf() { # the lines of the map
  cat > nginx.conf <<CONF
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {}
http {
  log_format routed '\$http_user_agent|\$arg_bucket|\$server_of';
  access_log requests.log routed;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  map \$arg_bucket \$server_of { default none; $1 }
  server { listen 127.0.0.1:$port; location / { return 204; } }
}
CONF
}
cat > write.py <<'PY'
import sys
from influxdb_client_3 import SYNCHRONOUS, InfluxDBClient3, write_client_options
for database in ("line 1", "ACME"):
    options = write_client_options(write_options=SYNCHRONOUS)
    with InfluxDBClient3(sys.argv[1], database=database, token="t", write_client_options=options) as client:
        client.write("m f=1")
PY
cat > write.mjs <<'JS'
import {InfluxDBClient} from '@influxdata/influxdb3-client'
for (const database of ['line 1', 'ACME']) {
  const client = new InfluxDBClient({host: process.argv[2], token: 't', database})
  await client.write('m f=1')
  await client.close()
}
JS
conf '"line 1" eu1; acme eu2; ACME eu3;'
if ./usr/sbin/nginx -e stderr -t -p . -c nginx.conf 2> refused; then exit 1; fi
grep -o 'conflicting parameter "acme"' refused
conf '"line 1" eu1; "line%201" eu1; acme eu2;'
./usr/sbin/nginx -e stderr -p . -c nginx.conf 2> errors & nginx=$!
for _ in $(seq 100); do if (: < "/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi; sleep 0.1; done
venv/bin/python write.py "http://127.0.0.1:$port"
node write.mjs "http://127.0.0.1:$port"
kill "$nginx"; wait "$nginx" || true; nginx=
sed -E 's/^influxdb3-python[^|]*/Python/; s/^influxdb3-js[^|]*/Node/' requests.log | tee seen
[ "$(cat seen)" = "$(printf 'Python|line+1|none\nPython|ACME|eu2\nNode|line%%201|eu1\nNode|ACME|eu2')" ]
echo "as described"
