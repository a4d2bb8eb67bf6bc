-- A tenant is ready only where the marker of its database was seen; before this version one that
-- was found, adopted or created without waiting was ready without that. Only a marker that a run
-- has added and read back is in the history. The next full run confirms the others by the inventory
-- that it reads anyway. They stay provisioned: one that is gone then is lost.
UPDATE tenants AS t
   SET state = 'unconfirmed', confirmed = coalesce(t.confirmed, t.made, t.since),
       version = t.version + 1
 WHERE t.state = 'ready'
   AND NOT EXISTS (
       SELECT FROM history AS h
        WHERE h.namespace = t.namespace AND h.tenant = t.tenant
          AND h.target IS NOT DISTINCT FROM t.target AND h.database = t.database
          AND h.event IN ('completed', 'confirmed') AND h.ended = 'done'
          AND h.at >= coalesce(t.made, '-infinity'));
