-- Roles with no more rights than they need
--
-- psql -v ON_ERROR_STOP=1 -f roles.sql iotcloud
--
-- As a superuser, after `ledger install`, `queue install` and `db upgrade`, and again after each
-- upgrade. Who ran those owns the tables, and creates tokens and prunes the history. Leave out what
-- you do not use. The roles have no passwords: ALTER ROLE influxops_worker PASSWORD '…'.

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['influxops_reader', 'influxops_worker', 'influxops_service'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
    END LOOP;
END $$;

-- The registry, for runs and workers: `dsn` of [sources.registry] and [sources.tenants].
GRANT USAGE ON SCHEMA public TO influxops_reader;
GRANT SELECT (tenant_id) ON device_registry, tenants TO influxops_reader;

-- The ledger and the queue, for runs and workers: `dsn` of [ledger].
GRANT USAGE ON SCHEMA influxops TO influxops_worker, influxops_service;
GRANT SELECT ON influxops.migrations, influxops.routes TO influxops_worker, influxops_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON influxops.tenants TO influxops_worker, influxops_service;
GRANT SELECT, INSERT, DELETE ON influxops.servers TO influxops_worker, influxops_service;
GRANT SELECT, INSERT ON influxops.sources, influxops.history TO influxops_worker, influxops_service;
GRANT USAGE ON SCHEMA influxops_queue TO influxops_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA influxops_queue TO influxops_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA influxops_queue TO influxops_worker;

-- The service, all of whose sections are in one database, by one role.
GRANT USAGE ON SCHEMA public TO influxops_service;
GRANT SELECT ON influxops_web_migrations, operator_keys TO influxops_service;
GRANT SELECT, INSERT, UPDATE (name, status) ON tenants TO influxops_service;
GRANT SELECT, INSERT ON device_registry, operator_audit_log TO influxops_service;
GRANT SELECT (expires_at), INSERT ON device_activation TO influxops_service;
GRANT SELECT, UPDATE (revoked_at) ON operator_tokens TO influxops_service;
