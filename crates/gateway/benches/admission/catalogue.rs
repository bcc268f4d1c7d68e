//! Catalogues of many keys.

use std::path::PathBuf;

use everstream_core::id::UnixMillis;
use everstream_core::sign::api_key::{KeyMaster, KeyText, id_of};
use everstream_store::sql::Catalog;
use everstream_store::sql::sqlite::{self, SqliteConfig};
use everstream_store::sql::values::{Actor, NewKey, Scopes, SecretHash};

/// What all keys are derived from.
pub(crate) const MASTER: [u8; 32] = *b"a master secret of the benchmark";
/// Whose they are.
pub(crate) const PROJECT: &str = "web";
/// And who pays for that.
pub(crate) const ORGANISATION: &str = "acme";

/// The file of a catalogue of so many keys, which lies there from an earlier run, or is made.
pub(crate) async fn catalogue(size: usize, master: &KeyMaster) -> PathBuf {
    let dir = directory();
    let whole = dir.join(format!("keys-{size}.db"));
    if !whole.exists() {
        let draft = dir.join(format!("keys-{size}.draft.db"));
        for rest in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{rest}", draft.display()));
        }
        eprintln!("making {size} keys");
        let catalog = sqlite::open(&SqliteConfig::new(&draft));
        fill(&*catalog, size, master).await;
        catalog.close().await;
        std::fs::rename(&draft, &whole).expect("moved");
    }
    whole
}

/// Where files of the benchmark are.
pub(crate) fn directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target =
        target.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target").into());
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

async fn fill(catalog: &dyn Catalog, size: usize, master: &KeyMaster) {
    let by = Actor {
        who: "bench".to_owned(),
        at: UnixMillis(1),
    };
    let (acme, web) = (
        ORGANISATION.parse().expect("an id"),
        PROJECT.parse().expect("an id"),
    );
    let made = catalog.create_organisation(&by, &acme, "Acme").await;
    made.expect("made");
    let made = catalog.create_project(&by, &acme, &web, "Web").await;
    made.expect("made");
    for n in 0..size {
        let id = id(n);
        let text = master.key(&id, 1);
        let text = KeyText::parse(text.expose()).expect("a key");
        let key = NewKey {
            id: id.parse().expect("an id"),
            project: web.clone(),
            name: "bench".to_owned(),
            scopes: Scopes::default(),
            hash: SecretHash(master.hash(text)),
            expires_at: None,
        };
        catalog.create_key(&by, &key).await.expect("made");
    }
}

/// The `n`th id.
pub(crate) fn id(n: usize) -> String {
    let mut bits = [0; 10];
    // Ids are random: neighbours do not lie side by side.
    let n = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits[..8].copy_from_slice(&n.to_be_bytes());
    id_of(bits)
}
