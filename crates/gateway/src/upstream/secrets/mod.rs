//! Secrets of upstreams that are in files or in Vault: had at start, and followed when they change.
//!
//! What is held is used until there is something newer, whatever Vault or the disk say.

mod client;
mod file;
mod pace;
mod present;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use everstream_core::config::{Config, SecretSource, UpstreamConfig};
use everstream_core::limits::{SECRET_FILE_REFRESH, SECRET_HURRY_PATIENCE, SECRET_START_PATIENCE};
use everstream_core::policy::secrets::Life;
use everstream_core::secret::Secret;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{SpecError, Upstream, UpstreamSpec};
use crate::clock::Clock;
pub(crate) use pace::{Lent, Pace, Trouble};
use vault::{Entry, Session, VaultSecret};

/// What is in one place. A file has one field, without a name.
type Fields = BTreeMap<String, Secret>;

/// Follows secrets, and changes the upstreams that have them. Dropped with the last of these.
pub(super) struct Keeper {
    board: Arc<Board>,
    _tasks: JoinSet<()>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    File(PathBuf),
    Vault(String),
}

struct Item {
    pace: Pace,
    held: ArcSwapOption<Fields>,
}

/// What is known of all secrets, and who uses them.
struct Board {
    items: BTreeMap<Origin, Arc<Item>>,
    users: Mutex<Vec<User>>,
}

struct User {
    upstream: Weak<Upstream>,
    origins: BTreeSet<Origin>,
    describe: Describe,
}

/// Says what there is to say about an upstream, with secrets as they are now.
pub(super) type Describe = Box<
    dyn Fn(&dyn Fn(&SecretSource) -> Option<Secret>) -> Result<UpstreamSpec, SpecError>
        + Send
        + Sync,
>;

/// The part of an upstream in this: what it asks to be looked at when its provider refuses it.
pub(super) struct Kept {
    _keeper: Arc<Keeper>,
    items: Vec<Arc<Item>>,
    /// How many keys take turns, those that are not there yet as well.
    pub(super) keys: usize,
}

impl Keeper {
    /// Begins to follow all secrets of `config` that are elsewhere, and waits for a while until they
    /// are there. `None` if there are none.
    pub(super) async fn start(config: &Config) -> Result<Option<Arc<Self>>, SpecError> {
        let mut wanted: BTreeMap<Origin, BTreeSet<String>> = BTreeMap::new();
        for (_, source) in config.upstreams.iter().flat_map(UpstreamConfig::secrets) {
            if let Some((origin, field)) = place(source) {
                wanted.entry(origin).or_default().insert(field.to_owned());
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let clock = Clock::start();
        let mut tasks = JoinSet::new();
        let in_vault = |origin: &Origin| matches!(origin, Origin::Vault(_));
        let session = wanted.keys().any(in_vault);
        let session = session.then(|| Session::new(&config.vault, clock).map(Arc::new));
        let session = session.transpose()?;
        if let Some(session) = session.clone() {
            tasks.spawn(async move { session.pace.run(Entry(Arc::clone(&session))).await });
        }
        let board = Arc::new(Board::new(wanted.keys(), clock));
        for (origin, fields) in wanted {
            let item = Arc::clone(&board.items[&origin]);
            let publish = publisher(&board, &origin);
            match (origin, &session) {
                (Origin::Vault(path), Some(session)) => {
                    let secret = VaultSecret::new(session, path, fields, publish);
                    tasks.spawn(async move { item.pace.run(secret).await });
                }
                (Origin::File(path), _) => {
                    let secret = FileSecret { path, publish };
                    tasks.spawn(async move { item.pace.run(secret).await });
                }
                (Origin::Vault(_), None) => {}
            }
        }
        let decided = join_all(board.items.values().map(|item| item.pace.decided()));
        let _late = timeout(SECRET_START_PATIENCE, decided).await;
        Ok(Some(Arc::new(Self {
            board,
            _tasks: tasks,
        })))
    }

    /// Makes an upstream of what `describe` says, and changes it when its secrets do.
    pub(super) fn upstream(
        self: &Arc<Self>,
        config: &UpstreamConfig,
        describe: Describe,
    ) -> Result<Arc<Upstream>, SpecError> {
        let board = &self.board;
        let places = config.secrets().filter_map(|(_, source)| place(source));
        let origins: BTreeSet<Origin> = places.map(|(origin, _)| origin).collect();
        let mut upstream = Upstream::new(describe(&|source| board.find(source))?)?;
        if origins.is_empty() {
            return Ok(Arc::new(upstream));
        }
        let items = origins
            .iter()
            .map(|origin| Arc::clone(&board.items[origin]));
        upstream = upstream.kept(Kept {
            items: items.collect(),
            keys: config.keys().count().max(1),
            _keeper: Arc::clone(self),
        });
        let upstream = Arc::new(upstream);
        let user = User {
            upstream: Arc::downgrade(&upstream),
            origins,
            describe,
        };
        // They may have changed in between.
        user.change(board);
        board.users().push(user);
        Ok(upstream)
    }
}

impl Kept {
    /// A provider refused what it was called with: that is looked at early.
    pub(super) fn hurry(&self) {
        for item in &self.items {
            item.pace.hurry();
        }
    }

    /// The same, and waits for a moment until that is done.
    pub(super) async fn hurried(&self) {
        let done = join_all(self.items.iter().map(|item| item.pace.hurried()));
        let _late = timeout(SECRET_HURRY_PATIENCE, done).await;
    }
}

impl Board {
    fn new<'o>(origins: impl Iterator<Item = &'o Origin>, clock: Clock) -> Self {
        let item = |origin: &Origin| {
            let what = match origin {
                Origin::File(path) => format!("file:{}", path.display()),
                Origin::Vault(path) => format!("vault:{path}"),
            };
            let item = Item {
                pace: Pace::new(what, clock),
                held: ArcSwapOption::empty(),
            };
            (origin.clone(), Arc::new(item))
        };
        Self {
            items: origins.map(item).collect(),
            users: Mutex::default(),
        }
    }

    fn find(&self, source: &SecretSource) -> Option<Secret> {
        if let Some(secret) = source.literal() {
            return Some(secret.clone());
        }
        let (origin, field) = place(source)?;
        let held = self.items.get(&origin)?.held.load();
        held.as_ref()?.get(field).cloned()
    }

    fn users(&self) -> std::sync::MutexGuard<'_, Vec<User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read; if it is new, the upstreams that have it change.
    fn take(&self, origin: &Origin, fields: Fields) {
        let Some(item) = self.items.get(origin) else {
            return;
        };
        let fields = Arc::new(fields);
        if item.held.swap(Some(Arc::clone(&fields))) == Some(fields) {
            return;
        }
        let users = self.users();
        for user in users.iter().filter(|user| user.origins.contains(origin)) {
            user.change(self);
        }
    }
}

impl User {
    fn change(&self, board: &Board) {
        let Some(upstream) = self.upstream.upgrade() else {
            return;
        };
        let spec = (self.describe)(&|source| board.find(source));
        match spec.and_then(|spec| upstream.present(&spec)) {
            Ok(()) => tracing::info!(
                upstream = upstream.name(),
                "its secrets are as they are now"
            ),
            Err(error) => tracing::warn!("{error}: what it was called with before is kept"),
        }
    }
}

fn publisher(board: &Arc<Board>, origin: &Origin) -> impl FnMut(Fields) + Send + use<> {
    let (board, origin) = (Arc::clone(board), origin.clone());
    move |fields| board.take(&origin, fields)
}

struct FileSecret<F> {
    path: PathBuf,
    publish: F,
}

impl<F: FnMut(Fields) + Send> Lent for FileSecret<F> {
    async fn replace(&mut self) -> Result<Life, Trouble> {
        let secret = file::read(&self.path).await?;
        (self.publish)([(String::new(), secret)].into());
        Ok(Life::Watched(SECRET_FILE_REFRESH))
    }

    async fn renew(&mut self) -> Result<Duration, Trouble> {
        Err(Trouble::refused("a file is not lent"))
    }

    async fn superseded(&mut self) {
        std::future::pending::<()>().await;
    }
}

fn place(source: &SecretSource) -> Option<(Origin, &str)> {
    match source {
        SecretSource::Literal(_) => None,
        SecretSource::File(path) => Some((Origin::File(path.clone()), "")),
        SecretSource::Vault { path, field } => Some((Origin::Vault(path.clone()), field)),
    }
}
