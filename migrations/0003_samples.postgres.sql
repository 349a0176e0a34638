-- Samples on plain PostgreSQL: a partition a day (made by the settler), at most one sample per (series, ts).

CREATE TABLE sextant.samples (
    ts timestamptz NOT NULL,
    tenant_id integer NOT NULL,
    series_id integer NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);

GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.samples TO sextant_keeper;

-- What requests read: one tenant's samples, none where no tenant is set. The tenant is a subquery so that it is asked
-- once, and that the filter by it reaches the index and the compressed batches.
CREATE VIEW sextant.tenant_samples WITH (security_barrier) AS
    SELECT ts, series_id, value
    FROM sextant.samples
    WHERE tenant_id = (SELECT sextant.current_tenant());
GRANT SELECT ON sextant.tenant_samples TO sextant_reader;

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

-- Makes the partition of a day. Attaching a table, unlike creating a partition, does not lock readers out.
CREATE FUNCTION sextant.ensure_partition(midnight timestamptz) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC'
AS $$
DECLARE
    partition text := 'samples_p' || to_char(midnight, 'YYYYMMDD');
BEGIN
    IF to_regclass('sextant.' || partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE sextant.%I (LIKE sextant.samples INCLUDING INDEXES)', partition);
    EXECUTE format('ALTER TABLE sextant.samples ATTACH PARTITION sextant.%I FOR VALUES FROM (%L) TO (%L)',
        partition, midnight, midnight + INTERVAL '1 day');
END
$$;
REVOKE ALL ON FUNCTION sextant.ensure_partition FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sextant.ensure_partition TO sextant_keeper;
