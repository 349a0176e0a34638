-- Signal events, detection's settings, runs and anomalies, incidents, the service graph, and purges of synthetic data.

-- The rule that watches the published risks follows the tenant's detection settings.
ALTER TABLE sextant.alert_rules DROP CONSTRAINT alert_rules_origin_check;
ALTER TABLE sextant.alert_rules
    ADD CONSTRAINT alert_rules_origin_check CHECK (origin IN ('api', 'definition', 'detection'));
CREATE UNIQUE INDEX alert_rules_detection ON sextant.alert_rules (tenant_id) WHERE origin = 'detection';

CREATE TABLE sextant.signal_events (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    ts timestamptz NOT NULL,
    host text,
    service text,
    fingerprint text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'warn', 'error')),
    metric text NOT NULL,
    value double precision,
    message text,
    labels jsonb NOT NULL,
    synthetic boolean NOT NULL,
    anomaly_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- It may become part of an incident, and the correlator has not looked at it yet.
    waiting boolean NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX signal_events_newest ON sextant.signal_events (tenant_id, ts, id);
CREATE INDEX signal_events_fingerprint ON sextant.signal_events (tenant_id, fingerprint, ts, id);
CREATE INDEX signal_events_waiting ON sextant.signal_events (tenant_id, ts, id) WHERE waiting;
CREATE INDEX signal_events_oldest ON sextant.signal_events (ts);
CREATE INDEX signal_events_synthetic ON sextant.signal_events (tenant_id) WHERE synthetic;

CREATE TABLE sextant.service_dependencies (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    client text NOT NULL,
    server text NOT NULL,
    PRIMARY KEY (tenant_id, client, server),
    CHECK (client <> server)
);

-- A tenant without a row has the defaults.
CREATE TABLE sextant.detection_settings (
    tenant_id integer PRIMARY KEY REFERENCES sextant.tenants ON DELETE CASCADE,
    settings jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sextant.detection_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    due_at timestamptz NOT NULL,
    covers_from timestamptz,
    state text NOT NULL CHECK (state IN ('running', 'done', 'partial', 'failed')),
    attempts integer NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    -- The claim: whose run it is, and until when nobody else may take it over.
    token uuid NOT NULL,
    leased_until timestamptz NOT NULL,
    after_series_id integer NOT NULL DEFAULT 0,
    series bigint NOT NULL DEFAULT 0,
    points bigint NOT NULL DEFAULT 0,
    findings bigint NOT NULL DEFAULT 0,
    error text,
    UNIQUE (tenant_id, due_at)
) WITH (fillfactor = 80);
CREATE INDEX detection_runs_newest ON sextant.detection_runs (tenant_id, id);
-- One tenant never has two runs at once.
CREATE UNIQUE INDEX detection_runs_running ON sextant.detection_runs (tenant_id) WHERE state = 'running';

CREATE TABLE sextant.anomalies (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    series_id integer NOT NULL,
    detector text NOT NULL CHECK (detector IN ('variance', 'spike', 'trend', 'streaming')),
    metric text NOT NULL,
    labels jsonb NOT NULL,
    host text,
    service text,
    fingerprint text NOT NULL,
    finding jsonb NOT NULL,
    risk double precision NOT NULL,
    risk_max double precision NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    shadow boolean NOT NULL,
    synthetic boolean NOT NULL,
    verdict text CHECK (verdict IN ('true', 'false')),
    marked_by text,
    marked_at timestamptz,
    note text,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);
CREATE INDEX anomalies_newest ON sextant.anomalies (tenant_id, last_seen_at, id);
CREATE INDEX anomalies_series ON sextant.anomalies (tenant_id, series_id, detector, first_seen_at);
-- One open anomaly of a detector about a series.
CREATE UNIQUE INDEX anomalies_open ON sextant.anomalies (tenant_id, series_id, detector) WHERE ended_at IS NULL;
CREATE INDEX anomalies_ended ON sextant.anomalies (ended_at) WHERE ended_at IS NOT NULL;

-- Fingerprints whose last published risk is above 0, with the labels of their series.
CREATE TABLE sextant.published_risks (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    fingerprint text NOT NULL,
    labels jsonb NOT NULL,
    risk double precision NOT NULL,
    PRIMARY KEY (tenant_id, fingerprint)
);

CREATE TABLE sextant.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved', 'merged')),
    title text NOT NULL,
    severe boolean NOT NULL,
    started_at timestamptz NOT NULL,
    last_signal_at timestamptz NOT NULL,
    hosts text[] NOT NULL,
    services text[] NOT NULL,
    signals integer NOT NULL,
    synthetic boolean NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz,
    resolved_by text,
    merged_into bigint REFERENCES sextant.incidents,
    narrative text,
    analysis jsonb,
    -- Counts every change; the signals' changes apart, for those make the analysis stale.
    revision integer NOT NULL DEFAULT 1,
    signals_revision integer NOT NULL DEFAULT 1,
    analysed_revision integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX incidents_newest ON sextant.incidents (tenant_id, id);
CREATE INDEX incidents_active ON sextant.incidents (tenant_id, last_signal_at) WHERE state IN ('open', 'acknowledged');
CREATE INDEX incidents_unanalysed ON sextant.incidents (updated_at)
    WHERE analysed_revision < signals_revision AND state <> 'merged';
CREATE INDEX incidents_merged ON sextant.incidents (merged_into) WHERE merged_into IS NOT NULL;

-- A signal is part of one incident at most.
CREATE TABLE sextant.incident_signals (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    key text NOT NULL,
    incident_id bigint NOT NULL REFERENCES sextant.incidents ON DELETE CASCADE,
    at timestamptz NOT NULL,
    signal jsonb NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX incident_signals_incident ON sextant.incident_signals (incident_id, at);
CREATE INDEX incident_signals_at ON sextant.incident_signals (tenant_id, at);

CREATE TABLE sextant.incident_edges (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    first_key text NOT NULL,
    then_key text NOT NULL,
    score double precision NOT NULL,
    reasons text[] NOT NULL,
    PRIMARY KEY (tenant_id, first_key, then_key),
    FOREIGN KEY (tenant_id, first_key) REFERENCES sextant.incident_signals ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, then_key) REFERENCES sextant.incident_signals ON DELETE CASCADE
);
CREATE INDEX incident_edges_then ON sextant.incident_edges (tenant_id, then_key);

CREATE TABLE sextant.incident_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    incident_id bigint NOT NULL REFERENCES sextant.incidents ON DELETE CASCADE,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    summary text NOT NULL,
    detail jsonb NOT NULL,
    undone boolean NOT NULL DEFAULT false
);
CREATE INDEX incident_changes_incident ON sextant.incident_changes (incident_id, id);

CREATE TABLE sextant.learned_lags (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    first_entity text NOT NULL,
    then_entity text NOT NULL,
    lag_us bigint NOT NULL,
    spread_us bigint NOT NULL,
    incidents integer NOT NULL
);
-- Not of the entities: two names of the greatest length are more than an index row holds.
CREATE INDEX learned_lags_tenant ON sextant.learned_lags (tenant_id);

CREATE TABLE sextant.synthetic_purges (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    requested_at timestamptz NOT NULL,
    requested_by text NOT NULL,
    finished_at timestamptz,
    samples bigint,
    events bigint,
    anomalies bigint,
    incidents bigint
);
-- While one waits, that one is the answer to whoever asks for another.
CREATE UNIQUE INDEX synthetic_purges_waiting ON sextant.synthetic_purges (tenant_id) WHERE finished_at IS NULL;

-- Alerts are signals too: those that fired and that the correlator has not looked at. What fired before is history.
ALTER TABLE sextant.alerts ADD COLUMN correlated boolean NOT NULL DEFAULT false;
ALTER TABLE sextant.alerts NO FORCE ROW LEVEL SECURITY;
UPDATE sextant.alerts SET correlated = true WHERE fired_at IS NOT NULL;
ALTER TABLE sextant.alerts FORCE ROW LEVEL SECURITY;
CREATE INDEX alerts_uncorrelated ON sextant.alerts (tenant_id, fired_at)
    WHERE fired_at IS NOT NULL AND NOT correlated AND NOT shadow;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['signal_events', 'service_dependencies', 'detection_settings', 'detection_runs',
        'anomalies', 'published_risks', 'incidents', 'incident_signals', 'incident_edges', 'incident_changes',
        'learned_lags', 'synthetic_purges'] LOOP
        EXECUTE format('ALTER TABLE sextant.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY own ON sextant.%I USING (tenant_id = (SELECT sextant.current_tenant()))', owned);
        EXECUTE format('CREATE POLICY keeper ON sextant.%I TO sextant_keeper USING (true)', owned);
    END LOOP;
END
$$;

GRANT SELECT ON sextant.signal_events, sextant.service_dependencies, sextant.detection_settings,
    sextant.detection_runs, sextant.anomalies, sextant.incidents, sextant.incident_signals, sextant.incident_edges,
    sextant.incident_changes, sextant.synthetic_purges TO sextant_reader, sextant_writer;
GRANT INSERT ON sextant.signal_events, sextant.detection_runs, sextant.synthetic_purges TO sextant_writer;
GRANT INSERT, DELETE ON sextant.service_dependencies TO sextant_writer;
GRANT INSERT, UPDATE ON sextant.detection_settings, sextant.incidents, sextant.incident_changes TO sextant_writer;
GRANT UPDATE ON sextant.incident_signals TO sextant_writer;
GRANT UPDATE (verdict, marked_by, marked_at, note) ON sextant.anomalies TO sextant_writer;

GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.signal_events, sextant.detection_runs, sextant.anomalies,
    sextant.published_risks, sextant.incidents, sextant.incident_signals, sextant.incident_edges,
    sextant.incident_changes, sextant.learned_lags TO sextant_keeper;
GRANT SELECT ON sextant.service_dependencies, sextant.detection_settings TO sextant_keeper;
GRANT SELECT, UPDATE, DELETE ON sextant.synthetic_purges TO sextant_keeper;
GRANT INSERT, UPDATE ON sextant.alert_rules TO sextant_keeper;
GRANT UPDATE ON sextant.alert_revision TO sextant_keeper;
GRANT UPDATE (close_requested_by) ON sextant.alert_states TO sextant_keeper;
