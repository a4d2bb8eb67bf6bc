-- The version of a namespace's routes: where the clients of each database are led. It grows in the
-- transaction that changes one, by any program, and its commit notifies those that listen.
CREATE TABLE routes (
    namespace text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);

-- What runs with its owner's rights finds no temporary table of its caller's first.
SELECT set_config('search_path', current_setting('search_path') || ', pg_temp', true);

-- The row stays locked until the commit, so that a greater version always has all that a smaller
-- one had. A user that may write tenants need not have the right to write this table.
CREATE FUNCTION grow_routes(changed text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    INSERT INTO routes AS r (namespace, version) VALUES (changed, 1)
        ON CONFLICT (namespace) DO UPDATE SET version = r.version + 1;
    SELECT pg_notify('influxops_routes', changed);
$$;

-- What a record's state says of its route; empty where that is nothing yet.
CREATE FUNCTION route_kind(state text, claimed_by text, attempts integer, error text) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN state IN ('ready', 'moving') OR (state = 'retiring' AND claimed_by = '') THEN 'routed'
        WHEN state = 'pending' AND attempts = 0 AND error = '' THEN ''
        ELSE state END
$$;

-- An application that notes a tenant in a transaction of its own, which may last, keeps nobody
-- waiting: a tenant that no run has looked at yet changes no route.
CREATE FUNCTION routes_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM grow_routes(namespace) FROM (
            SELECT DISTINCT namespace FROM after
             WHERE route_kind(state, claimed_by, attempts, error) <> ''
             ORDER BY 1) AS c;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM grow_routes(namespace) FROM (
            SELECT DISTINCT namespace FROM before ORDER BY 1) AS c;
    ELSE
        PERFORM grow_routes(namespace) FROM (
            SELECT DISTINCT namespace FROM before FULL JOIN after USING (namespace, tenant)
             WHERE (route_kind(before.state, before.claimed_by, before.attempts, before.error),
                    before.database, before.target, before.identity) IS DISTINCT FROM
                   (route_kind(after.state, after.claimed_by, after.attempts, after.error),
                    after.database, after.target, after.identity)
             ORDER BY 1) AS c;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER routes_inserted AFTER INSERT ON tenants REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION routes_change();
CREATE TRIGGER routes_deleted AFTER DELETE ON tenants REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION routes_change();
CREATE TRIGGER routes_updated AFTER UPDATE ON tenants
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION routes_change();
