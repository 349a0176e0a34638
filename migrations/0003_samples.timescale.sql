-- Samples on TimescaleDB: a hypertable with one chunk a day, columnstore by series, and stacked continuous aggregates.
-- The settler keeps at most one sample per (series, ts); a unique index would cost two thirds of COPY's time and
-- switch direct-to-columnstore COPY off.

CREATE TABLE sextant.samples (
    ts timestamptz NOT NULL,
    tenant_id integer NOT NULL,
    series_id integer NOT NULL,
    value double precision NOT NULL
);
SELECT create_hypertable('sextant.samples', by_range('ts', INTERVAL '1 day'), create_default_indexes => false);
ALTER TABLE sextant.samples SET (
    timescaledb.enable_columnstore,
    timescaledb.segmentby = 'tenant_id, series_id',
    timescaledb.orderby = 'ts'
);
CREATE INDEX samples_series ON sextant.samples (series_id, ts);

GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.samples TO sextant_keeper;

CREATE MATERIALIZED VIEW sextant.samples_5m
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS
SELECT
    tenant_id,
    series_id,
    time_bucket(INTERVAL '5 minutes', ts) AS bucket,
    count(*) AS count,
    sum(value) AS sum,
    min(value) AS min,
    max(value) AS max,
    min(ts) AS first_ts,
    first(value, ts) AS first,
    max(ts) AS last_ts,
    last(value, ts) AS last
FROM sextant.samples
GROUP BY tenant_id, series_id, time_bucket(INTERVAL '5 minutes', ts)
WITH NO DATA;

CREATE MATERIALIZED VIEW sextant.samples_1h
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS
SELECT
    tenant_id,
    series_id,
    time_bucket(INTERVAL '1 hour', bucket) AS bucket,
    sum(count)::bigint AS count,
    sum(sum) AS sum,
    min(min) AS min,
    max(max) AS max,
    min(first_ts) AS first_ts,
    first(first, first_ts) AS first,
    max(last_ts) AS last_ts,
    last(last, last_ts) AS last
FROM sextant.samples_5m
GROUP BY tenant_id, series_id, time_bucket(INTERVAL '1 hour', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW sextant.samples_1d
WITH (timescaledb.continuous, timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS
SELECT
    tenant_id,
    series_id,
    time_bucket(INTERVAL '1 day', bucket) AS bucket,
    sum(count)::bigint AS count,
    sum(sum) AS sum,
    min(min) AS min,
    max(max) AS max,
    min(first_ts) AS first_ts,
    first(first, first_ts) AS first,
    max(last_ts) AS last_ts,
    last(last, last_ts) AS last
FROM sextant.samples_1h
GROUP BY tenant_id, series_id, time_bucket(INTERVAL '1 day', bucket)
WITH NO DATA;

CREATE INDEX samples_5m_series ON sextant.samples_5m (series_id, bucket);
CREATE INDEX samples_1h_series ON sextant.samples_1h (series_id, bucket);
CREATE INDEX samples_1d_series ON sextant.samples_1d (series_id, bucket);

-- What requests read: one tenant's rows, none where no tenant is set. The tenant is a subquery so that it is asked
-- once, and that the filter by it reaches the index and the compressed batches.
CREATE VIEW sextant.tenant_samples WITH (security_barrier) AS
    SELECT ts, series_id, value
    FROM sextant.samples
    WHERE tenant_id = (SELECT sextant.current_tenant());
CREATE VIEW sextant.tenant_samples_5m WITH (security_barrier) AS
    SELECT series_id, bucket, count, sum, min, max, first_ts, first, last_ts, last
    FROM sextant.samples_5m
    WHERE tenant_id = (SELECT sextant.current_tenant());
CREATE VIEW sextant.tenant_samples_1h WITH (security_barrier) AS
    SELECT series_id, bucket, count, sum, min, max, first_ts, first, last_ts, last
    FROM sextant.samples_1h
    WHERE tenant_id = (SELECT sextant.current_tenant());
CREATE VIEW sextant.tenant_samples_1d WITH (security_barrier) AS
    SELECT series_id, bucket, count, sum, min, max, first_ts, first, last_ts, last
    FROM sextant.samples_1d
    WHERE tenant_id = (SELECT sextant.current_tenant());
GRANT SELECT ON sextant.tenant_samples, sextant.tenant_samples_5m, sextant.tenant_samples_1h, sextant.tenant_samples_1d
    TO sextant_reader;

-- The last sample of each of these series in a range, for the current tenant. The view is a barrier that ORDER BY and
-- LIMIT do not pass, so this looks for each series' newest row itself, in the index, one row each.
CREATE FUNCTION sextant.last_samples(wanted integer[], since timestamptz, before timestamptz)
    RETURNS TABLE (series_id integer, ts timestamptz, value double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    RETURN QUERY EXECUTE
        'SELECT w.id, newest.ts, newest.value
         FROM unnest($1) AS w (id)
         CROSS JOIN LATERAL (
             SELECT s.ts, s.value FROM sextant.samples s
             WHERE s.tenant_id = $4 AND s.series_id = w.id AND s.ts >= $2 AND s.ts < $3
             ORDER BY s.ts DESC LIMIT 1
         ) newest'
    USING wanted, since, before, sextant.current_tenant();
END
$$;
REVOKE ALL ON FUNCTION sextant.last_samples FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sextant.last_samples TO sextant_reader;
