//! The configuration: one TOML file and the environment in, either a frozen [`Config`] or every
//! mistake out.
//!
//! What there is to set is declared once, in this file, by `settings!`. The checks, the JSON Schema
//! and the documentation all come from that declaration.

mod admin;
mod aws;
mod check;
mod describe;
mod env;
mod expand;
mod jwt;
mod kinds;
mod mistake;
mod money;
mod rate_limits;
mod read;
mod reference;
mod routes;
mod slot;
mod source;
mod spec;
#[cfg(test)]
mod tests;
mod upstream;
mod values;
mod vault;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use describe::{Settings as _, choices, settings};
use kinds::{choice, duration, flag, size, whole};
use spec::{list, map, section, sections};

pub use admin::AdminListen;
pub use env::Env;
pub use jwt::{JwksSource, JwtIssuerConfig, TokenProject};
pub use mistake::{ConfigErrors, Mistake, Place};
pub use money::{BudgetsConfig, Otherwise, PriceConfig};
pub use rate_limits::RateLimitConfig;
pub use reference::{example, json_schema, markdown};
pub use routes::{DeploymentConfig, RouteConfig};
pub use source::SecretSource;
pub use values::{key_hash, show_key_hash};

use crate::id::ProjectId;
use crate::limits;
use crate::network::Network;
use crate::policy::disconnect::OnDisconnect;
use crate::provider::{Auth, Provider};
use crate::record::Digest;
use crate::secret::Secret;
use crate::units::MAX_DURATION;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

settings! {
    /// Everything that can be configured, resolved and checked.
    pub struct Config {
        /// The address that clients connect to. Beyond loopback, keys are required.
        listen: SocketAddr = values::listen()
            .or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))
            .variable("EVERSTREAM_LISTEN");
        /// This node's number, part of the ids of its streams: no two nodes that share streams may
        /// have the same one. Drawn at random if absent.
        node: Option<u16> = whole(0..=1023).example(1).optional();
        /// The directory for all state. If absent, `$XDG_DATA_HOME/everstream` or
        /// `~/.local/share/everstream`.
        data_dir: Option<PathBuf> = values::path()
            .example("/var/lib/everstream")
            .variable("EVERSTREAM_DATA_DIR")
            .optional();
        /// Origins of web pages whose scripts may call this gateway; `*` stands for all.
        cors_origins: Vec<String> = list(values::origin().example("https://app.example.org"));
        /// Proxies in front of this gateway, by address or network: what they say of a client in
        /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` is believed. They have to set
        /// or drop these, never to pass on what a client sent. Of `X-Forwarded-For` the right-most
        /// address counts that is none of theirs.
        trusted_proxies: Vec<Network> = list(values::network().example("10.0.0.0/8"));
        /// Whether a key is needed even while there is none. Without this the gateway is open to all
        /// programs on its machine until the first key is made. Needed to listen beyond loopback
        /// with keys that are all in the database.
        require_keys: bool = flag().or(false);
        /// What API keys and read tokens are derived from: at least 32 characters, the same for all
        /// processes that share a database. If absent, a file in `data_dir` that is made at the
        /// first start. Whoever changes it ends all keys.
        master_secret: Option<Secret> = values::master_secret()
            .example("${EVERSTREAM_MASTER_SECRET}")
            .optional();
        /// The certificate that clients meet. Without one they are spoken to in the clear.
        tls: TlsConfig = section();
        /// Where keys, budgets and the ledger are.
        database: DatabaseConfig = section();
        /// The listener for operators.
        admin: AdminConfig = section();
        /// Vault or OpenBao, for secrets of upstreams that are written `vault:<path>#<field>`.
        vault: VaultConfig = section();
        /// What the program says about itself.
        telemetry: TelemetryConfig = section();
        /// Where streams are kept, and for how long.
        log: LogConfig = section();
        /// How large and how slow things may be.
        limits: LimitsConfig = section();
        /// How streams are delivered, and when they end.
        streams: StreamsConfig = section();
        /// Model providers and servers. If there are none, those found at start are used: keys in
        /// the environment, model servers on this machine.
        upstreams: Vec<UpstreamConfig> = sections();
        /// Models that several upstreams can answer for. If one fails before it has said anything,
        /// the next is asked.
        routes: Vec<RouteConfig> = sections();
        /// How much callers may use, in any time and at once. Keys in the database may have limits of
        /// their own beside these.
        rate_limits: Vec<RateLimitConfig> = sections();
        /// What models cost. Of several prices that fit, the one that says most about its model
        /// counts.
        prices: Vec<PriceConfig> = sections();
        /// How budgets are kept. The budgets themselves are in the database.
        budgets: BudgetsConfig = section();
        /// Other names for models, such as `fast = "openai/gpt-4o-mini"`: a model of one upstream
        /// (`upstream/model`), a model that is routed by its name, or another alias.
        aliases: BTreeMap<String, String> = map(
            "names of models, each with the model it stands for",
            values::model_name,
            values::model(),
            ("fast", "openai/gpt-4o-mini"),
        );
        /// Keys of clients, stored as hashes: `everstream key new` makes them. More can come from
        /// `EVERSTREAM_API_KEYS`, separated by commas, each with a project of its own. Without any,
        /// the gateway is open to all programs on this machine, and to nobody else.
        keys: Vec<KeyConfig> = sections();
        /// Issuers of JSON Web Tokens, which clients send in place of keys (docs/security.md). With
        /// one, nobody is let in without a key or a token.
        jwt_issuers: Vec<JwtIssuerConfig> = sections();
    }
}

settings! {
    /// `[tls]`: TLS 1.2 and 1.3 for clients, with HTTP/2 and HTTP/1.1 inside. Files that change are
    /// read again without a restart, within 10 s or at SIGHUP; if they are of no use, what was read
    /// before stays.
    pub struct TlsConfig {
        /// The certificate and those between it and its authority's root: a file in PEM format, its
        /// own first.
        certificate: Option<PathBuf> = values::path()
            .example("/etc/everstream/fullchain.pem")
            .optional();
        /// The private key of the certificate: a file in PEM format.
        key: Option<PathBuf> = values::path().example("/etc/everstream/key.pem").optional();
        /// Clients have to show a certificate of one of these authorities, beside their key: a file in
        /// PEM format.
        client_ca: Option<PathBuf> = values::path().example("/etc/everstream/clients.pem").optional();
        /// With `client_ca`: whether clients without a certificate are let in. One of another
        /// authority is refused in either case.
        client_auth: ClientAuth = choice().or(ClientAuth::Required);
    }
}

choices! {
    /// Whether clients show certificates.
    pub enum ClientAuth {
        /// All do.
        Required = "required",
        /// Those that have one.
        Optional = "optional",
    }
}

settings! {
    /// `[admin]`: the listener for operators: keys, budgets, usage, the state of the upstreams,
    /// metrics.
    pub struct AdminConfig {
        /// Its address, or `off`. Clients have nothing to look for there. Beyond loopback, a key and
        /// TLS are required. If the usual address is taken, the gateway runs without this listener.
        listen: AdminListen = admin::listen()
            .or(AdminListen::USUAL)
            .variable("EVERSTREAM_ADMIN_LISTEN");
        /// The key that operators show, as `Authorization: Bearer`; no key of a client is one. Who
        /// shows it is `operator` in the audit log. Without it and without `[[admin.operators]]`,
        /// every program on this machine may use the listener.
        key: Option<Secret> = values::secret()
            .example("${EVERSTREAM_ADMIN_KEY}")
            .variable("EVERSTREAM_ADMIN_KEY")
            .optional();
        /// Whether TLS is spoken, with the certificate of `[tls]`. If absent, beyond loopback, where it
        /// is needed; there, `false` says that a proxy in front speaks it.
        tls: Option<bool> = flag().example(true).optional();
        /// Operators with names, which stand in the audit log, and keys of their own.
        operators: Vec<OperatorConfig> = sections();
    }
}

settings! {
    /// `[[admin.operators]]`: an operator.
    pub struct OperatorConfig {
        /// The name, as the audit log has it.
        name: String = values::name().example("alice").unique();
        /// The key.
        key: Secret = values::secret().example("${ALICE_ADMIN_KEY}");
        /// What it is good for: `write` for all, `read` for looking.
        role: OperatorRole = choice().or(OperatorRole::Write);
    }
}

choices! {
    /// What an operator may do.
    pub enum OperatorRole {
        /// Look.
        Read = "read",
        /// Look and change.
        Write = "write",
    }
}

settings! {
    /// `[telemetry]`
    pub struct TelemetryConfig {
        /// How much is logged: a level, or several for parts of the program, such as
        /// `info,everstream=debug`.
        level: String = values::level().or("info".to_owned()).variable("EVERSTREAM_LOG");
        /// How it is written.
        format: LogFormat = choice().or(LogFormat::Text);
        /// Whether what clients ask and are answered is logged too, at the level `info` of the part
        /// `everstream::prompts`: the first 16 KiB of each, without what looks like a credential. Whoever
        /// reads the log reads it all.
        prompts: bool = flag().or(false);
    }
}

choices! {
    /// How log lines are written.
    pub enum LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

settings! {
    /// `[database]`: control data: organisations, projects, keys, budgets, the ledger, the audit log.
    pub struct DatabaseConfig {
        /// `postgres://user:password@host:5432/name?sslmode=require`, or `sqlite:` and the path of a
        /// file. If absent, `sqlite` with `catalog.db` in `data_dir`; with `log.backend = "memory"`, none.
        url: Option<Secret> = values::database_url().example("${DATABASE_URL}").optional();
        /// Postgres: the most connections, one more for hints aside. Twice the CPU cores if absent.
        pool_size: Option<usize> = whole(1..=1_000).example(16).optional();
        /// Postgres: how long an operation waits for a connection.
        acquire_timeout: Duration = duration(MS..=HOUR).or(limits::CATALOG_ACQUIRE_TIMEOUT);
        /// Postgres: how long a connection is kept that nobody uses.
        idle_timeout: Duration = duration(SECOND..=DAY).or(limits::CATALOG_IDLE_TIMEOUT);
        /// Postgres: how long a connection may be held before it is reported as leaked, with the place
        /// in the program where it was taken.
        leak_after: Duration = duration(SECOND..=DAY).or(limits::CATALOG_LEAK_AFTER);
        /// Postgres: whether limits are counted there, for all gateways on it together, at a round trip
        /// for each request that has limits. Else each gateway counts for itself.
        shared_limits: bool = flag().or(true);
        /// How long one operation may take, the wait for a connection included.
        timeout: Duration = duration(MS..=HOUR).or(limits::CATALOG_PATIENCE);
        /// Postgres: certificates to trust beside those of the system: a file in PEM format.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
    }
}

settings! {
    /// `[vault]`: Vault or OpenBao, for secrets of upstreams (docs/secrets.md).
    pub struct VaultConfig {
        /// Where it is. If absent, `VAULT_ADDR`.
        address: Option<String> = values::base_url()
            .example("https://vault.internal:8200")
            .optional();
        /// How it knows this gateway.
        auth: VaultAuth = choice().or(VaultAuth::Token);
        /// For `token`: the token, best `file:` and where an agent keeps it. If absent, `VAULT_TOKEN`.
        token: Option<SecretSource> = source::outside_vault()
            .example("file:/run/vault/token")
            .optional();
        /// For `approle`: the id of the role.
        role_id: Option<String> = values::word().example("7d1b4c2e-everstream").optional();
        /// For `approle`: the secret of that id.
        secret_id: Option<SecretSource> = source::outside_vault()
            .example("file:/run/secrets/vault-secret-id")
            .optional();
        /// For `kubernetes`: the name of the role.
        role: Option<String> = values::word().example("everstream").optional();
        /// For `kubernetes`: the file with the token of the pod's service account.
        jwt_path: PathBuf = values::path()
            .or("/var/run/secrets/kubernetes.io/serviceaccount/token".into());
        /// Where the way to log in is mounted, if that is not its name.
        mount: Option<String> = values::vault_mount().example("kubernetes").optional();
        /// The namespace. If absent, `VAULT_NAMESPACE`.
        namespace: Option<String> = values::vault_mount().example("team").optional();
        /// Certificates to trust beside those of the system: a file in PEM format. If absent,
        /// `VAULT_CACERT` names it.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
        /// How often a secret without a lease, such as one of KV, is read again.
        refresh: Duration = duration(SECOND..=DAY).or(limits::VAULT_REFRESH);
    }
}

choices! {
    /// How Vault knows this gateway.
    pub enum VaultAuth {
        /// By a token that it is given.
        Token = "token",
        /// By an `AppRole`.
        AppRole = "approle",
        /// By the service account of its pod.
        Kubernetes = "kubernetes",
    }
}

settings! {
    /// `[log]`: the stream log.
    pub struct LogConfig {
        /// `disk`, or `memory`, which is empty after a restart.
        backend: Backend = choice().or(Backend::Disk);
        /// When what was written is forced to the disk. No setting loses anything when the process
        /// is killed. A power loss costs what the system had not written yet at `none`, at most
        /// `sync_interval` at `interval`, nothing at `always`.
        sync: SyncMode = choice().or(SyncMode::Interval);
        /// See `sync`. A sync costs some 0.3 ms of CPU.
        sync_interval: Duration = duration(MS..=10 * SECOND).or(limits::SYNC_INTERVAL);
        /// How long the disk may hang. After that new requests are refused and running answers end
        /// with an error, until it goes on.
        stall_timeout: Duration = duration(100 * MS..=HOUR).or(limits::LOG_PATIENCE);
        /// The size of all streams, on the disk or in memory; beyond it the oldest are dropped.
        max_bytes: u64 = size(1 << 20..=1 << 50).or(limits::LOG_BYTES);
        /// The size of one file. Old streams are dropped by whole files.
        segment_bytes: u64 = size(64 << 10..=4 << 30).or(limits::SEGMENT_BYTES);
        /// How long a stream can be read after its end.
        retention: Duration = duration(SECOND..=MAX_DURATION).or(limits::RETENTION);
        /// How long after that it is remembered that the stream existed: until then its readers
        /// get 410, later 404.
        tombstone: Duration = duration(Duration::ZERO..=MAX_DURATION).or(limits::TOMBSTONE);
    }
}

choices! {
    /// Where streams are kept.
    pub enum Backend {
        /// In segment files.
        Disk = "disk",
        /// Nowhere else than in the process.
        Memory = "memory",
    }
}

choices! {
    /// When what was written is forced to the disk.
    pub enum SyncMode {
        /// When the operating system likes to.
        None = "none",
        /// Every `sync_interval`, if there is something.
        Interval = "interval",
        /// Before anybody sees it.
        Always = "always",
    }
}

settings! {
    /// `[limits]`: how large and how slow things may be.
    pub struct LimitsConfig {
        /// The largest event.
        event_bytes: usize = size(1 << 10..=1 << 30).or(limits::EVENT_BYTES);
        /// The largest stream, counted as the data of all its events.
        stream_bytes: u64 = size(1 << 10..=1 << 40).or(limits::STREAM_BYTES);
        /// The most events in a stream.
        stream_events: u64 = whole(1..=1_000_000_000).or(limits::STREAM_EVENTS);
        /// The largest body of a request.
        request_body_bytes: usize = size(1 << 10..=1 << 30).or(limits::REQUEST_BODY_BYTES);
        /// The largest body that passes through without being held: files, audio, images.
        upload_bytes: u64 = size(1 << 10..=1 << 40).or(limits::UPLOAD_BYTES);
        /// The longest time a client may take to send the head of a request, and then its body; of
        /// a body that passes through, the longest silence.
        request_read_timeout: Duration = duration(MS..=HOUR).or(limits::REQUEST_READ_TIMEOUT);
        /// The most requests of one address, or one IPv6 network of 64 bits, that are refused for their
        /// key or signature within a minute. Beyond, the address is not listened to for a while (429),
        /// but for what was good from there before. 0 for no limit.
        failed_authentications: u32 = whole(0..=1_000_000).or(limits::FAILED_AUTHENTICATIONS);
        /// The most readers of one stream at a time.
        readers_per_stream: usize = whole(1..=1_000_000).or(limits::STREAM_READERS);
        /// The most generations that run at once. Requests beyond it wait in a queue in which projects
        /// take turns. Not bounded if absent.
        max_concurrency: Option<u32> = whole(1..=1_000_000).example(500).optional();
        /// The most requests that wait, for that or for an upstream with a `max_concurrency`. When it is
        /// full, the project with most in it gives way to others (429), and the rest is refused (503).
        queue: usize = whole(0..=1_000_000).or(limits::QUEUE);
        /// The longest that a request waits in the queue.
        queue_timeout: Duration = duration(MS..=HOUR).or(limits::QUEUE_TIMEOUT);
        /// For limits on output tokens: how many an answer is taken to have, until it is over, if its
        /// request does not say how many it may have.
        assumed_output_tokens: u64 = whole(0..=1_000_000).or(limits::ASSUMED_OUTPUT_TOKENS);
    }
}

settings! {
    /// `[streams]`: how streams are delivered, and when they end.
    pub struct StreamsConfig {
        /// How long the head of a streamed response waits for the first content, so that a failing
        /// upstream can still be replaced, or its own status be given.
        head_hold: Duration = duration(Duration::ZERO..=30 * SECOND).or(limits::HEAD_HOLD);
        /// The silence after which a reader gets a comment, for proxies not to hang up.
        heartbeat: Duration = duration(SECOND..=60 * SECOND).or(limits::HEARTBEAT);
        /// What becomes of a generation without readers: `continue`, `cancel`, or
        /// `linger:<duration>`, which cancels it unless a reader comes in time.
        on_disconnect: OnDisconnect = values::on_disconnect()
            .or(OnDisconnect::Linger(limits::LINGER));
        /// How long after the start of a generation that nobody reads an SDK's own retry is led to
        /// it instead of starting another.
        retry_attach: Duration = duration(Duration::ZERO..=HOUR).or(limits::RETRY_ATTACH);
        /// How long running generations may take to end when the process is asked to. What is left
        /// then ends `interrupted`. Give the supervisor 30 s more than this.
        drain_timeout: Duration = duration(Duration::ZERO..=DAY).or(limits::DRAIN_TIMEOUT);
        /// How long a token for reading one stream is good, unless the request says otherwise.
        read_token_ttl: Duration = duration(SECOND..=limits::READ_TOKEN_MAX).or(limits::READ_TOKEN);
        /// How long a client may take no bytes before its connection is closed.
        write_stall: Duration = duration(SECOND..=HOUR).or(limits::WRITE_STALL);
    }
}

settings! {
    /// `[[upstreams]]`: one model provider or server.
    pub struct UpstreamConfig {
        /// Who runs it, by a name in the table of providers (docs/providers.md). It gives the
        /// address, the API, the way to send the key and what differs; what is set here goes
        /// before.
        provider: Option<&'static Provider> = values::provider().example("openai").optional();
        /// What it is called: in `name/model`, in logs, in the header `Everstream-Upstream`. The
        /// provider's name if absent.
        name: Option<String> = values::name().example("openai").unique().optional();
        /// Where its API is. Usually ends in `/v1`. Needed unless the provider has one address for
        /// everybody; on Azure it is the resource's, `https://{resource}.openai.azure.com`.
        base_url: Option<String> = values::base_url()
            .example("https://api.openai.com/v1")
            .optional();
        /// The API that it speaks, `openai` unless its provider has another. Clients of all are
        /// served by upstreams of each.
        dialect: Option<UpstreamDialect> = choice().example("openai").optional();
        /// The key to call it with. If absent and there is a provider, the variable that the
        /// provider's own SDK reads it from. `file:<path>` is what a file holds, `vault:<path>#<field>`
        /// what Vault has; both are followed when they change (docs/secrets.md). So it is for all keys
        /// and headers of upstreams.
        api_key: Option<SecretSource> = source::key().example("${OPENAI_API_KEY}").optional();
        /// Instead of `api_key`: several keys, such as `["${KEY_ONE}", "${KEY_TWO}"]`, which take
        /// turns. One that reaches its limit, or is refused, rests alone, and the next is taken at
        /// once. What is no answer of a model, such as a list or a file, is asked with the first, so
        /// give keys of the same account.
        api_keys: Vec<SecretSource> = list(source::key());
        /// How the key is sent: as `Authorization: Bearer`, in a header of its own, or not at all;
        /// with `google`, tokens are fetched for a service account. As its provider or its dialect
        /// has it, if absent.
        auth: Option<Auth> = choice().example("bearer").optional();
        /// Azure: the version of the API, such as `2024-10-21`, for paths with the deployment in
        /// them. Without it requests go to `/openai/v1`. The name of a model is in both cases that
        /// of a deployment.
        api_version: Option<String> = values::word().example("2024-10-21").optional();
        /// Vertex AI: the project.
        project: Option<String> = values::word().example("my-project").optional();
        /// Vertex AI: the location, `global` if absent.
        location: Option<String> = values::word().example("us-central1").optional();
        /// Vertex AI: the file with the key of a service account. If absent,
        /// `GOOGLE_APPLICATION_CREDENTIALS` names it, or else the machine's own account is asked
        /// for tokens.
        credentials: Option<PathBuf> = values::path()
            .example("/etc/everstream/google.json")
            .optional();
        /// For `bedrock`: where AWS is asked. If absent, what `base_url` says
        /// (`bedrock-runtime.<region>.amazonaws.com`), or `AWS_REGION`.
        aws_region: Option<String> = values::word().example("us-east-1").optional();
        /// For `bedrock`: the key that signs the requests, unless there is an `api_key`. If absent,
        /// `AWS_BEARER_TOKEN_BEDROCK` in the environment is the `api_key`, or else
        /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` sign.
        aws_access_key_id: Option<SecretSource> = source::word()
            .example("${AWS_ACCESS_KEY_ID}")
            .optional();
        /// The secret half of that key.
        aws_secret_access_key: Option<SecretSource> = source::key()
            .example("${AWS_SECRET_ACCESS_KEY}")
            .optional();
        /// What belongs to a key that is only lent.
        aws_session_token: Option<SecretSource> = source::key()
            .example("${AWS_SESSION_TOKEN}")
            .optional();
        /// Headers to send with every request, such as `{ "x-team" = "search" }`.
        headers: Vec<(String, SecretSource)> = map(
            "names of headers, each with its value",
            values::header_name,
            source::header_value(),
            ("x-team", "search"),
        );
        /// The models it serves. If absent, it is asked.
        models: Option<Vec<String>> = list(values::model().example("gpt-4o-mini")).or_all();
        /// Whether it is asked for the usage of every stream (`stream_options.include_usage`).
        /// Switch it off for servers that refuse the field. On unless its provider is known to.
        include_usage: Option<bool> = flag().example(true).optional();
        /// Certificates to trust beside those of the system: a file in PEM format.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
        /// Whether the name in `base_url` may lead to private addresses, such as those of a company's
        /// network, of containers or of this machine. An address that stands in `base_url` itself,
        /// and `localhost`, need it not.
        allow_private: bool = flag().or(false);
        /// Whether `base_url` may lead to link-local addresses, among them those where clouds give
        /// their machines credentials.
        allow_link_local: bool = flag().or(false);
        /// The most connections to it that are kept open while nobody needs them.
        idle_connections: usize = whole(0..=10_000).or(limits::UPSTREAM_IDLE_CONNECTIONS);
        /// How long such a connection is kept.
        idle_timeout: Duration = duration(SECOND..=HOUR).or(limits::UPSTREAM_IDLE_TIMEOUT);
        /// Whether it is spoken to in HTTP/2 if it offers that, which goes by TLS alone. Several
        /// requests then share a connection, and many share several.
        http2: bool = flag().or(true);
        /// The longest time for connecting, TLS included.
        connect_timeout: Duration = duration(MS..=HOUR).or(limits::UPSTREAM_CONNECT_TIMEOUT);
        /// The longest time to the head of an answer. Not bounded by itself if absent: some providers
        /// send it together with the first event.
        head_timeout: Option<Duration> = duration(MS..=DAY).example("30s").optional();
        /// The longest silence before the first event. Reasoning models think for minutes.
        first_event_timeout: Duration = duration(MS..=DAY)
            .or(limits::UPSTREAM_FIRST_EVENT_TIMEOUT);
        /// The longest silence between two events; heartbeats do not count.
        event_timeout: Duration = duration(MS..=DAY).or(limits::UPSTREAM_EVENT_TIMEOUT);
        /// The longest time for a whole answer. Not bounded if absent.
        total_timeout: Option<Duration> = duration(MS..=DAY).example("1h").optional();
        /// The most requests for one of its models under way at once. Those beyond go to another
        /// deployment of their route, or wait (`limits.queue`). Not bounded if absent.
        max_concurrency: Option<u32> = whole(1..=1_000_000).example(100).optional();
        /// Makes `max_concurrency` adapt itself: it falls, never below this, while the upstream refuses
        /// requests for want of room or starves them, and rises again with what is served.
        min_concurrency: Option<u32> = whole(1..=1_000_000).example(4).optional();
        /// How often it is asked whether it is there, beside what the traffic shows: a probe that
        /// fails counts against all its deployments on routes, one that is answered helps those
        /// that are left alone to come back. Not at all if absent.
        probe_interval: Option<Duration> = duration(SECOND..=HOUR).example("30s").optional();
        /// What such a probe gets, below `base_url`. The list of models if absent.
        probe_path: Option<String> = values::probe_path().example("/models").optional();
    }
}

choices! {
    /// The API that an upstream speaks.
    pub enum UpstreamDialect {
        /// OpenAI's chat completions, and what belongs to them.
        OpenAi = "openai",
        /// OpenAI's responses.
        Responses = "responses",
        /// Anthropic's messages.
        Anthropic = "anthropic",
        /// Google's Gemini API.
        Gemini = "gemini",
        /// AWS Bedrock's Converse.
        Bedrock = "bedrock",
        /// Cohere's chat.
        Cohere = "cohere",
    }
}

settings! {
    /// `[[keys]]`: a client's key.
    pub struct KeyConfig {
        /// The project it belongs to. Streams belong to projects: all keys of one see them all.
        project: ProjectId = values::project().example("web");
        /// The hash of the key. The key itself is kept by the client alone.
        hash: Digest = values::hash()
            .example(format!("sha256:{}", "0".repeat(64)))
            .unique();
        /// For generations of this key, instead of `streams.on_disconnect`.
        on_disconnect: Option<OnDisconnect> = values::on_disconnect()
            .example("continue")
            .optional();
    }
}

/// The text of a configuration file, and what to call it in messages.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file's name.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// What holds where nothing is configured.
impl Default for Config {
    fn default() -> Self {
        Self::parse(None, &Env::default()).expect("the defaults are free of mistakes")
    }
}

impl DatabaseConfig {
    /// Whether other machines may use it too.
    pub fn is_shared(&self) -> bool {
        let url = self.url.as_ref().map(Secret::expose);
        url.is_some_and(|url| !url.starts_with("sqlite:"))
    }
}

impl Config {
    /// Reads a configuration from a file, if there is one, and the environment.
    ///
    /// # Errors
    /// All mistakes, not only the first.
    pub fn parse(source: Option<Source<'_>>, env: &Env) -> Result<Self, ConfigErrors> {
        let mut reader = read::Reader::new(source, env);
        let document = reader.parse();
        let mut config = Self::read(reader.root(&document));
        reader.refuse_unknown_variables(&describe::variables(&Self::fields()));
        if let Some(config) = &mut config {
            check::add_keys_of_environment(config, &mut reader);
            upstream::complete(config, &mut reader);
            vault::complete(config, &mut reader);
            check::check(config, &mut reader);
            admin::check(config, &mut reader);
            routes::check(config, &mut reader);
            jwt::check(config, &mut reader);
            rate_limits::check(config, &mut reader);
            money::check(config, &mut reader);
            aws::check(config, &mut reader);
        }
        reader.finish(config)
    }
}
