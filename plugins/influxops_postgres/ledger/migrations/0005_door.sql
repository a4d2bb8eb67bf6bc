-- The door that a run came through; empty for what was written before.
ALTER TABLE history ADD COLUMN door text NOT NULL DEFAULT '';
COMMENT ON COLUMN history.door IS 'cli, ansible, library, worker, api or console';
