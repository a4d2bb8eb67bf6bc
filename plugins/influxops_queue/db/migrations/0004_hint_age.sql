-- Since when a tenant waits that no worker has looked at: a target that hangs may hold them all up.
-- Not when the transaction began, which may have been long before.
ALTER TABLE hints ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
