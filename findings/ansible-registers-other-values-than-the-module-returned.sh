#!/usr/bin/env bash
# ansible-core 2.19.14, its module uri, against a plain HTTP server.
#
# Guess:  an option that a module declares as no_log (a password) is kept out of what is printed and
#         logged; what the task registers is what the module returned.
# Seen:   the text of the password is replaced in everything that the module returns, before it is
#         registered, also in the middle of a word: with the password `telemetry`, uri registers the
#         database telemetry_acme of the server's answer as ********_acme, and the next task asks for
#         that. A number that contains a password of digits becomes VALUE_SPECIFIED_IN_NO_LOG_PARAMETER.
#         The task is "ok", without a warning, and all is well on a server with another password.
# So:     no short or common words as passwords, also for tests; a result that holds ******** is one
#         to stop at.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check 'ansible-core==2.19.14'
cat > play.yml <<'YAML'
- hosts: localhost
  gather_facts: false
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - ansible.builtin.uri:
        url: "{{ server }}/databases"
        url_username: admin
        url_password: "{{ password }}"
        force_basic_auth: true
      register: answer
    - ansible.builtin.uri:
        url: "{{ server }}/databases/{{ answer.json.databases[0].name }}?rows={{ answer.json.databases[0].rows }}"
        method: PUT
        status_code: 204
YAML
cat > run.py <<'PY'
import http.server, json, os, subprocess, sys, threading

asked = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"databases": [{"name": "telemetry_acme", "rows": 120265}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        asked.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
environment = os.environ | {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}
environment |= {"ANSIBLE_HOME": os.getcwd(), "ANSIBLE_LOCAL_TEMP": os.getcwd()}
outputs = []
for password in ("something else", "telemetry", "2026"):
    values = json.dumps({"server": f"http://127.0.0.1:{server.server_port}", "password": password})
    command = [os.path.abspath("venv/bin/ansible-playbook"), "-i", "localhost,", "-e", values, "play.yml"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    outputs.append(done.stdout + done.stderr)
    print(f"password {password!r}: the second task asks for {asked[-1]}")
warnings = sum(output.count("WARNING") for output in outputs)
print("warnings:", warnings)
expected = [
    "/databases/telemetry_acme?rows=120265",
    "/databases/********_acme?rows=120265",
    "/databases/telemetry_acme?rows=VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
]
sys.exit(asked != expected or warnings != 0)
PY
venv/bin/python run.py
echo "as described"
