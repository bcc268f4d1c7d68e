-- Times are milliseconds since 1970, money is billionths of the currency, flags are 0 or 1.
-- Ids are compared byte by byte, whatever the locale of the database.

CREATE TABLE organisations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    suspended BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE projects (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    suspended BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX projects_by_organisation ON projects (organisation, id);

-- `scopes` is JSON.
CREATE TABLE api_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_project ON api_keys (project, id);

-- Keyed hashes: a copy of the database lets nobody in.
CREATE TABLE key_secrets (
    key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (key_id, number)
);

CREATE TABLE budgets (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    scope_kind TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    limit_nanos BIGINT NOT NULL,
    alert_at TEXT NOT NULL
);
CREATE INDEX budgets_by_scope ON budgets (scope, scope_kind);

-- A budget in one of its periods. `spent` is the sum of the ledger, `reserved` that of `holds`.
CREATE TABLE budget_windows (
    budget TEXT COLLATE "C" NOT NULL REFERENCES budgets (id),
    since BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    PRIMARY KEY (budget, since)
);

-- What running generations have reserved.
CREATE TABLE holds (
    stream BIGINT NOT NULL,
    budget TEXT COLLATE "C" NOT NULL REFERENCES budgets (id),
    since BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (stream, budget)
);
CREATE INDEX holds_by_budget ON holds (budget, expires_at);
CREATE INDEX holds_by_expiry ON holds (expires_at);

-- One row for each generation. Without an organisation or a key these are empty. `month` is when
-- the month of `at` began. Ids are drawn at random: with the time before them, rows are written
-- where the last ones were.
CREATE TABLE ledger (
    stream BIGINT NOT NULL,
    organisation TEXT COLLATE "C" NOT NULL,
    project TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    upstream TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    month BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    audio_input_tokens BIGINT NOT NULL,
    audio_output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    cost BIGINT NOT NULL,
    PRIMARY KEY (at, stream)
);
CREATE INDEX ledger_by_organisation ON ledger (organisation, at, cost) WHERE organisation <> '';
CREATE INDEX ledger_by_project ON ledger (project, at, cost);
CREATE INDEX ledger_by_key ON ledger (key_id, at, cost) WHERE key_id <> '';

-- The last number given out. A row is locked from its update to the end of the transaction, so
-- numbers become visible in their order, and there are no holes.
CREATE TABLE counters (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('audit', 0), ('change', 0);

CREATE TABLE changes (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE audit_log (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_log_by_target ON audit_log (target, number);
CREATE INDEX audit_log_by_who ON audit_log (who, number);

CREATE FUNCTION everstream_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append only';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION everstream_append_only();
