-- What logical replication needs, beside wal_level = logical. The reader makes the slot.
CREATE PUBLICATION nearbus FOR TABLE users;
