-- Rings for relays that listen. A row of the outbox tells what changed, and a notification only
-- that there is one: a notification is lost if nobody listens at that moment.
CREATE FUNCTION ring_nearbus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('nearbus_outbox', ''); RETURN NULL; END $$;
CREATE TRIGGER ring_nearbus AFTER INSERT ON nearbus_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION ring_nearbus();
