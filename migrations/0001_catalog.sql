-- Roles, tenants, keys, metric definitions and the catalog of series.
-- Requests run as sextant_reader or sextant_writer, which row-level security confines to one tenant; the journal and
-- background work run as sextant_keeper. None of them owns anything or can log in.

DO $$
DECLARE
    wanted text;
    -- Since PostgreSQL 16 a member may lack the right to SET ROLE.
    may_become text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['sextant_reader', 'sextant_writer', 'sextant_keeper'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made by another database of this server
        END;
        IF NOT pg_has_role(current_user, wanted, may_become) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA sextant TO sextant_reader, sextant_writer, sextant_keeper;
GRANT SELECT ON sextant.migrations TO sextant_keeper;

-- The tenant that the current transaction acts for; null, which matches no row, where none is set.
CREATE FUNCTION sextant.current_tenant() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('sextant.tenant_id', true), '')::integer;

-- Whether the current transaction acts for an operator, who sees all tenants.
CREATE FUNCTION sextant.is_operator() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('sextant.operator', true), '') = 'on';

CREATE TABLE sextant.tenants (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    samples_per_s double precision,
    samples_burst double precision,
    series_max integer,
    query_points_max bigint,
    query_timeout_s double precision
);

-- Apart from tenants, so that creating series never waits for anything but other creators of the same tenant.
CREATE TABLE sextant.tenant_catalogs (
    tenant_id integer PRIMARY KEY REFERENCES sextant.tenants ON DELETE CASCADE,
    revision bigint NOT NULL DEFAULT 0,
    series_active integer NOT NULL DEFAULT 0,
    policy_revision bigint NOT NULL DEFAULT 0
);

CREATE TABLE sextant.api_keys (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text,
    prefix text NOT NULL,
    sha256 bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_tenant ON sextant.api_keys (tenant_id, id);

CREATE TABLE sextant.metric_definitions (
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    display_name text,
    description text,
    unit text,
    type text NOT NULL CHECK (type IN ('gauge', 'counter', 'histogram', 'summary')),
    aggregation text,
    retention_days integer NOT NULL CHECK (retention_days BETWEEN 1 AND 36500),
    alert_warning double precision,
    alert_critical double precision,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE sextant.series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES sextant.tenants ON DELETE CASCADE,
    name text NOT NULL,
    labels jsonb NOT NULL,
    source text NOT NULL,
    digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The last day a sample of it was settled; written once a day, so that counting active series is cheap.
    seen_on date NOT NULL DEFAULT current_date,
    UNIQUE (tenant_id, digest)
) WITH (fillfactor = 90);
CREATE INDEX series_name ON sextant.series (tenant_id, name, id);
CREATE INDEX series_labels ON sextant.series USING gin (labels jsonb_path_ops);

ALTER TABLE sextant.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.tenant_catalogs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.metric_definitions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE sextant.series ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY own ON sextant.tenants USING (id = (SELECT sextant.current_tenant()) OR (SELECT sextant.is_operator()));
CREATE POLICY own ON sextant.tenant_catalogs
    USING (tenant_id = (SELECT sextant.current_tenant()) OR (SELECT sextant.is_operator()));
CREATE POLICY own ON sextant.api_keys
    USING (tenant_id = (SELECT sextant.current_tenant()) OR (SELECT sextant.is_operator()));
CREATE POLICY own ON sextant.metric_definitions USING (tenant_id = (SELECT sextant.current_tenant()));
CREATE POLICY own ON sextant.series USING (tenant_id = (SELECT sextant.current_tenant()));
-- Authentication knows a key's hash before it knows a tenant: that one row is visible, and its tenant's.
CREATE POLICY by_hash ON sextant.api_keys FOR SELECT TO sextant_reader
    USING (sha256 = decode(nullif(current_setting('sextant.key_sha256', true), ''), 'hex'));
CREATE POLICY keeper ON sextant.tenants FOR SELECT TO sextant_keeper USING (true);
CREATE POLICY keeper ON sextant.tenant_catalogs TO sextant_keeper USING (true);
CREATE POLICY keeper ON sextant.metric_definitions FOR SELECT TO sextant_keeper USING (true);
CREATE POLICY keeper ON sextant.series TO sextant_keeper USING (true);

GRANT SELECT ON sextant.tenants, sextant.tenant_catalogs, sextant.api_keys, sextant.metric_definitions, sextant.series
    TO sextant_reader, sextant_writer;
GRANT INSERT, UPDATE ON sextant.tenants, sextant.tenant_catalogs, sextant.api_keys, sextant.series TO sextant_writer;
GRANT INSERT, UPDATE, DELETE ON sextant.metric_definitions TO sextant_writer;
GRANT SELECT ON sextant.tenants, sextant.metric_definitions, sextant.series, sextant.tenant_catalogs TO sextant_keeper;
GRANT UPDATE (seen_on) ON sextant.series TO sextant_keeper;
GRANT UPDATE (series_active) ON sextant.tenant_catalogs TO sextant_keeper;
