-- Times are milliseconds since 1970, money is billionths of the currency, flags are 0 or 1.

CREATE TABLE organisations (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    suspended BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    organisation TEXT NOT NULL REFERENCES organisations (id),
    name TEXT NOT NULL,
    suspended BIGINT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX projects_by_organisation ON projects (organisation, id);

-- `scopes` is JSON.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
) WITHOUT ROWID;
CREATE INDEX api_keys_by_project ON api_keys (project, id);

-- Keyed hashes: a copy of the database lets nobody in.
CREATE TABLE key_secrets (
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    number BIGINT NOT NULL,
    hash BLOB NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (key_id, number)
) WITHOUT ROWID;

CREATE TABLE budgets (
    id TEXT NOT NULL PRIMARY KEY,
    scope_kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    period TEXT NOT NULL,
    limit_nanos BIGINT NOT NULL,
    alert_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX budgets_by_scope ON budgets (scope, scope_kind);

-- A budget in one of its periods. `spent` is the sum of the ledger, `reserved` that of `holds`.
CREATE TABLE budget_windows (
    budget TEXT NOT NULL REFERENCES budgets (id),
    since BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    PRIMARY KEY (budget, since)
) WITHOUT ROWID;

-- What running generations have reserved.
CREATE TABLE holds (
    stream BIGINT NOT NULL,
    budget TEXT NOT NULL REFERENCES budgets (id),
    since BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (stream, budget)
) WITHOUT ROWID;
CREATE INDEX holds_by_budget ON holds (budget, expires_at);
CREATE INDEX holds_by_expiry ON holds (expires_at);

-- One row for each generation. Without an organisation or a key these are empty. `month` is when
-- the month of `at` began. Ids are drawn at random: with the time before them, rows are written
-- where the last ones were.
CREATE TABLE ledger (
    stream BIGINT NOT NULL,
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream TEXT NOT NULL,
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
) WITHOUT ROWID;
CREATE INDEX ledger_by_organisation ON ledger (organisation, at, cost) WHERE organisation <> '';
CREATE INDEX ledger_by_project ON ledger (project, at, cost);
CREATE INDEX ledger_by_key ON ledger (key_id, at, cost) WHERE key_id <> '';

-- The last number given out. A row is locked from its update to the end of the transaction, so
-- numbers become visible in their order, and there are no holes.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('audit', 0), ('change', 0);

CREATE TABLE changes (
    number BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit_log (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX audit_log_by_target ON audit_log (target, number);
CREATE INDEX audit_log_by_who ON audit_log (who, number);

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append only'); END;
