#!/usr/bin/env bash
# Debian 12: nginx 1.22.1-9+deb12u11, before two plain HTTP servers.
#
# Guess:  with `mirror` a second server gets a copy of each write (before a move, say) that its clients
#         do not notice: it is a background request whose answer is ignored, so a slow or a dead
#         second server costs them nothing.
# Seen:   the answer to a write comes at once, but the next request on that connection is not read
#         before the mirror has answered the one before: a mirror that takes a second makes every
#         write but the first take a second, in each client that keeps its connection open, as those
#         of InfluxDB do. New connections do not wait.
# So:     keepalive_timeout 0 for the time, and short proxy_*_timeout in the location of the mirror.
set -euo pipefail
dir=$(mktemp -d); trap 'if [ -n "${nginx:-}" ]; then kill "$nginx" 2>/dev/null || true; wait "$nginx" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'nginx=1.22.1-9+deb12u11' 2>/dev/null
dpkg -x nginx_*.deb .
cat > run.py <<'PY'
import http.client, http.server, pathlib, socket, subprocess, sys, threading, time

SLOW = 1.5


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay)
        self.server.written += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def serve(delay):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.delay, server.written = delay, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def write(connection):
    begun = time.monotonic()
    connection.request("POST", "/api/v2/write?bucket=d", body=b"m f=1")
    response = connection.getresponse()
    response.read()
    assert response.status == 204
    return time.monotonic() - begun


main, second = serve(0), serve(SLOW)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
pathlib.Path("nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{
    listen 127.0.0.1:{port};
    location / {{ mirror /mirror; proxy_pass http://127.0.0.1:{main.server_port}; }}
    location = /mirror {{ internal; proxy_pass http://127.0.0.1:{second.server_port}$request_uri; }}
  }}
}}
""")
nginx = subprocess.Popen(["./usr/sbin/nginx", "-e", "stderr", "-p", ".", "-c", "nginx.conf"])
try:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    kept = http.client.HTTPConnection("127.0.0.1", port)
    one = [write(kept) for _ in range(4)]
    many = [write(http.client.HTTPConnection("127.0.0.1", port)) for _ in range(4)]
    for _ in range(300):
        if second.written == 8:
            break
        time.sleep(0.1)
finally:
    nginx.terminate()
    nginx.wait()
print(f"the mirror takes {SLOW} s")
print("one connection, seconds a write: ", *(f"{seconds:.1f}" for seconds in one))
print("new connections, seconds a write:", *(f"{seconds:.1f}" for seconds in many))
print(f"written: {main.written}, by the mirror: {second.written}")
waited = SLOW - 0.3
sys.exit(
    max(one[0], *many) > waited or min(one[1:]) < waited or (main.written, second.written) != (8, 8)
)
PY
python3 run.py
echo "as described"
