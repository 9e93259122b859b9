-- A run whose process was killed: found by the lock that it no longer holds (infra/catalog/runs.py); `ended_at` is when it was found.
ALTER TABLE run DROP CONSTRAINT run_state_check;
ALTER TABLE run ADD CONSTRAINT run_state_check CHECK (state IN ('running', 'done', 'failed', 'stopped', 'lost'));
CREATE INDEX run_running ON run (id) WHERE state = 'running';
