//! Every bound in one place, each with the reason somebody chose it. Those that an operator may
//! want to move are defaults of the configuration; the others are fixed.

use std::time::Duration;

/// What one stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes of data of one event: `limits.event_bytes`.
    pub event_bytes: usize,
    /// Bytes of data of all events: `limits.stream_bytes`.
    pub stream_bytes: u64,
    /// Events: `limits.stream_events`.
    pub stream_events: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            event_bytes: EVENT_BYTES,
            stream_bytes: STREAM_BYTES,
            stream_events: STREAM_EVENTS,
        }
    }
}

/// Most requests that wait to begin. Each holds its body.
pub const QUEUE: usize = 1_000;
/// Longest time that a request waits to begin: SDKs wait for minutes, people do not.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// The latest that a refused request is asked to come again: SDKs ignore what is much longer.
pub const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Most deployments whose state is kept: beyond it those that are not in use are forgotten. Clients
/// may make up names of models; each costs some 900 bytes.
pub const DEPLOYMENTS: usize = 1_024;
/// The shortest time after which a second deployment is asked beside the first, where a percentile says
/// when: below that a second request costs more than it wins.
pub const HEDGE_FLOOR: Duration = Duration::from_millis(50);
/// Most deployments that have metrics of their own, the first that are asked; all others share those
/// of the model `other`. Each has some 35 lines.
pub const METRIC_DEPLOYMENTS: usize = 256;
/// The shortest time that a client may give an upstream for its first event.
pub const LEAST_TIMEOUT: Duration = Duration::from_millis(1);
/// Longest request or answer in the program's own log, bytes, where `telemetry.prompts` has them logged:
/// more nobody reads there.
pub const PROMPT_LOG_BYTES: usize = 16 << 10;
/// Most bytes of an answer's events that are kept to be logged. Their text is a small part of it.
pub const PROMPT_EVENTS_BYTES: usize = 256 << 10;
/// Most choices of one answer that is translated; the APIs that have `n` take no more.
pub const ANSWER_CHOICES: u32 = 128;
/// Most tool calls of one choice of an answer that is translated. Each costs a few words of memory.
pub const ANSWER_CALLS: u32 = 1_024;
/// Most fields that only the provider's API knows which are held for the last event of an API that
/// has no other place for them. Each is a citation or a filter's verdict.
pub const ANSWER_EXTRAS: usize = 1_024;
/// Largest event, bytes of data. A base64 image in one chunk fits; a runaway line does not.
pub const EVENT_BYTES: usize = 8 << 20;
/// Headers of one AWS event-stream frame: the most that its specification allows.
pub const AWS_HEADERS_BYTES: usize = 128 << 10;
/// Largest stream, bytes of data of all its events.
pub const STREAM_BYTES: u64 = 64 << 20;
/// Most events in a stream.
pub const STREAM_EVENTS: u64 = 200_000;
/// A unary answer up to this size is one event; a larger one is logged in pieces of this size, so
/// that its size does not show in memory.
pub const UNARY_PIECE_BYTES: usize = 1 << 20;
/// Largest request body.
pub const REQUEST_BODY_BYTES: usize = 32 << 20;
/// Largest body of a request that passes through as it comes, to APIs that take files: the largest
/// file that OpenAI takes.
pub const UPLOAD_BYTES: u64 = 512 << 20;
/// Headers of one part of a multipart body: a few short lines.
pub const MULTIPART_HEADER_BYTES: usize = 16 << 10;
/// Spaces behind a boundary, which nobody sends.
pub const MULTIPART_PADDING_BYTES: usize = 64;
/// Longest id in a path that is passed on to an upstream.
pub const PASSED_ID_BYTES: usize = 256;
/// The usage that an answer states, as JSON: some ten numbers with their names.
pub const USAGE_BYTES: usize = 4 << 10;
/// What is read and thrown away of a body that is too large, for its sender to get the answer: one
/// that meets a closed connection before it has sent everything reports that instead.
pub const REFUSED_BODY_BYTES: usize = 64 << 20;
/// Longest name of a model; it is kept for every stream, and shown in lists.
pub const MODEL_BYTES: usize = 256;
/// Longest text of an upstream's error that is passed on, in characters.
pub const UPSTREAM_MESSAGE_CHARS: usize = 500;
/// Longest time a client may take to send its request head, and then its body. Slow-loris clients
/// hold a connection no longer than this.
pub const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Most readers of one stream at a time.
pub const STREAM_READERS: usize = 1_000;
/// Events of a live stream kept in memory for its readers; who is further behind reads the log.
pub const LIVE_TAIL_BYTES: usize = 16 << 10;
/// Preamble (role chunk and the like) held back until the first content event.
pub const PREAMBLE_BYTES: usize = 64 << 10;
/// Text of an answer that is kept so that it can go on after a cut; a longer one cannot.
pub const RECOVERED_TEXT_BYTES: usize = 1 << 20;
/// Body of an upstream's error answer that is kept and passed on.
pub const UPSTREAM_ERROR_BYTES: usize = 64 << 10;
/// Head of an upstream's answer.
pub const UPSTREAM_HEAD_BYTES: usize = 64 << 10;
/// Headers in the head of an upstream's answer.
pub const UPSTREAM_HEADERS: usize = 128;
/// One chunk's extension: skipped, and no known upstream sends any.
pub const UPSTREAM_CHUNK_EXTENSION_BYTES: usize = 1 << 10;
/// Trailers of a chunked answer: skipped, and no known upstream sends any.
pub const UPSTREAM_TRAILER_BYTES: usize = 8 << 10;
/// One read from an upstream: all it brings goes into one append.
pub const UPSTREAM_READ_BYTES: usize = 16 << 10;
/// Events a reader takes from the log at once, and their bytes: one page, one write.
pub const READ_PAGE_EVENTS: usize = 512;
/// See [`READ_PAGE_EVENTS`].
pub const READ_PAGE_BYTES: usize = 64 << 10;
/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Longest cursor: 13 characters, a dot and 18 digits, with room.
pub const CURSOR_BYTES: usize = 64;
/// Streams that one `/v1/ws` socket may follow at once.
pub const WS_SUBSCRIPTIONS: usize = 256;
/// Largest message a WebSocket client may send: commands are small.
pub const WS_MESSAGE_BYTES: usize = 16 << 10;
/// Messages a WebSocket client may send in a second before it is cut off: commands, but pings too.
pub const WS_MESSAGES_PER_SECOND: u32 = 100;
/// Read buffer of a WebSocket: it is held for as long as the socket is, and commands are small.
pub const WS_READ_BUFFER_BYTES: usize = 4 << 10;
/// How long a WebSocket that came without a key may stay without a subscription.
pub const WS_ANONYMOUS_PATIENCE: Duration = Duration::from_secs(10);
/// How long a WebSocket client may take to answer that the socket is being closed.
pub const WS_CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Largest message of a realtime session, either way: OpenAI takes 15 MiB of audio at once.
pub const REALTIME_MESSAGE_BYTES: usize = 16 << 20;
/// What is gathered for one write to a side of a realtime session.
pub const REALTIME_WRITE_BYTES: usize = 16 << 10;
/// Silence after which a reader gets `: ping`.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest time the head of a streamed response waits for the first content event.
pub const HEAD_HOLD: Duration = Duration::from_secs(5);
/// How long a generation goes on without a reader.
pub const LINGER: Duration = Duration::from_mins(1);
/// How long a socket may refuse bytes before it is closed.
pub const WRITE_STALL: Duration = Duration::from_mins(1);
/// How long after its start an unread generation still belongs to an SDK's own retry.
pub const RETRY_ATTACH: Duration = Duration::from_mins(1);
/// How long a stream can be read after its end.
pub const RETENTION: Duration = Duration::from_hours(24);
/// How long a stream that is past retention is still known to have existed (410, not 404).
pub const TOMBSTONE: Duration = Duration::from_hours(7 * 24);
/// Size of the log on disk.
pub const LOG_BYTES: u64 = 10 << 30;
/// How often what was written is forced to the disk at `sync = interval`: what a power loss may cost.
/// One sync takes some 0.3 ms of CPU, so 20 a second stay below 1 % of a core.
pub const SYNC_INTERVAL: Duration = Duration::from_millis(50);
/// How long the disk may hang before requests are refused and running answers end. A cloud disk
/// that is only busy answers in less.
pub const LOG_PATIENCE: Duration = Duration::from_secs(5);
/// When a client may try again that was refused because the log takes nothing.
pub const LOG_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Size of a segment file: retention drops whole segments, so this is its grain.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Most tombstones a process remembers; beyond, the oldest are forgotten before their time. At some
/// 100 bytes each this is what a log of many tiny streams may cost in memory.
pub const TOMBSTONES: usize = 1 << 20;
/// Largest append in the log, all its records together: what a reader of the log may have to hold.
/// The largest request body and the largest event fit with room.
pub const BATCH_BYTES: usize = 256 << 20;
/// How long a read token is good for unless the request says otherwise, and at most.
pub const READ_TOKEN: Duration = Duration::from_mins(10);
/// See [`READ_TOKEN`].
pub const READ_TOKEN_MAX: Duration = Duration::from_hours(24);
/// How often it is looked whether the server's certificate changed.
pub const TLS_RELOAD: Duration = Duration::from_secs(10);
/// How long before its end a certificate is warned of.
pub const TLS_EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);
/// Largest file with a certificate or a key of the server: chains have some 10 KiB.
pub const TLS_FILE_BYTES: u64 = 1 << 20;
/// Idle upstream connections kept per host, and how long.
pub const UPSTREAM_IDLE_CONNECTIONS: usize = 100;
/// See [`UPSTREAM_IDLE_CONNECTIONS`].
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Most answers that share one connection of HTTP/2: so many wait for one lost packet, or are lost with
/// one connection.
pub const UPSTREAM_SHARED_STREAMS: usize = 32;
/// What an upstream may send of one answer over HTTP/2 before any of it is read.
pub const UPSTREAM_STREAM_WINDOW: u32 = 1 << 20;
/// The same of all answers on a connection: those that nobody reads hold up no other.
pub const UPSTREAM_CONNECTION_WINDOW: u32 = 32 << 20;
/// Silence of a connection of HTTP/2 that carries requests, after which it is asked whether it is there.
pub const UPSTREAM_PING_AFTER: Duration = Duration::from_secs(15);
/// How many times that long it may take to say so. Then it is closed.
pub const UPSTREAM_PONG_PATIENCE: u32 = 2;
/// How often a request is written while upstreams turn it away unread, which HTTP/2 lets them say.
pub const UPSTREAM_UNREAD_TRIES: u32 = 3;
/// Head of a proxy's answer to `CONNECT`.
pub const PROXY_HEAD_BYTES: usize = 8 << 10;
/// Connecting to an upstream, TLS included.
pub const UPSTREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence of an upstream before its first event. Reasoning models think for minutes.
pub const UPSTREAM_FIRST_EVENT_TIMEOUT: Duration = Duration::from_mins(10);
/// How long another Everstream runs an answer on whose connection was cut: longer than it is looked for.
pub const REATTACH_LINGER: Duration = Duration::from_mins(5);
/// Longest time for an upstream to be told that a run of its own is not wanted any more.
pub const UPSTREAM_CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence of an upstream between two events; its heartbeats do not count as progress.
pub const UPSTREAM_EVENT_TIMEOUT: Duration = Duration::from_mins(2);
/// How long an answer whose text has ended waits for its usage and its end mark. They come at once, and
/// a client waits for them too.
pub const UPSTREAM_END_MARK: Duration = Duration::from_secs(5);
/// An upstream's list of models: the longest known one, of 400 models, has 600 KiB.
pub const UPSTREAM_MODELS_BYTES: usize = 4 << 20;
/// Longest time an upstream may take to send its list of models: a start waits for it.
pub const UPSTREAM_MODELS_TIMEOUT: Duration = Duration::from_secs(5);
/// How old an upstream's list of models may grow.
pub const UPSTREAM_MODELS_REFRESH: Duration = Duration::from_mins(5);
/// Longest time an upstream may take to answer a probe.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the connections to upstreams are looked over: for those that were closed, and for those
/// that carry a request and say nothing.
pub const UPSTREAM_WATCH: Duration = Duration::from_secs(5);
/// An upstream's connection that carries a request is silent when so many looks in a row found that
/// nothing had come. Most providers send something every 15 seconds.
pub const UPSTREAM_SILENT_WATCHES: u32 = 6;
/// How soon an upstream is asked again while its list is unknown.
pub const UPSTREAM_MODELS_RETRY: Duration = Duration::from_secs(15);
/// How long a start looks for model servers on this machine.
pub const DISCOVERY_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest model name for which similar ones are looked up: the work grows with its square.
pub const MODEL_NAME_BYTES: usize = 256;
/// Page size of the list of streams: default and largest.
pub const LIST_PAGE_SIZE: usize = 20;
/// See [`LIST_PAGE_SIZE`].
pub const LIST_PAGE_SIZE_MAX: usize = 200;
/// How long a list may wait for a match, or a live feed of it may last.
pub const LIST_TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// Changes that a live feed of the list may be behind before it is shown the whole page again.
pub const LIST_FEED_BACKLOG: usize = 256;
/// Largest configuration file; a path such as `/dev/zero` is no configuration.
pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
/// How long running generations may take to end when the process is asked to.
pub const DRAIN_TIMEOUT: Duration = Duration::from_mins(10);
/// How old a request may be that a dead process accepted and did not send, for the next one to run it.
pub const RECOVER_RUN_WINDOW: Duration = Duration::from_mins(5);
/// How long a process that is asked for its listener waits for its successor to be ready.
pub const TAKEOVER_PATIENCE: Duration = Duration::from_mins(1);
/// Body of a request for a read token: one small JSON object.
pub const SMALL_BODY_BYTES: usize = 4 << 10;
/// Largest answer that the command line takes from a gateway: the largest event fits, as JSON.
pub const CLI_ANSWER_BYTES: usize = 32 << 20;
/// Silence after which the command line takes a connection for dead: no gateway's heartbeat is
/// rarer than once a minute.
pub const CLI_SILENCE: Duration = Duration::from_secs(90);
/// How often in a row `streams tail` connects in vain before it gives up.
pub const CLI_RECONNECTS: u32 = 10;
/// The longest pause of `streams tail` before it connects again; the first is a 32nd of it.
pub const CLI_RECONNECT_PAUSE: Duration = Duration::from_secs(8);
/// How long a process that was replaced still answers on connections that clients keep alive, before
/// it closes the idle ones: what is in use leaves by itself with its next response.
pub const KEEP_ALIVE_FAREWELL: Duration = Duration::from_secs(10);
/// `Signature-Input`, `Signature` or `Content-Digest` of one request: some 400 bytes are usual.
pub const SIGNATURE_BYTES: usize = 8 << 10;
/// Most components that one signature covers: four or five are usual.
pub const SIGNATURE_COMPONENTS: usize = 32;
/// Longest key id, nonce or tag of a signature.
pub const SIGNATURE_PARAMETER_BYTES: usize = 256;
/// How long a signed request is good after it was signed: the time its nonce must be remembered.
pub const SIGNATURE_AGE: Duration = Duration::from_mins(5);
/// How far the clocks of clients and of issuers of tokens may be from ours.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Nonces of signed requests that a process remembers: 3,000 a second for [`SIGNATURE_AGE`] and both
/// skews, in some 60 MiB. Beyond, signed requests are refused.
pub const NONCES: usize = 1 << 20;
/// How long clients wait before they sign again while [`NONCES`] are remembered.
pub const SIGNATURES_FULL_PAUSE: Duration = Duration::from_secs(5);
/// How long a signed request waits for the database that gateways share to say that it is no replay.
pub const NONCE_PATIENCE: Duration = Duration::from_millis(500);
/// How often nonces that are too old are removed from there.
pub const NONCES_PRUNED_EVERY: Duration = Duration::from_mins(1);
/// Longest window of a limit. Longer ones are what budgets are for.
pub const QUOTA_WINDOW: Duration = Duration::from_hours(31 * 24);
/// Largest product of a quota and its window in milliseconds: its level fits 64 bits with room for
/// what requests use beyond their reserve.
pub const QUOTA_CAPACITY: u64 = 1 << 62;
/// Most streams at once that a limit may allow.
pub const SLOTS: u32 = 1_000_000;
/// Most limits that one key has of its own.
pub const KEY_BOUNDS: usize = 16;
/// Most levels of limits that are kept in memory, some 40 MiB. Beyond, those are forgotten that are used
/// least.
pub const LIMIT_LEVELS: usize = 1 << 18;
/// How long a slot is held without a sign of life of its stream: what a crash costs its key.
pub const SLOT_LEASE: Duration = Duration::from_secs(30);
/// How often leases of slots are renewed.
pub const SLOT_RENEW: Duration = Duration::from_secs(10);
/// When who was refused a slot may ask again. Nobody knows when one will be free.
pub const SLOT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a request waits for the limits that processes share; then they are counted in this process
/// alone, until the database answers again.
pub const LIMITS_PATIENCE: Duration = Duration::from_secs(1);
/// Most requests whose shared limits are asked for together.
pub const LIMITS_BATCH: usize = 64;
/// How often a database that did not answer is asked whether it does.
pub const LIMITS_RETRY: Duration = Duration::from_secs(1);
/// How often idle levels are removed from the database.
pub const LIMITS_SWEEP: Duration = Duration::from_mins(1);
/// Longest name of a subject in a key of the counters; of a longer one its digest stands there.
pub const LIMIT_NAME_BYTES: usize = 128;
/// Tokens that an answer is taken to have, until it has them, if its request sets no limit.
pub const ASSUMED_OUTPUT_TOKENS: u64 = 1_024;
/// Longest JSON Web Token: those of issuers that list a user's groups have some KiB.
pub const JWT_BYTES: usize = 16 << 10;
/// Largest set of an issuer's keys, and most keys of it that are used: three to five are usual.
pub const JWKS_BYTES: usize = 256 << 10;
/// See [`JWKS_BYTES`].
pub const JWKS_KEYS: usize = 64;
/// How far an issuer's clock may be from ours: as good as all machines are nearer.
pub const JWT_LEEWAY: Duration = Duration::from_mins(1);
/// Tokens that were found good and are remembered until their end: the most in use at a time.
pub const JWT_CACHE: usize = 10_000;
/// How often an issuer's keys are fetched anew where it does not say.
pub const JWKS_REFRESH: Duration = Duration::from_mins(10);
/// How often at most, whatever it says.
pub const JWKS_REFRESH_LEAST: Duration = Duration::from_mins(1);
/// How often at least: how long a key may be used that its issuer has withdrawn.
pub const JWKS_REFRESH_MOST: Duration = Duration::from_hours(1);
/// How long an issuer's keys are used while it is gone.
pub const JWKS_STALE: Duration = Duration::from_hours(24);
/// How long an issuer may take to answer.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token with an unknown key waits for newer keys.
pub const JWKS_PATIENCE: Duration = Duration::from_secs(2);
/// Operations that may wait for the thread of an embedded database; beyond, they are refused.
pub const CATALOG_QUEUE: usize = 256;
/// How long an operation on the database may take, the wait for a connection included.
pub const CATALOG_PATIENCE: Duration = Duration::from_secs(5);
/// How long an operation waits for a connection of the pool.
pub const CATALOG_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the pool keeps a connection that nobody uses.
pub const CATALOG_IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a connection may be held before it is reported as leaked.
pub const CATALOG_LEAK_AFTER: Duration = Duration::from_mins(1);
/// How old a revocation may grow before a process has seen it, when no hint comes: half of the
/// second that is promised.
pub const CATALOG_POLL: Duration = Duration::from_millis(500);
/// Rows of one answer about usage: a year of hours, or 10,000 keys.
pub const USAGE_ROWS: usize = 10_000;
/// Entries that wait for the ledger while its database is gone, bytes on disk: some 200,000.
pub const LEDGER_QUEUE_BYTES: u64 = 64 << 20;
/// Entries that are settled in one transaction.
pub const LEDGER_BATCH: usize = 1_000;

/// The most tokens of a prompt that are reserved where the deployment's own bound is not known.
pub const RESERVE_INPUT_TOKENS: u64 = 1_000_000;
/// Tokens that are reserved for an answer whose request sets no limit.
pub const RESERVE_OUTPUT_TOKENS: u64 = 16_384;
/// How long a reserve is held for a process that does not renew it: what a crash costs others.
pub const RESERVE_LEASE: Duration = Duration::from_mins(1);
/// How often reserves are renewed.
pub const RESERVE_RENEW: Duration = Duration::from_secs(20);
/// How long a request waits for its reserve.
pub const RESERVE_PATIENCE: Duration = Duration::from_secs(3);
/// How long a database that did not give a reserve in time is not asked for another.
pub const RESERVE_REST: Duration = Duration::from_secs(1);
/// How often all budgets are read again, beside what is known of their changes.
pub const BUDGETS_REREAD: Duration = Duration::from_mins(1);
/// Generations that ended and wait to be written to the ledger's queue. What is beyond is found in the
/// log.
pub const BILLS: usize = 8_192;
/// How long such generations are gathered, to be written and settled together, unless somebody waits for
/// them: most of what it costs to settle one is what it costs to settle many.
pub const BILLS_GATHERED: Duration = Duration::from_millis(100);
/// How often the log is searched for generations that ended and that nobody wrote to the ledger.
pub const AUDIT_EVERY: Duration = Duration::from_mins(1);
/// How long before that search they ended at least: the others are on their way.
pub const AUDIT_GRACE: Duration = Duration::from_secs(5);
/// How far the search goes back behind what was searched before: a slow disk may show an end late.
pub const AUDIT_BACK: Duration = Duration::from_mins(1);

/// Largest file with a secret, and largest answer of Vault's: a private key has some KiB.
pub const SECRET_BYTES: usize = 64 << 10;
/// How often a file with a secret is looked at: what a rotation costs after the old one ended.
pub const SECRET_FILE_REFRESH: Duration = Duration::from_secs(2);
/// How often a secret without a lease is read again from Vault.
pub const VAULT_REFRESH: Duration = Duration::from_mins(1);
/// How long Vault may take to answer.
pub const VAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits for secrets of upstreams.
pub const SECRET_START_PATIENCE: Duration = Duration::from_secs(10);
/// How often a secret is looked at early at most, because a provider refuses it.
pub const SECRET_HURRY_EVERY: Duration = Duration::from_secs(10);
/// How long a refused request waits for that.
pub const SECRET_HURRY_PATIENCE: Duration = Duration::from_secs(2);
/// Shortest time after which what was lent is renewed.
pub const SECRET_RENEW_LEAST: Duration = Duration::from_millis(500);
/// Former secrets of an upstream that are still kept from being shown.
pub const FORMER_SECRETS: usize = 32;

/// How long a token may take to be fetched.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long before its end a token is replaced.
pub const TOKEN_MARGIN: Duration = Duration::from_mins(5);

/// Keys that a process remembers, known and unknown ones: the most in use at a time.
pub const KEY_CACHE: usize = 50_000;
/// Keys that are looked up in the database at once.
pub const KEY_LOOKUPS: usize = 64;
/// How long it is remembered that a key does not exist. One that is made is known at once.
pub const UNKNOWN_KEY_FOR: Duration = Duration::from_mins(5);
/// How long a key is remembered without asking again; what changes is known within
/// [`CATALOG_POLL`].
pub const KNOWN_KEY_FOR: Duration = Duration::from_mins(5);
/// Addresses whose failed authentications are remembered, in some 10 MiB.
pub const FAILING_ADDRESSES: usize = 65_536;
/// Callers that are known to be good, each by its address and its credential, in some 5 MiB.
pub const GOOD_CALLERS: usize = 65_536;
/// Failed authentications of one address in a minute.
pub const FAILED_AUTHENTICATIONS: u32 = 60;
/// Refusals of callers that are told at once, before they are told one after the other.
pub const REFUSALS_AT_ONCE: u32 = 100;
/// Between two of these: 1,000 a second, some 2 % of a core.
pub const REFUSAL_GAP: Duration = Duration::from_millis(1);
/// The longest that one of them waits.
pub const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
/// How long a key is used on that the database was asked for in vain.
pub const KEY_RETRY: Duration = Duration::from_secs(5);
/// The most copies of requests under way at once to a shadow deployment without a bound of its own.
pub const SHADOWS: usize = 16;
/// The longest time for the answer to a copy of a request.
pub const SHADOW_TIMEOUT: Duration = Duration::from_mins(10);
/// Body of a request to the listener for operators.
pub const ADMIN_BODY_BYTES: usize = 64 << 10;
/// Entries of a page for operators: unless they say otherwise, and at most.
pub const ADMIN_PAGE: usize = 50;
/// See [`ADMIN_PAGE`].
pub const ADMIN_PAGE_MAX: usize = 500;
/// How long a key's secret is good beside the one that replaces it: unless the operator says
/// otherwise, and at most.
pub const ROTATION_OVERLAP: Duration = Duration::from_hours(24);
/// See [`ROTATION_OVERLAP`].
pub const ROTATION_OVERLAP_MAX: Duration = Duration::from_hours(90 * 24);
/// Names, or limits, of one kind that a key may have.
pub const SCOPE_NAMES: usize = 100;
