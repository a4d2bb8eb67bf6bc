-- The devices. It is run where the platform has no such table yet.

CREATE TABLE {devices} (
    {device_id} text PRIMARY KEY,
    {tenant_id} text COLLATE "C" NOT NULL,
    {name} text NOT NULL DEFAULT '',
    {status} text NOT NULL DEFAULT 'active',
    {created_at} timestamptz NOT NULL DEFAULT now(),
    {last_seen_at} timestamptz
);
CREATE INDEX ON {devices} ({tenant_id});
