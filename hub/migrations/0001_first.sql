-- One text for SQLite and PostgreSQL: BIGINT, TEXT, times in Unix milliseconds, JSON as TEXT, hashes in hex.
CREATE TABLE agent (
    uid TEXT PRIMARY KEY,
    member TEXT NOT NULL,
    last_seen BIGINT
);
CREATE TABLE credential (
    hash TEXT PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE REFERENCES agent (uid) ON DELETE CASCADE,
    enrolment BIGINT,
    used BIGINT NOT NULL,
    made BIGINT NOT NULL
);
CREATE TABLE enrolment (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL UNIQUE,
    uses_left BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    labels TEXT NOT NULL,
    who TEXT NOT NULL,
    made BIGINT NOT NULL
);
CREATE TABLE status (
    uid TEXT PRIMARY KEY REFERENCES agent (uid) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE effective (
    uid TEXT PRIMARY KEY REFERENCES agent (uid) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE event (
    id BIGINT PRIMARY KEY,
    uid TEXT,
    at BIGINT NOT NULL,
    name TEXT NOT NULL,
    severity TEXT NOT NULL,
    text TEXT NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX event_of_agent ON event (uid, id);
CREATE TABLE config (
    name TEXT PRIMARY KEY,
    made BIGINT NOT NULL
);
CREATE TABLE version (
    config TEXT NOT NULL REFERENCES config (name),
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    body TEXT NOT NULL,
    who TEXT NOT NULL,
    at BIGINT NOT NULL,
    note TEXT NOT NULL,
    signature TEXT,
    PRIMARY KEY (config, number)
);
CREATE INDEX version_by_hash ON version (hash);
CREATE TABLE assignment (
    position BIGINT PRIMARY KEY,
    selector TEXT NOT NULL,
    config TEXT,
    number BIGINT
);
CREATE TABLE stop (
    hash TEXT PRIMARY KEY,
    uid TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE TABLE proven (
    hash TEXT PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE TABLE command (
    id BIGINT PRIMARY KEY,
    uid TEXT NOT NULL REFERENCES agent (uid) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    who TEXT NOT NULL,
    asked BIGINT NOT NULL,
    delivered BIGINT
);
CREATE TABLE person (
    name TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL,
    made BIGINT NOT NULL
);
CREATE TABLE session (
    hash TEXT PRIMARY KEY,
    data TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE TABLE token (
    hash TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    who TEXT NOT NULL,
    made BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
);
