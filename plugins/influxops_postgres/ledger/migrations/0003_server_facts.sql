-- What is known of a server beside its identity, so that one tenant is placed as a run over all
-- would place it, without reading every server. NULL in `unrecorded`: not known yet.
ALTER TABLE servers
    ADD COLUMN IF NOT EXISTS edition text,
    ADD COLUMN IF NOT EXISTS capacity integer,
    ADD COLUMN IF NOT EXISTS unrecorded integer,
    ADD COLUMN IF NOT EXISTS "full" text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS full_at timestamptz;
COMMENT ON COLUMN servers.unrecorded IS
    'how many databases it held that the ledger did not count, when it was last read';
COMMENT ON COLUMN servers."full" IS 'why it took nothing more, as it said itself';
