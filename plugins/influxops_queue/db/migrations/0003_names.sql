-- The ledger calls a tenant without a target pending, and one with a target allocated.
DROP INDEX IF EXISTS {ledger}.influxops_queue_waiting;
CREATE INDEX influxops_queue_waiting ON {ledger}.tenants (namespace, state, tenant)
    WHERE state IN ('pending', 'allocated');
ALTER FUNCTION wanted() RENAME TO notify_pending;
CREATE OR REPLACE FUNCTION notify_pending() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM written WHERE state = 'pending')
       AND pg_notification_queue_usage() < 0.5
       AND current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('influxops_queue', '');
    END IF;
    RETURN NULL;
END
$$;
-- Jobs that wait take their new names with them; on a new schema there is no table of jobs yet.
DO $$
BEGIN
    IF to_regclass('procrastinate_jobs') IS NOT NULL THEN
        UPDATE procrastinate_jobs AS j
           SET task_name = names.now,
               lock = regexp_replace(j.lock, '/' || names.was || '(?=/|$)', '/' || names.now),
               queueing_lock =
                   regexp_replace(j.queueing_lock, '/' || names.was || '(?=/|$)', '/' || names.now)
          FROM (VALUES ('make', 'create_databases'), ('again', 'retry_unplaced'),
                       ('full', 'reconcile')) AS names (was, now)
         WHERE j.task_name = names.was AND j.status = 'todo';
    END IF;
END
$$;
