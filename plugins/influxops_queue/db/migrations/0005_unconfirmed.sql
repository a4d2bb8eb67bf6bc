-- Workers look every few seconds for what was created and not confirmed: not through all tenants.
CREATE INDEX IF NOT EXISTS influxops_queue_unconfirmed ON {ledger}.tenants (namespace, state_since)
    WHERE state = 'unconfirmed';
