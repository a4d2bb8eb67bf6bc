#!/usr/bin/env bash
# Debian 12: prometheus-node-exporter 1.5.0-1+b6, its textfile collector.
#
# Guess:  two valid files for the textfile collector that do not agree (two instances of one tool
#         on a host, in two versions or with one series in both) make
#         node_textfile_scrape_error 1, the metric that alerts watch.
# Seen:   where the same metric has another HELP, another TYPE, or a series twice, all samples of
#         that metric in the second file are missing from /metrics, with status 200. The error
#         metric stays 0, and node_textfile_mtime_seconds is there for that file, too, as for one
#         that was "successfully read". Only the exporter's log has a line.
# So:     watch the samples themselves (absent(), a timestamp as a value); one HELP for all; a label
#         that tells instances apart.
set -euo pipefail
dir=$(mktemp -d)
trap 'if [ -n "${exporter:-}" ]; then kill "$exporter" 2>/dev/null || true; wait "$exporter" 2>/dev/null || true; fi; rm -rf "$dir"' EXIT
chmod 755 "$dir"; cd "$dir"
apt-get download -qq 'prometheus-node-exporter=1.5.0-1+b6' 2>/dev/null
dpkg -x prometheus-node-exporter_*.deb .
mkdir metrics
printf '# HELP backup_ok Whether it ended well\n# TYPE backup_ok gauge\nbackup_ok{job="a"} 1\n' > metrics/a.prom

ask() { # file b's text → what /metrics has
  printf "$1" > metrics/b.prom
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  ./usr/bin/prometheus-node-exporter --collector.disable-defaults --collector.textfile \
    --collector.textfile.directory=metrics --web.listen-address="127.0.0.1:$port" 2> log & exporter=$!
  for _ in $(seq 100); do
    if status=$(curl -s -o answer -w '%{http_code}' "http://127.0.0.1:$port/metrics"); then break; fi
    sleep 0.1
  done
  kill "$exporter"; wait "$exporter" 2>/dev/null || true; exporter=
  samples=$(grep -c '^backup_ok{' answer)
  error=$(awk '/^node_textfile_scrape_error/ {print $2}' answer)
  read_=$(grep -c '^node_textfile_mtime_seconds' answer)
  logged=$(grep -c 'error gathering metrics' log || true)
  echo "$2: status $status, samples $samples of 2, files read $read_, scrape_error $error, lines in the log $logged"
}

ask '# HELP backup_ok Whether it ended well\n# TYPE backup_ok gauge\nbackup_ok{job="b"} 1\n' 'the same HELP and TYPE'
[ "$samples $error $read_ $logged" = "2 0 2 0" ]
ask '# HELP backup_ok Ended well\n# TYPE backup_ok gauge\nbackup_ok{job="b"} 1\n' 'another HELP'
[ "$status $samples $error $read_ $logged" = "200 1 0 2 1" ]
ask '# HELP backup_ok Whether it ended well\n# TYPE backup_ok counter\nbackup_ok{job="b"} 1\n' 'another TYPE'
[ "$status $samples $error $read_ $logged" = "200 1 0 2 1" ]
ask '# HELP backup_ok Whether it ended well\n# TYPE backup_ok gauge\nbackup_ok{job="a"} 0\n' 'the same series, another value'
[ "$status $samples $error $read_ $logged" = "200 1 0 2 1" ]
echo "as described"
