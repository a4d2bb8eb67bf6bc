-- Workers look every few seconds for who waits: not through all tenants.
CREATE INDEX IF NOT EXISTS influxops_queue_waiting ON {ledger}.tenants (namespace, state, tenant)
    WHERE state IN ('wanted', 'reserved');
