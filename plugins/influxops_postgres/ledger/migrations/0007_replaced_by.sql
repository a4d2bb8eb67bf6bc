-- Another server that answers at a target, until somebody decides what that means: the tenants that
-- are recorded there have no route meanwhile.
ALTER TABLE servers ADD COLUMN IF NOT EXISTS replaced_by text;
