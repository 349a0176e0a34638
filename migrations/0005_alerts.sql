-- Alert rules, evaluation's state, episodes, notifications, remediation and the audit trail.
-- Secrets stand in columns that requests' roles may write and not read.

CREATE TABLE sextant.alert_rules (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('api', 'definition')),
    rule jsonb NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

-- Counts what evaluation must look at again: changes of rules, requests to close an episode.
CREATE TABLE sextant.alert_revision (
    revision bigint NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
) WITH (fillfactor = 10);
INSERT INTO sextant.alert_revision (revision) VALUES (1);

-- Counts terms of leadership: who evaluates under an older number has lost it without noticing.
CREATE TABLE sextant.alert_leader (
    generation bigint NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
) WITH (fillfactor = 10);
INSERT INTO sextant.alert_leader (generation) VALUES (0);

CREATE TABLE sextant.alert_states (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    rule_id integer NOT NULL,
    target_key text NOT NULL,
    state jsonb NOT NULL,
    labels jsonb NOT NULL,
    subject bytea NOT NULL,
    announced boolean NOT NULL,
    close_requested_by text,
    PRIMARY KEY (tenant_id, rule_id, target_key)
) WITH (fillfactor = 70);

-- One row per episode.
CREATE TABLE sextant.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    rule_id integer NOT NULL,
    target_key text NOT NULL,
    episode integer NOT NULL,
    rule_name text NOT NULL,
    metric text NOT NULL,
    labels jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    severity text CHECK (severity IN ('warning', 'critical')),
    value double precision,
    threshold jsonb,
    started_at timestamptz NOT NULL,
    fired_at timestamptz,
    resolved_at timestamptz,
    resolution text CHECK (resolution IN ('recovered', 'rule_changed', 'closed')),
    no_data boolean NOT NULL,
    shadow boolean NOT NULL,
    announced boolean NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    annotations jsonb NOT NULL,
    runbook_url text,
    -- Names of channels; null: the tenant's default ones.
    channels text[],
    UNIQUE (tenant_id, rule_id, target_key, episode)
) WITH (fillfactor = 80);
CREATE INDEX alerts_newest ON sextant.alerts (tenant_id, id);
CREATE INDEX alerts_active ON sextant.alerts (tenant_id, state, id) WHERE state <> 'resolved';

CREATE TABLE sextant.silences (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    matchers text[] NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (starts_at <= ends_at)
);
CREATE INDEX silences_tenant ON sextant.silences (tenant_id, ends_at);

CREATE TABLE sextant.inhibitions (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    spec jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE sextant.channels (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    type text NOT NULL,
    config jsonb NOT NULL,
    secrets text[] NOT NULL,
    secrets_set integer NOT NULL GENERATED ALWAYS AS (cardinality(secrets)) STORED,
    enabled boolean NOT NULL,
    disabled_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

-- The outbox: what somebody may have to be told.
CREATE TABLE sextant.notification_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    alert_id bigint NOT NULL REFERENCES sextant.alerts ON DELETE CASCADE,
    event text NOT NULL,
    channels text[],
    text text,
    link text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Kept for later, by a silence or an inhibition: when to decide again.
    look_again_at timestamptz NOT NULL DEFAULT 'epoch',
    decided_at timestamptz,
    suppressed text
);
CREATE INDEX notification_events_undecided ON sextant.notification_events (created_at, id) WHERE decided_at IS NULL;
CREATE INDEX notification_events_alert ON sextant.notification_events (alert_id);

-- Messages, until and after they are delivered.
CREATE TABLE sextant.notifications (
    id uuid PRIMARY KEY,
    -- The order in which they were made, which is the order in which an alert's are sent.
    sequence bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    channel_id integer NOT NULL REFERENCES sextant.channels ON DELETE CASCADE,
    event text NOT NULL,
    rule_name text NOT NULL,
    alert_ids bigint[] NOT NULL,
    message jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    delivered_at timestamptz,
    last_error text
) WITH (fillfactor = 80);
CREATE INDEX notifications_newest ON sextant.notifications (tenant_id, created_at, id);
CREATE INDEX notifications_alerts ON sextant.notifications USING gin (alert_ids);
CREATE INDEX notifications_waiting ON sextant.notifications (channel_id, sequence) WHERE state = 'waiting';
CREATE INDEX notifications_channel ON sextant.notifications (channel_id);

CREATE TABLE sextant.remediation_policies (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    policy jsonb NOT NULL,
    secrets jsonb NOT NULL,
    secret_names text[] NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

-- One row per remediation; waiting ones are the outbox of workflows to start.
CREATE TABLE sextant.remediations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    alert_id bigint NOT NULL UNIQUE REFERENCES sextant.alerts ON DELETE CASCADE,
    rule_name text NOT NULL,
    policy_id integer NOT NULL,
    policy_name text NOT NULL,
    workflow_id text NOT NULL UNIQUE,
    state text NOT NULL DEFAULT 'waiting',
    dry_run boolean NOT NULL,
    detail text,
    -- The alert, the rule and the policy as they were when it fired.
    alert jsonb NOT NULL,
    rule jsonb NOT NULL,
    policy jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error text
) WITH (fillfactor = 80);
CREATE INDEX remediations_waiting ON sextant.remediations (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX remediations_newest ON sextant.remediations (tenant_id, id);

-- Alerts as they are shown, each with the remediation that it caused; row-level security is that of who asks.
CREATE VIEW sextant.shown_alerts WITH (security_invoker = true) AS
SELECT a.id, a.tenant_id, a.rule_id, a.target_key, a.episode, a.rule_name, a.metric, a.labels, a.state, a.severity,
    a.value, a.threshold, a.started_at, a.fired_at, a.resolved_at, a.resolution, a.no_data, a.shadow, a.announced,
    a.acknowledged_at, a.acknowledged_by, a.annotations, a.runbook_url, a.channels, r.id AS remediation_id
FROM sextant.alerts a LEFT JOIN sextant.remediations r ON r.alert_id = a.id;

-- What actions were granted, to count them by the hour.
CREATE TABLE sextant.remediation_actions (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    key text NOT NULL,
    remediation_id bigint NOT NULL,
    policy_name text NOT NULL,
    target text NOT NULL,
    rollback boolean NOT NULL,
    reserved_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX remediation_actions_recent ON sextant.remediation_actions (tenant_id, reserved_at);

-- Tenant 0 stands for the whole server.
CREATE TABLE sextant.kill_switches (
    tenant_id integer PRIMARY KEY,
    engaged boolean NOT NULL,
    changed_by text NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Keys that the server made for itself, such as the one that signs links.
CREATE TABLE sextant.server_secrets (
    name text PRIMARY KEY,
    secret bytea NOT NULL
);

CREATE TABLE sextant.audit_entries (
    tenant_id integer NOT NULL,
    sequence bigint NOT NULL,
    key text NOT NULL,
    at timestamptz NOT NULL,
    -- JSON, byte for byte what the hash covers.
    record bytea NOT NULL,
    alert_id bigint,
    remediation_id bigint,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, sequence),
    UNIQUE (tenant_id, key)
);
CREATE INDEX audit_entries_remediation ON sextant.audit_entries (tenant_id, remediation_id, sequence);
CREATE INDEX audit_entries_alert ON sextant.audit_entries (tenant_id, alert_id, sequence);

-- The end of each chain, apart from it: entries cut off at the end are missed.
CREATE TABLE sextant.audit_heads (
    tenant_id integer PRIMARY KEY,
    sequence bigint NOT NULL,
    hash bytea NOT NULL
);

CREATE FUNCTION sextant.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever added to';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sextant.audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION sextant.refuse_change();

-- Row-level security binds the owner too, who here has to see every tenant's rows.
ALTER TABLE sextant.metric_definitions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.api_keys NO FORCE ROW LEVEL SECURITY;

-- Who may make a key with any scope has the new scopes as well.
UPDATE sextant.api_keys SET scopes = scopes || ARRAY['alerts', 'remediate'] WHERE 'admin' = ANY (scopes);

-- A definition's thresholds are a rule by themselves; low values are bad where critical lies below warning.
-- A name that would be too long ends in a part of its hash.
INSERT INTO sextant.alert_rules (tenant_id, name, origin, rule)
SELECT d.tenant_id, named.name, 'definition',
    jsonb_build_object(
        'name', named.name, 'metric', d.name,
        'condition', CASE WHEN d.alert_critical < d.alert_warning THEN '<' ELSE '>' END,
        'warning', d.alert_warning, 'critical', d.alert_critical)
FROM sextant.metric_definitions d,
    LATERAL (SELECT 'threshold of ' || d.name AS whole) worded,
    LATERAL (SELECT CASE WHEN length(worded.whole) <= 200 THEN worded.whole
        ELSE left(worded.whole, 183) || '~' || left(encode(sha256(convert_to(d.name, 'UTF8')), 'hex'), 16) END AS name
    ) named
WHERE d.alert_warning IS NOT NULL OR d.alert_critical IS NOT NULL;

ALTER TABLE sextant.metric_definitions FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.api_keys FORCE ROW LEVEL SECURITY;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['alert_rules', 'alert_states', 'alerts', 'silences', 'inhibitions', 'channels',
        'notification_events', 'notifications', 'remediation_policies', 'remediations', 'remediation_actions',
        'audit_entries', 'audit_heads'] LOOP
        EXECUTE format('ALTER TABLE sextant.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY own ON sextant.%I USING (tenant_id = (SELECT sextant.current_tenant()))', owned);
        EXECUTE format('CREATE POLICY keeper ON sextant.%I TO sextant_keeper USING (true)', owned);
    END LOOP;
END
$$;
ALTER TABLE sextant.kill_switches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON sextant.kill_switches
    USING (tenant_id = (SELECT sextant.current_tenant()) OR (SELECT sextant.is_operator()));
CREATE POLICY server ON sextant.kill_switches FOR SELECT USING (tenant_id = 0);
CREATE POLICY keeper ON sextant.kill_switches TO sextant_keeper USING (true);

GRANT SELECT ON sextant.shown_alerts TO sextant_reader, sextant_writer, sextant_keeper;
GRANT SELECT ON sextant.alert_rules, sextant.alerts, sextant.silences, sextant.inhibitions, sextant.notification_events,
    sextant.notifications, sextant.remediations, sextant.kill_switches, sextant.audit_entries, sextant.audit_heads
    TO sextant_reader, sextant_writer;
GRANT SELECT (id, tenant_id, name, type, config, secrets_set, enabled, disabled_reason, created_at, updated_at)
    ON sextant.channels TO sextant_reader, sextant_writer;
GRANT SELECT (id, tenant_id, name, policy, secret_names, revision, created_at, updated_at)
    ON sextant.remediation_policies TO sextant_reader, sextant_writer;
GRANT SELECT, UPDATE ON sextant.alert_revision TO sextant_writer;
GRANT SELECT ON sextant.alert_states, sextant.remediation_actions TO sextant_writer;
GRANT UPDATE (close_requested_by) ON sextant.alert_states TO sextant_writer;
GRANT UPDATE (acknowledged_at, acknowledged_by) ON sextant.alerts TO sextant_writer;
GRANT INSERT, UPDATE, DELETE ON sextant.alert_rules, sextant.silences, sextant.inhibitions, sextant.channels,
    sextant.remediation_policies TO sextant_writer;
GRANT INSERT ON sextant.notification_events, sextant.remediation_actions, sextant.audit_entries TO sextant_writer;
GRANT INSERT, UPDATE ON sextant.notifications, sextant.kill_switches, sextant.audit_heads TO sextant_writer;
GRANT UPDATE ON sextant.remediations TO sextant_writer;

GRANT SELECT, INSERT, UPDATE, DELETE ON sextant.alert_states, sextant.alerts, sextant.notification_events,
    sextant.notifications, sextant.remediations TO sextant_keeper;
GRANT SELECT ON sextant.alert_rules, sextant.silences, sextant.inhibitions, sextant.channels,
    sextant.remediation_policies, sextant.kill_switches, sextant.alert_revision TO sextant_keeper;
GRANT UPDATE (enabled, disabled_reason, updated_at) ON sextant.channels TO sextant_keeper;
GRANT SELECT, UPDATE ON sextant.alert_leader TO sextant_keeper;
GRANT SELECT, INSERT ON sextant.server_secrets, sextant.audit_entries TO sextant_keeper;
GRANT SELECT, INSERT, UPDATE ON sextant.audit_heads TO sextant_keeper;
