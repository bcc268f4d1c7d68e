//! The configuration: one TOML file and the environment in, either a frozen [`Config`] or every
//! mistake out.
//!
//! What there is to set is declared once, by `settings!`: here, and for sections with checks or parts
//! of their own beside these. The checks, the JSON Schema and the documentation all come from that
//! declaration.

mod address;
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

pub use admin::{AdminConfig, AdminListen, OperatorConfig, OperatorRole};
pub use env::Env;
pub use jwt::{JwksSource, JwtIssuerConfig, TokenProject};
pub use mistake::{ConfigErrors, Mistake, Place};
pub use money::{BudgetsConfig, Otherwise, PriceConfig};
pub use rate_limits::RateLimitConfig;
pub use reference::{example, json_schema, markdown};
pub use routes::{DeploymentConfig, RouteConfig};
pub use source::SecretSource;
pub use upstream::{UpstreamConfig, UpstreamDialect};
pub use values::{key_hash, show_key_hash};
pub use vault::{VaultAuth, VaultConfig};

use crate::id::ProjectId;
use crate::limits;
use crate::network::Network;
use crate::policy::disconnect::OnDisconnect;
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
        listen: SocketAddr = address::listen()
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
        cors_origins: Vec<String> = list(address::origin().example("https://app.example.org"));
        /// Proxies in front of this gateway, by address or network: what they say of a client in
        /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` is believed. They have to set
        /// or drop these, never to pass on what a client sent. Of `X-Forwarded-For` the right-most
        /// address counts that is none of theirs.
        trusted_proxies: Vec<Network> = list(address::network().example("10.0.0.0/8"));
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
