-- Nonces of signed requests that were accepted, by a hash of key and nonce, until their signatures are
-- too old anyhow.
CREATE TABLE nonces (
    id BYTEA NOT NULL PRIMARY KEY,
    good_until BIGINT NOT NULL
);
CREATE INDEX nonces_by_end ON nonces (good_until);
