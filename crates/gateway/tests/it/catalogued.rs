//! Keys of the catalogue.

use std::time::Duration;

use everstream_core::id::UnixMillis;
use everstream_core::secret::Secret;
use everstream_core::sign::api_key::{KeyMaster, KeyText, id_of};
use everstream_store::sql::Catalog;
use everstream_store::sql::values::{Actor, KeyId, NewKey, Scopes, SecretHash};

use crate::harness::{Gateway, within};

/// Who changes the catalogue in tests.
pub fn tester(at: UnixMillis) -> Actor {
    Actor {
        who: "test".to_owned(),
        at,
    }
}

/// What the catalogue keeps of the secret with this number.
pub fn hash(master: &KeyMaster, id: &KeyId, number: u32) -> SecretHash {
    let text = master.key(id.as_str(), number);
    SecretHash(master.hash(KeyText::parse(text.expose()).unwrap()))
}

/// Makes a key of project `web`, whom `acme` pays for, and says what its client sends; `n` tells it
/// from others.
pub async fn make(
    catalog: &dyn Catalog,
    master: &KeyMaster,
    by: &Actor,
    n: u8,
    scopes: Scopes,
) -> (KeyId, Secret) {
    let (acme, web) = ("acme".parse().unwrap(), "web".parse().unwrap());
    // They may be there already.
    let _ = catalog.create_organisation(by, &acme, "Acme").await;
    let _ = catalog.create_project(by, &acme, &web, "Web").await;
    let id: KeyId = id_of([n; 10]).parse().unwrap();
    let key = NewKey {
        id: id.clone(),
        project: web,
        name: "a key".to_owned(),
        scopes,
        hash: hash(master, &id, 1),
        expires_at: None,
    };
    catalog.create_key(by, &key).await.unwrap();
    let text = master.key(id.as_str(), 1);
    (id, text)
}

/// The same of a gateway's catalogue. The gateway knows it when this returns.
pub async fn key(gateway: &Gateway, n: u8, scopes: Scopes) -> (KeyId, Secret) {
    let directory = gateway.app.access.directory().unwrap();
    let by = tester(gateway.app.clock.now());
    let made = make(&**directory.catalog(), directory.master(), &by, n, scopes).await;
    within(async {
        while directory.known(made.0.as_str()).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    made
}
