#!/usr/bin/env bash
# @influxdata/influxdb-client 1.35.0 (npm, the client of InfluxDB 2), against a plain HTTP server.
#
# Guess:  `await writeApi.close()` tells whether all lines were written: it repeats what waits for a
#         retry (maxRetries), and rejects if a line is lost; and a flush() that rejects means that
#         these lines were not written.
# Seen:   both are the other way round. A full batch that was answered 503 waits for its retry; close()
#         drops it and resolves, although the server would take it by now (the reference does say
#         that it cancels retries). flush() rejects at the first 503, and the lines are written a
#         little later, by the retry: a program that writes them again writes them twice (as other
#         rows, if they have no time).
# So:     count the lines of writeSuccess; flush(true) before close() sends what waits for a retry.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund '@influxdata/influxdb-client@1.35.0'
cat > run.mjs <<'JS'
import http from 'node:http'
import {setTimeout as sleep} from 'node:timers/promises'
import {InfluxDB, setLogger} from '@influxdata/influxdb-client'

setLogger({warn() {}, error() {}})
let answered = []
// Busy once, then it takes everything.
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    answered.push(answered.length ? 204 : 503)
    response.writeHead(answered.at(-1)).end()
  })
})
await new Promise((ready) => server.listen(0, '127.0.0.1', ready))

const until = async (condition) => {
  for (let i = 0; i < 300 && !condition(); i++) await sleep(20)
}
const outcome = (promise) => promise.then(() => 'resolves', () => 'rejects')
const seen = []
const tell = (line) => seen.push(line) && console.log(line)

function writer(batchSize) {
  answered = []
  const options = {batchSize, maxRetries: 5, minRetryDelay: 300, maxRetryDelay: 300, retryJitter: 0}
  const influx = new InfluxDB({url: `http://127.0.0.1:${server.address().port}`, token: 't'})
  const api = influx.getWriteApi('o', 'b', 'ns', options)
  api.writeRecord('m f=1')
  return api
}

let api = writer(1)
await until(() => answered.length)
await sleep(50) // the client has read the answer
tell(`a full batch was answered 503, then close() ${await outcome(api.close())}`)
await sleep(1000)
tell(`requests for it, also a second later: ${answered}`)

api = writer(100)
tell(`flush() of a line ${await outcome(api.flush())} at ${answered}`)
await until(() => answered.length > 1)
tell(`requests for it, a little later: ${answered}`)
await api.close()
server.close()
server.closeAllConnections()

const expected = [
  'a full batch was answered 503, then close() resolves',
  'requests for it, also a second later: 503',
  'flush() of a line rejects at 503',
  'requests for it, a little later: 503,204',
]
process.exitCode = seen.join() === expected.join() ? 0 : 1
JS
node run.mjs
echo "as described"
