-- The field's words for states and columns. Names of columns alone change nothing that is stored;
-- a state is written again, as a change of its own version.
ALTER TABLE tenants DROP CONSTRAINT state_is_known, DROP CONSTRAINT place_is_whole;
ALTER TABLE tenants RENAME COLUMN other TO secondary_target;
ALTER TABLE tenants RENAME COLUMN other_identity TO secondary_identity;
ALTER TABLE tenants RENAME COLUMN due TO drop_after;
ALTER TABLE tenants RENAME COLUMN since TO state_since;
ALTER TABLE tenants RENAME COLUMN made TO created_at;
ALTER TABLE tenants RENAME COLUMN made_by TO created_by;
ALTER TABLE tenants RENAME COLUMN confirmed TO last_seen_at;
ALTER TABLE tenants RENAME COLUMN tries TO attempts;
ALTER TABLE tenants RENAME COLUMN holder TO claimed_by;
ALTER TABLE tenants RENAME COLUMN holder_key TO claim_key;
ALTER TABLE tenants RENAME CONSTRAINT holder_has_key TO claim_has_key;
ALTER TABLE history RENAME COLUMN ended TO outcome;
UPDATE tenants
   SET state = CASE state WHEN 'wanted' THEN 'pending' ELSE 'allocated' END, version = version + 1
 WHERE state IN ('wanted', 'reserved');
ALTER TABLE tenants
    ADD CONSTRAINT state_is_known CHECK (state IN (
        'pending', 'allocated', 'unconfirmed', 'ready', 'moving', 'retiring', 'retired', 'lost')),
    ADD CONSTRAINT target_is_set CHECK (state IN ('pending', 'retired') OR (
        database <> '' AND target IS NOT NULL AND target <> ''));
COMMENT ON COLUMN tenants.claimed_by IS 'the run that has claimed it';
