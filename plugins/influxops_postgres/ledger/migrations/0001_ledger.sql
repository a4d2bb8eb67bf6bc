-- The ledger of influxops: one row a tenant, the servers and sources that were seen, a history.
-- COLLATE "C": ids are the same only if each byte is, and no update of the system's locales can
-- put the indexes out of order.

CREATE TABLE migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    installed timestamptz NOT NULL DEFAULT now(),
    installed_by text NOT NULL DEFAULT session_user
);

-- Half of each page stays free: a run may write every row, and what fits its page again needs no
-- new entry in the index.
CREATE TABLE tenants (
    namespace text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    state text NOT NULL,
    database text NOT NULL DEFAULT '',
    target text,
    identity text,
    other text,
    other_identity text,
    due timestamptz,
    progress text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT now(),
    made timestamptz,
    made_by text NOT NULL DEFAULT '',
    confirmed timestamptz,
    error text NOT NULL DEFAULT '',
    tries integer NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    holder_key bigint,
    version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (namespace, tenant),
    CONSTRAINT state_is_known CHECK (state IN (
        'wanted', 'reserved', 'unconfirmed', 'ready', 'moving', 'retiring', 'retired', 'lost')),
    CONSTRAINT place_is_whole CHECK (state IN ('wanted', 'retired') OR (
        database <> '' AND target IS NOT NULL AND target <> '')),
    CONSTRAINT holder_has_key CHECK ((holder = '') = (holder_key IS NULL)),
    CONSTRAINT numbers_grow CHECK (tries >= 0 AND version > 0),
    CONSTRAINT times_are_finite CHECK (
        isfinite(since) AND isfinite(coalesce(due, since)) AND isfinite(coalesce(made, since))
        AND isfinite(coalesce(confirmed, since)))
) WITH (fillfactor = 50);
COMMENT ON COLUMN tenants.holder IS 'the run that has claimed it';
COMMENT ON COLUMN tenants.holder_key IS 'the advisory lock that this run holds while it lives';
COMMENT ON COLUMN tenants.version IS 'grows with each change: a change is based on one version';

CREATE TABLE servers (
    namespace text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    identity text,
    since timestamptz NOT NULL DEFAULT now(),
    read timestamptz,
    PRIMARY KEY (namespace, target)
);

CREATE TABLE sources (
    namespace text COLLATE "C" NOT NULL,
    identity text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace, identity)
);

CREATE TABLE history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run text COLLATE "C" NOT NULL,
    who text NOT NULL DEFAULT '',
    event text NOT NULL,
    tenant text COLLATE "C",
    target text,
    database text NOT NULL DEFAULT '',
    before text NOT NULL DEFAULT '',
    after text NOT NULL DEFAULT '',
    ended text NOT NULL DEFAULT 'done',
    message text NOT NULL DEFAULT ''
);
CREATE INDEX history_tenant ON history (namespace, tenant, id);
CREATE INDEX history_run ON history (run);
CREATE INDEX history_at ON history USING brin (at) WITH (autosummarize = on);

CREATE FUNCTION history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of the ledger is only added to, never changed'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER history_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION history_stays();
