"""The statements that read and write the ledger's records, servers, sources and history."""

from __future__ import annotations

from psycopg import sql

#: The columns of a record that are read as they are, in the order of its fields.
RECORD = (
    *(
        "tenant",
        "state",
        "database",
        "target",
        "identity",
        "secondary_target",
        "secondary_identity",
        "drop_after",
    ),
    *(
        "progress",
        "state_since",
        "created_at",
        "created_by",
        "last_seen_at",
        "error",
        "attempts",
        "claimed_by",
    ),
)
COLUMNS = sql.SQL(", ").join(sql.Identifier("t", name) for name in RECORD)

# On a standby, runs that live on the primary are not seen: what is claimed counts as held.
IS_HELD = sql.SQL("""
t.claimed_by <> '' AND t.claimed_by <> %(me)s
AND (%(standby)s OR t.claim_key = ANY (ARRAY(SELECT key FROM held)))
""")

READ = sql.SQL("""
WITH held AS MATERIALIZED ({held})
SELECT {columns}, {is_held}, t.version FROM {tenants} AS t
 WHERE t.namespace = %(namespace)s AND (%(tenants)s::text[] IS NULL OR t.tenant = ANY (%(tenants)s))
""")

WRITE = sql.SQL("""
WITH held AS MATERIALIZED ({held}), clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
INSERT INTO {tenants} AS t (
       namespace, tenant, state, database, target, identity, secondary_target, secondary_identity,
       drop_after, progress,
       state_since, created_at, created_by, last_seen_at, error, attempts, claimed_by, claim_key,
       version)
SELECT %(namespace)s, r.tenant, r.state, coalesce(r.database, ''), r.target, r.identity,
r.secondary_target,
       r.secondary_identity, r.drop_after, coalesce(r.progress, ''),
       CASE WHEN r.state = old.state OR (r.state IN ('pending', 'allocated')
                 AND old.state IN ('pending', 'allocated')) THEN old.state_since
            WHEN r.state IN ('pending', 'allocated')
                 AND r.state_since IS DISTINCT FROM old.state_since THEN least(r.state_since, now)
            ELSE now END,
       r.created_at, coalesce(r.created_by, ''), r.last_seen_at,
       coalesce(r.error, ''), coalesce(r.attempts, 0), %(claimed_by)s, %(claim_key)s::bigint,
       coalesce(r.version, 0) + 1
  FROM clock CROSS JOIN json_to_recordset(%(records)s::json) AS r (
       tenant text, state text, database text, target text, identity text, secondary_target text,
       secondary_identity text, drop_after timestamptz, progress text, state_since timestamptz,
       created_at timestamptz,
       created_by text,
       last_seen_at timestamptz, error text, attempts integer, version bigint)
  LEFT JOIN {tenants} AS old ON old.namespace = %(namespace)s AND old.tenant = r.tenant COLLATE "C"
 WHERE coalesce(r.version, 0) = coalesce(old.version, 0)
 ORDER BY r.tenant COLLATE "C"
    ON CONFLICT (namespace, tenant) DO UPDATE SET
       state = excluded.state, database = excluded.database, target = excluded.target,
       identity = excluded.identity, secondary_target = excluded.secondary_target,
       secondary_identity = excluded.secondary_identity, drop_after = excluded.drop_after, progress
       = excluded.progress,
       state_since = excluded.state_since, created_at = excluded.created_at, created_by =
       excluded.created_by,
       last_seen_at = excluded.last_seen_at, error = excluded.error, attempts = excluded.attempts,
       claimed_by = excluded.claimed_by, claim_key = excluded.claim_key, version = excluded.version
 WHERE t.version = excluded.version - 1
   AND (t.claimed_by IN ('', %(me)s) OR t.claim_key <> ALL (ARRAY(SELECT key FROM held)))
RETURNING t.tenant, t.state_since, t.version
""")

FORGET = sql.SQL("""
DELETE FROM {tenants} AS t USING json_to_recordset(%(forgotten)s::json) AS r (
       tenant text, version bigint)
 WHERE t.namespace = %(namespace)s AND t.tenant = r.tenant AND t.version = r.version
   AND (t.claimed_by IN ('', %(me)s) OR t.claim_key <> ALL (ARRAY({held})))
""")

LIVES = sql.SQL("SELECT EXISTS (SELECT FROM ({held}) AS held WHERE key = {key}) AS lives")

#: The columns of a server, in the order of its fields.
SERVER = sql.SQL(
    'target, identity, since, read, edition, capacity, unrecorded, "full", full_at, replaced_by'
)
SERVERS = sql.SQL(
    'SELECT {server} FROM {servers} WHERE namespace = %(namespace)s ORDER BY target COLLATE "C"'
)
SOURCES = sql.SQL("SELECT identity FROM {sources} WHERE namespace = %(namespace)s")
CLOCK = sql.SQL("""
SELECT clock_timestamp(),
       coalesce((SELECT version FROM {routes} WHERE namespace = %(namespace)s), 0)
""")
#: Another server at a target leaves no route to what was recorded on the former one.
GROW = sql.SQL("SELECT {grow_routes}(%(namespace)s)")

RENAME = sql.SQL("""
UPDATE {tenants} AS t
   SET target = CASE WHEN names.there ->> t.target = t.identity THEN t.target
                     ELSE coalesce(names.map ->> t.target, t.target) END,
       secondary_target = CASE WHEN names.there ->> t.secondary_target = t.secondary_identity THEN
       t.secondary_target
                    ELSE coalesce(names.map ->> t.secondary_target, t.secondary_target) END
  FROM (SELECT %(renamed)s::jsonb AS map, %(there)s::jsonb AS there) AS names
 WHERE t.namespace = %(namespace)s AND (names.map ? t.target OR names.map ? t.secondary_target)
""")

TAKE_SERVERS = sql.SQL(
    "DELETE FROM {servers} WHERE namespace = %(namespace)s AND target = ANY (%(targets)s) "
    "RETURNING {server}"
)
PUT_SERVERS = sql.SQL("""
INSERT INTO {servers} (namespace, {server})
SELECT %(namespace)s, target, identity, coalesce(since, clock_timestamp()), read, edition, capacity,
       unrecorded, "full", full_at, replaced_by
  FROM json_to_recordset(%(servers)s::json) AS s (
       target text, identity text, since timestamptz, read timestamptz, edition text,
       capacity integer, unrecorded integer, "full" text, full_at timestamptz, replaced_by text)
    ON CONFLICT (namespace, target) DO NOTHING
""")
PUT_SOURCES = sql.SQL("""
INSERT INTO {sources} (namespace, identity)
SELECT %(namespace)s, identity FROM unnest(%(sources)s::text[]) AS identity ORDER BY 2
    ON CONFLICT DO NOTHING
""")

APPEND = sql.SQL("""
INSERT INTO {history} (namespace, at, run, who, door, event, tenant, target, database, before,
                       after, outcome, message)
SELECT %(namespace)s, clock.now, %(me)s, e.who, e.door, e.event, e.tenant, e.target, e.database,
       e.before, e.after, e.outcome, e.message
  FROM (SELECT clock_timestamp() AS now) AS clock
 CROSS JOIN ROWS FROM (json_to_recordset(%(entries)s::json) AS (
       who text, door text, event text, tenant text, target text, database text, before text,
       after text, outcome text, message text)) WITH ORDINALITY AS e
 ORDER BY e.ordinality
""")

HISTORY = sql.SQL("""
SELECT id, event, tenant, target, database, before, after, outcome, message, at, run, who, door,
       times, last_at
  FROM {history}
 WHERE namespace = %(namespace)s
   AND (%(tenants)s::text[] IS NULL OR tenant = ANY (%(tenants)s))
   AND (%(run)s::text IS NULL OR run = %(run)s)
   AND (%(since)s::timestamptz IS NULL OR coalesce(last_at, at) >= %(since)s)
 ORDER BY id DESC LIMIT %(most)s
""")

# A database that is being moved is counted where it is, and where it goes to.
COUNT = sql.SQL("""
SELECT place, count(*) FROM {tenants} CROSS JOIN LATERAL (VALUES (target), (secondary_target)) AS p
(place)
 WHERE namespace = %(namespace)s AND place IS NOT NULL AND state NOT IN ('pending', 'retired')
 GROUP BY place
""")
