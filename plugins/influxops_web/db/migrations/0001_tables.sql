-- The tables of the service. COLLATE "C": ids are the same only if each byte is.

CREATE TABLE IF NOT EXISTS tenants (
    tenant_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT status_is_known CHECK (status IN ('active', 'suspended'))
);

CREATE TABLE device_activation (
    code_hash bytea PRIMARY KEY,
    device_id text NOT NULL,
    tenant_id text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
COMMENT ON COLUMN device_activation.code_hash IS 'SHA-256 of the activation code';
CREATE INDEX device_activation_device ON device_activation (tenant_id, device_id);

CREATE TABLE operator_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    role text NOT NULL,
    name text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT role_is_known CHECK (role IN ('operator', 'operator_admin'))
);
COMMENT ON COLUMN operator_tokens.hash IS 'SHA-256 of the token';

CREATE TABLE operator_keys (
    name text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE operator_audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    token_id bigint,
    who text NOT NULL DEFAULT '',
    role text NOT NULL DEFAULT '',
    via text NOT NULL DEFAULT '',
    method text NOT NULL,
    path text NOT NULL,
    tenant text COLLATE "C",
    status integer NOT NULL,
    address text NOT NULL DEFAULT ''
);
COMMENT ON COLUMN operator_audit_log.via IS 'token or cookie; empty for who was not let in';
CREATE INDEX operator_audit_log_at ON operator_audit_log USING brin (at) WITH (autosummarize = on);
CREATE INDEX operator_audit_log_tenant ON operator_audit_log (tenant, id) WHERE tenant IS NOT NULL;
