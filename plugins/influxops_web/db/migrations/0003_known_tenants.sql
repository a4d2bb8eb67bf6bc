-- The tenants that devices have already, as far as the service can have tenants of such ids.

INSERT INTO {tenants} (tenant_id, name)
SELECT DISTINCT {tenant_id}::text, '' FROM {devices}
 WHERE {tenant_id}::text ~ '^[A-Za-z0-9_-]{{1,128}}$'
    ON CONFLICT DO NOTHING;
