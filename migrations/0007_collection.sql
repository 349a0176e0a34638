-- Metric sources, their runs and checkpoints, instances; capacity, configuration, drift and recommendations.

CREATE TABLE sextant.metric_sources (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    spec jsonb NOT NULL,
    credential_names text[] NOT NULL,
    -- Encrypted by the server's own key, which is not in the database.
    credentials bytea,
    revision integer NOT NULL DEFAULT 1,
    next_run_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (tenant_id, name)
);
CREATE INDEX metric_sources_due ON sextant.metric_sources (next_run_at) WHERE next_run_at IS NOT NULL;

CREATE TABLE sextant.collection_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    source text NOT NULL,
    kind text NOT NULL,
    -- A stored source, whose latest configuration is used; NULL for a run with one of its own.
    source_id integer REFERENCES sextant.metric_sources ON DELETE SET NULL,
    scope text NOT NULL,
    spec jsonb NOT NULL,
    credentials bytea,
    request jsonb NOT NULL,
    requested_by text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'partial', 'failed')),
    problem jsonb,
    progress jsonb NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    -- The claim: whose run it is, and until when nobody else may take it over.
    token uuid,
    leased_until timestamptz
) WITH (fillfactor = 70);
CREATE INDEX collection_runs_newest ON sextant.collection_runs (tenant_id, id);
CREATE INDEX collection_runs_waiting ON sextant.collection_runs (id) WHERE state = 'waiting';
CREATE INDEX collection_runs_ended ON sextant.collection_runs (finished_at) WHERE finished_at IS NOT NULL;
-- What shares checkpoints never has two runs at once.
CREATE UNIQUE INDEX collection_runs_running ON sextant.collection_runs (tenant_id, scope) WHERE state = 'running';

-- What came of each item of a run; while the run lasts also which items an earlier attempt finished.
CREATE TABLE sextant.collection_items (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    run_id bigint NOT NULL REFERENCES sextant.collection_runs ON DELETE CASCADE,
    -- SHA-256 of the item's key: keys are queries, longer than an index row holds.
    digest bytea NOT NULL,
    key text NOT NULL,
    finished boolean NOT NULL,
    failed boolean NOT NULL,
    result jsonb NOT NULL,
    PRIMARY KEY (run_id, digest)
);

CREATE TABLE sextant.collection_checkpoints (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    scope text NOT NULL,
    -- SHA-256 of item and series, likewise.
    digest bytea NOT NULL,
    item text NOT NULL,
    series text NOT NULL,
    through timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, scope, digest)
);

CREATE TABLE sextant.instances (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    provider text NOT NULL,
    external_id text NOT NULL,
    kind text NOT NULL,
    region text,
    name text,
    tags jsonb NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    synthetic boolean NOT NULL,
    UNIQUE (tenant_id, provider, external_id)
) WITH (fillfactor = 80);
CREATE INDEX instances_listed ON sextant.instances (tenant_id, id);

CREATE TABLE sextant.drift_cluster_capacity_snapshots (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    cluster_id text NOT NULL,
    ts timestamptz NOT NULL,
    node_count integer NOT NULL,
    nodes jsonb NOT NULL,
    allocatable_cpu_cores double precision NOT NULL,
    allocatable_memory_bytes double precision NOT NULL,
    allocatable_pods double precision NOT NULL,
    used_cpu_cores double precision NOT NULL,
    used_memory_bytes double precision NOT NULL,
    used_pods double precision NOT NULL,
    requested_cpu_cores double precision,
    requested_memory_bytes double precision,
    requested_pods double precision,
    cpu_utilisation double precision,
    memory_utilisation double precision,
    pods_utilisation double precision,
    cost_usd_per_hour double precision,
    source text NOT NULL,
    synthetic boolean NOT NULL,
    PRIMARY KEY (tenant_id, cluster_id, ts)
);
CREATE INDEX drift_cluster_capacity_snapshots_ts ON sextant.drift_cluster_capacity_snapshots (ts);

CREATE TABLE sextant.capacity_plans (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    cluster_id text NOT NULL,
    plan jsonb NOT NULL,
    PRIMARY KEY (tenant_id, cluster_id)
);

CREATE TABLE sextant.config_changes (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    ts timestamptz NOT NULL,
    cluster_id text NOT NULL,
    namespace text NOT NULL,
    workload text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('runtime', 'policy', 'image', 'resource')),
    before jsonb,
    after jsonb,
    diff jsonb NOT NULL,
    actor text,
    source text NOT NULL,
    synthetic boolean NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX config_changes_newest ON sextant.config_changes (tenant_id, ts, id);
CREATE INDEX config_changes_ts ON sextant.config_changes (ts);
CREATE INDEX config_changes_workload ON sextant.config_changes (tenant_id, cluster_id, workload, namespace, kind, ts, id);

CREATE TABLE sextant.config_baselines (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    cluster_id text NOT NULL,
    namespace text NOT NULL,
    workload text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('runtime', 'policy', 'image', 'resource')),
    document jsonb NOT NULL,
    declared_by text NOT NULL,
    declared_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, cluster_id, namespace, workload, kind)
);

CREATE TABLE sextant.drift_events (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    drift_id text COLLATE "C" NOT NULL,
    cluster_id text NOT NULL,
    env text NOT NULL,
    drift_date date NOT NULL,
    drift_category text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('minor', 'major', 'critical')),
    workload_name text,
    namespace text,
    start_ts timestamptz NOT NULL,
    end_ts timestamptz,
    last_seen_at timestamptz NOT NULL,
    detection_method text NOT NULL CHECK (detection_method IN ('anomaly', 'threshold', 'config_diff', 'manual')),
    confidence_score double precision NOT NULL CHECK (confidence_score BETWEEN 0 AND 1),
    status text NOT NULL CHECK (status IN ('open', 'acknowledged', 'resolved', 'ignored')),
    message text,
    evidence jsonb NOT NULL,
    automatic boolean NOT NULL,
    synthetic boolean NOT NULL,
    status_by text,
    status_note text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, drift_id)
) WITH (fillfactor = 80);
CREATE INDEX drift_events_newest ON sextant.drift_events (tenant_id, start_ts, drift_id);
CREATE INDEX drift_events_created ON sextant.drift_events (created_at) WHERE status IN ('resolved', 'ignored');
CREATE INDEX drift_events_open ON sextant.drift_events (tenant_id, cluster_id)
    WHERE automatic AND status IN ('open', 'acknowledged');

CREATE TABLE sextant.drift_recommendations (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    rec_id text COLLATE "C" NOT NULL,
    drift_id text COLLATE "C" NOT NULL,
    cluster_id text NOT NULL,
    env text NOT NULL,
    drift_date date NOT NULL,
    recommendation_type text NOT NULL,
    recommendation_json jsonb NOT NULL,
    estimated_savings_usd double precision,
    auto_approved boolean NOT NULL,
    decision text CHECK (decision IN ('approved', 'rejected')),
    decided_at timestamptz,
    decided_by text,
    reason text,
    -- The remediation that last applied it, or tried to, and the last of them that was no dry run.
    remediation_id bigint,
    applying_id bigint,
    automatic boolean NOT NULL,
    synthetic boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, rec_id),
    FOREIGN KEY (tenant_id, drift_id) REFERENCES sextant.drift_events ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX drift_recommendations_newest ON sextant.drift_recommendations (tenant_id, created_at, rec_id);
CREATE INDEX drift_recommendations_drift ON sextant.drift_recommendations (tenant_id, drift_id);

-- When a tenant's clusters were last looked at.
CREATE TABLE sextant.drift_looks (
    tenant_id integer PRIMARY KEY REFERENCES sextant.tenants ON DELETE CASCADE,
    looked_at timestamptz NOT NULL
);

-- A remediation is of an alert, or of a recommendation that somebody applies.
ALTER TABLE sextant.remediations ALTER COLUMN alert_id DROP NOT NULL;
ALTER TABLE sextant.remediations ADD COLUMN recommendation text;
ALTER TABLE sextant.remediations ADD CONSTRAINT remediations_cause
    CHECK ((alert_id IS NULL) <> (recommendation IS NULL));

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['metric_sources', 'collection_runs', 'collection_items', 'collection_checkpoints',
        'instances', 'drift_cluster_capacity_snapshots', 'capacity_plans', 'config_changes', 'config_baselines',
        'drift_events', 'drift_recommendations', 'drift_looks'] LOOP
        EXECUTE format('ALTER TABLE sextant.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY own ON sextant.%I USING (tenant_id = (SELECT sextant.current_tenant()))', owned);
        EXECUTE format('CREATE POLICY keeper ON sextant.%I TO sextant_keeper USING (true)', owned);
    END LOOP;
END
$$;

-- Nobody who answers requests can read credentials.
GRANT SELECT (id, tenant_id, name, spec, credential_names, revision, next_run_at, created_at, updated_at)
    ON sextant.metric_sources TO sextant_reader, sextant_writer;
GRANT SELECT (id, tenant_id, source, kind, source_id, scope, spec, request, requested_by, state, problem,
    progress, attempts, requested_at, started_at, finished_at) ON sextant.collection_runs
    TO sextant_reader, sextant_writer;
GRANT SELECT ON sextant.collection_items, sextant.instances, sextant.drift_cluster_capacity_snapshots,
    sextant.capacity_plans, sextant.config_changes, sextant.config_baselines, sextant.drift_events,
    sextant.drift_recommendations TO sextant_reader, sextant_writer;
GRANT INSERT, UPDATE, DELETE ON sextant.metric_sources, sextant.capacity_plans, sextant.config_baselines
    TO sextant_writer;
GRANT SELECT, DELETE ON sextant.collection_checkpoints TO sextant_writer;
GRANT INSERT ON sextant.collection_runs, sextant.config_changes TO sextant_writer;
GRANT INSERT, UPDATE ON sextant.drift_cluster_capacity_snapshots, sextant.drift_events, sextant.drift_recommendations
    TO sextant_writer;
GRANT INSERT ON sextant.remediations TO sextant_writer;

GRANT SELECT, UPDATE ON sextant.metric_sources TO sextant_keeper;
GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.collection_runs, sextant.collection_items,
    sextant.collection_checkpoints, sextant.instances TO sextant_keeper;
GRANT SELECT, INSERT, UPDATE ON sextant.drift_looks TO sextant_keeper;
GRANT SELECT, DELETE ON sextant.drift_cluster_capacity_snapshots, sextant.config_changes, sextant.drift_events,
    sextant.drift_recommendations TO sextant_keeper;
GRANT SELECT ON sextant.capacity_plans, sextant.config_baselines TO sextant_keeper;
