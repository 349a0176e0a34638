-- TimescaleDB's own jobs. The keeper refreshes and recompresses sooner, where it knows of a change; these keep a database
-- in shape whose keeper is away. Every refresh window stays inside the shortest time for which chunks are kept (30 days),
-- because refreshing over dropped chunks would erase the aggregate.

CALL add_columnstore_policy('sextant.samples', after => INTERVAL '7 days');

SELECT add_continuous_aggregate_policy('sextant.samples_5m',
    start_offset => INTERVAL '7 days', end_offset => INTERVAL '15 minutes', schedule_interval => INTERVAL '1 hour');
SELECT add_continuous_aggregate_policy('sextant.samples_1h',
    start_offset => INTERVAL '10 days', end_offset => INTERVAL '2 hours', schedule_interval => INTERVAL '4 hours');
SELECT add_continuous_aggregate_policy('sextant.samples_1d',
    start_offset => INTERVAL '20 days', end_offset => INTERVAL '2 days', schedule_interval => INTERVAL '1 day');

ALTER MATERIALIZED VIEW sextant.samples_5m SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'tenant_id, series_id', timescaledb.orderby = 'bucket');
ALTER MATERIALIZED VIEW sextant.samples_1h SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = 'tenant_id, series_id', timescaledb.orderby = 'bucket');
CALL add_columnstore_policy('sextant.samples_5m', after => INTERVAL '14 days');
CALL add_columnstore_policy('sextant.samples_1h', after => INTERVAL '30 days');
