-- The journal, its consumers' cursors, idempotency keys, and what the settler records for readers.

CREATE TABLE sextant.journal_streams (
    writer integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT now(),
    opened_by text NOT NULL
);

CREATE TABLE sextant.journal (
    writer integer NOT NULL REFERENCES sextant.journal_streams,
    sequence bigint NOT NULL,
    -- Transactions that did not overlap have ascending ids, which orders blocks across streams.
    commit_order xid8 NOT NULL DEFAULT pg_current_xact_id(),
    appended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    points integer NOT NULL,
    ts_min timestamptz NOT NULL,
    ts_max timestamptz NOT NULL,
    block bytea NOT NULL,
    PRIMARY KEY (writer, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 1000,
        toast.autovacuum_vacuum_scale_factor = 0.0, toast.autovacuum_vacuum_threshold = 10000);
ALTER TABLE sextant.journal ALTER COLUMN block SET STORAGE EXTERNAL;  -- the block is compressed already

CREATE TABLE sextant.journal_consumers (
    consumer text PRIMARY KEY
);
INSERT INTO sextant.journal_consumers (consumer) VALUES ('settler');

CREATE TABLE sextant.journal_cursors (
    consumer text NOT NULL REFERENCES sextant.journal_consumers ON DELETE CASCADE,
    writer integer NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (consumer, writer)
) WITH (fillfactor = 50);

CREATE TABLE sextant.idempotency_keys (
    tenant_id integer NOT NULL,
    key text NOT NULL,
    body_sha256 bytea NOT NULL,
    accepted integer NOT NULL,
    rejected integer NOT NULL,
    errors bytea NOT NULL,
    writer integer NOT NULL,
    sequence bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON sextant.idempotency_keys (created_at);

-- Counts what changes the meaning of settled samples: every settle, refresh and expiry. Readers keep what they know by it.
CREATE TABLE sextant.settle_epoch (
    epoch bigint NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
) WITH (fillfactor = 10);
INSERT INTO sextant.settle_epoch (epoch) VALUES (1);

-- The newest settled timestamp of each tenant: unsettled points after it cannot override anything.
CREATE TABLE sextant.settled_until (
    tenant_id integer PRIMARY KEY,
    ts timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Ranges in which a stored aggregate of the given bucket width does not yet equal the settled samples.
CREATE TABLE sextant.stale_aggregates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    width interval NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL
);

ALTER TABLE sextant.settled_until ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON sextant.settled_until USING (tenant_id = (SELECT sextant.current_tenant()));
CREATE POLICY keeper ON sextant.settled_until TO sextant_keeper USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.journal_streams, sextant.journal, sextant.journal_consumers,
    sextant.journal_cursors, sextant.idempotency_keys, sextant.settled_until, sextant.stale_aggregates TO sextant_keeper;
GRANT SELECT, UPDATE ON sextant.settle_epoch TO sextant_keeper;
-- Readers may know which blocks there are, never what is in them.
GRANT SELECT (writer, sequence, commit_order, points) ON sextant.journal TO sextant_reader;
GRANT SELECT (writer) ON sextant.journal_streams TO sextant_reader;
GRANT SELECT ON sextant.journal_cursors, sextant.settle_epoch, sextant.settled_until, sextant.stale_aggregates
    TO sextant_reader;
