-- The table of the service. Nothing in it is for a cache, but for the time of a change, by
-- which the poller finds changes.
CREATE TABLE users (
    id      BIGINT PRIMARY KEY,
    name    TEXT NOT NULL,
    version BIGINT NOT NULL DEFAULT 0,
    changed TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.changed := clock_timestamp(); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO users SELECT id, 'User ' || id FROM generate_series(1, 1000) id;
