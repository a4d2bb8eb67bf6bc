-- What a tenant that waits meets again and again is one row with a count, and what is old can be
-- deleted. A row that is there changes in nothing else.
ALTER TABLE history
    ADD COLUMN times integer NOT NULL DEFAULT 1,
    ADD COLUMN last_at timestamptz;
COMMENT ON COLUMN history.times IS 'how often it happened, without anything that ended well since';
COMMENT ON COLUMN history.last_at IS 'when it last happened, where that is more than once';

CREATE OR REPLACE FUNCTION history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('influxops.prunes_history', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the history of the ledger is only added to, never changed'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
DROP TRIGGER history_stays ON history;
CREATE TRIGGER history_stays BEFORE DELETE OR TRUNCATE OR UPDATE OF
    id, namespace, at, run, who, door, event, tenant, target, database, before, after, outcome, message
    ON history FOR EACH STATEMENT EXECUTE FUNCTION history_stays();

-- What runs with its owner's rights finds no temporary table of its caller's first. A user that may
-- add to the history need not have the right to change it.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);
CREATE FUNCTION count_repeated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE history SET times = times + 1, last_at = NEW.at WHERE id = (
        SELECT id FROM history AS h
         WHERE h.namespace = NEW.namespace AND h.tenant = NEW.tenant
           AND h.id > coalesce((
               SELECT max(id) FROM history AS good
                WHERE good.namespace = NEW.namespace AND good.tenant = NEW.tenant
                  AND good.outcome = 'done'), 0)
           AND (h.who, h.door, h.event, h.target, h.database, h.before, h.after, h.outcome,
                h.message) IS NOT DISTINCT FROM (NEW.who, NEW.door, NEW.event, NEW.target,
                NEW.database, NEW.before, NEW.after, NEW.outcome, NEW.message)
         ORDER BY h.id DESC LIMIT 1);
    RETURN CASE WHEN FOUND THEN NULL ELSE NEW END;
END
$$;
CREATE TRIGGER history_repeated BEFORE INSERT ON history FOR EACH ROW
    WHEN (NEW.outcome <> 'done' AND NEW.tenant IS NOT NULL) EXECUTE FUNCTION count_repeated();
