-- The queue of influxops. {schema} is its own schema, {ledger} the ledger's.

CREATE TABLE hints (
    namespace text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL
);
COMMENT ON TABLE hints IS
    'tenants that a change of a registry named; no unique key, so that nobody waits here';

-- A tenant that is noted in the ledger as wanted notifies the workers, with the commit. It never
-- fails: NOTIFY refuses a commit while its own queue is full, and PREPARE TRANSACTION always, and
-- workers look by themselves soon enough.
CREATE FUNCTION wanted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM written WHERE state = 'wanted')
       AND pg_notification_queue_usage() < 0.5
       AND current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('influxops_queue', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER influxops_queue AFTER INSERT ON {ledger}.tenants
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION wanted();
