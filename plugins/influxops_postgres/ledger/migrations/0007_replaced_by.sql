-- Another server that answers at a target, until that is allowed or the recorded one is back: the
-- tenants that are recorded there have no route.
ALTER TABLE servers ADD COLUMN IF NOT EXISTS replaced_by text;
