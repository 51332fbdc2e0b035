-- Beside the tables of nearsql.Schema: triggers that tell the outbox of every change.
CREATE FUNCTION tell_users() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'clear', '');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'key', OLD.id);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
        INSERT INTO nearbus_outbox (cache, op, name) VALUES ('users', 'key', NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_users AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION tell_users();
CREATE TRIGGER tell_users_all AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION tell_users();
