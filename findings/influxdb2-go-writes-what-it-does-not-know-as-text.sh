#!/usr/bin/env bash
# github.com/influxdata/influxdb-client-go/v2 v2.14.0 (Go), its package api/write.
#
# Guess:  a field that is nil is left out, as None is by the client for Python; a pointer to a number
#         is that number; what line protocol has no type for (a duration, a slice) is refused.
# Seen:   each of them becomes a text, with fmt's %v: nil is "<nil>", a *float64 is its address in
#         memory, which differs from run to run, 1500 ms are "1.5s" and a slice is "[1 2]". A column
#         keeps the type of its first write, so a first row with a nil (an optional reading in a
#         map, a column that was NULL) makes a column of texts, and later numbers are refused.
# So:     leave nil out and follow pointers before NewPoint and AddField.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
export GOFLAGS='-mod=mod -modcacherw' GOMODCACHE="$dir/modules"
cat > go.mod <<'GO'
module finding

go 1.22

require github.com/influxdata/influxdb-client-go/v2 v2.14.0
GO
cat > main.go <<'GO'
package main

import (
	"fmt"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/api/write"
)

func main() {
	reading := 20.5
	for _, field := range []struct {
		name  string
		value interface{}
	}{
		{"number", reading},
		{"nil", nil},
		{"pointer", &reading},
		{"duration", 1500 * time.Millisecond},
		{"slice", []int{1, 2}},
	} {
		point := write.NewPoint("m", map[string]string{"site": "a"}, map[string]interface{}{"f": field.value}, time.Unix(1, 0))
		fmt.Printf("%s: %s", field.name, write.PointToLineProtocol(point, time.Second))
	}
}
GO
go run . 2> log | tee seen || { cat log; exit 1; }
sed -E 's/"0x[0-9a-f]+"/"an address"/' seen > compared
diff compared - <<'TEXT'
number: m,site=a f=20.5 1
nil: m,site=a f="<nil>" 1
pointer: m,site=a f="an address" 1
duration: m,site=a f="1.5s" 1
slice: m,site=a f="[1 2]" 1
TEXT
echo "as described"
