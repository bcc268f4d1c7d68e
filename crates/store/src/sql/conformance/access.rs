//! Keys.

use super::{HOUR, Instance, acme, at, by, key_id, new_key, project};
use crate::sql::values::{Allow, ApiKey, Expiry, KeyPatch, NewKey, Scopes, SecretHash};
use crate::sql::{Catalog, CatalogError};

fn live(key: &ApiKey, millis: u64) -> Vec<u8> {
    key.live_secrets(at(millis))
        .map(|secret| secret.hash.0[0])
        .collect()
}

pub(super) async fn keys(instance: &dyn Instance) {
    let catalog = instance.catalog();
    acme(&*catalog).await;
    let scopes = Scopes {
        surfaces: Allow::Only(vec!["chat_completions".to_owned()]),
        models: Allow::Only(vec!["small".to_owned(), "gpt-*".to_owned()]),
        topics: Allow::Only(Vec::new()),
        limits: ["requests=60/1m", "concurrency=5"]
            .map(|text| text.parse().expect("a limit"))
            .to_vec(),
    };
    let new = NewKey {
        scopes: scopes.clone(),
        expires_at: Some(at(5_000)),
        ..new_key("key00002", "app")
    };
    let made = catalog
        .create_key(&by(at(10)), &new)
        .await
        .expect("created");
    assert_eq!(made.scopes, scopes);
    assert_eq!(made.organisation, project("acme"));
    assert_eq!((made.created_at, made.revoked_at), (at(10), None));
    assert_eq!(made.secrets.len(), 1);
    assert_eq!(live(&made, 4_999), [7]);
    assert!(live(&made, 5_000).is_empty());
    assert_eq!(
        catalog.key(&new.id).await.expect("found"),
        Some(made.clone())
    );
    assert_eq!(catalog.key(&key_id("unknown1")).await.expect("asked"), None);

    let again = catalog.create_key(&by(at(11)), &new).await;
    assert!(matches!(
        again,
        Err(CatalogError::Exists { what: "key", .. })
    ));
    let limits = vec!["requests=60/1m".parse().expect("a limit"); 17];
    let crowded = NewKey {
        scopes: Scopes {
            limits,
            ..Scopes::default()
        },
        ..new_key("key00004", "app")
    };
    let crowded = catalog.create_key(&by(at(11)), &crowded).await;
    assert!(matches!(crowded, Err(CatalogError::Invalid(_))));
    let orphan = catalog
        .create_key(&by(at(11)), &new_key("key00003", "nobody"))
        .await;
    assert!(matches!(
        orphan,
        Err(CatalogError::NotFound {
            what: "project",
            ..
        })
    ));

    let changed = changes(&*catalog, made).await;
    pages(&*catalog, &changed).await;
}

async fn changes(catalog: &dyn Catalog, made: ApiKey) -> ApiKey {
    let nothing = KeyPatch::default();
    let unchanged = catalog.change_key(&by(at(12)), &made.id, &nothing).await;
    assert_eq!(unchanged.expect("changed"), made);
    let widen = KeyPatch {
        surfaces: Some(Allow::All),
        models: Some(Allow::All),
        topics: Some(Allow::All),
        limits: Some(Vec::new()),
        expiry: Some(Expiry::Never),
    };
    let changed = catalog
        .change_key(&by(at(12)), &made.id, &widen)
        .await
        .expect("changed");
    assert_eq!(
        changed,
        ApiKey {
            scopes: Scopes::default(),
            expires_at: None,
            ..made
        }
    );
    let nobody = catalog
        .change_key(&by(at(12)), &key_id("unknown1"), &widen)
        .await;
    assert!(matches!(
        nobody,
        Err(CatalogError::NotFound { what: "key", .. })
    ));
    changed
}

async fn pages(catalog: &dyn Catalog, of_app: &ApiKey) {
    for n in 3..8 {
        let new = new_key(&format!("key0000{n}"), "web");
        catalog
            .create_key(&by(at(13)), &new)
            .await
            .expect("created");
    }
    let all = catalog.keys(None, None, 99).await.expect("listed");
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by_key(|key| key.id.clone()));
    let page = catalog
        .keys(None, Some(&key_id("key00002")), 2)
        .await
        .expect("listed");
    assert_eq!(page[..], all[2..4]);
    let found = catalog
        .keys(Some(&project("app")), None, 9)
        .await
        .expect("listed");
    assert_eq!(found, std::slice::from_ref(of_app));
}

pub(super) async fn rotation(instance: &dyn Instance) {
    let catalog = instance.catalog();
    acme(&*catalog).await;
    let id = key_id("key00001");
    let rotate = async |millis: u64, hash: u8, until: u64| {
        let rotated = catalog
            .rotate_key(&by(at(millis)), &id, SecretHash([hash; 32]), at(until))
            .await;
        rotated.expect("rotated")
    };
    let key = rotate(100, 8, 1_000).await;
    assert_eq!(live(&key, 999), [8, 7]);
    assert_eq!(live(&key, 1_000), [8]);
    // A second rotation within the overlap: two live secrets at most.
    let key = rotate(200, 9, 2_000).await;
    assert_eq!(live(&key, 300), [9, 8]);
    assert_eq!(live(&key, 2_000), [9]);
    assert_eq!(key.secrets[0].number, 3);
    // With no overlap the old one ends at once.
    let key = rotate(3_000, 10, 3_000).await;
    assert_eq!(live(&key, 3_000), [10]);
    assert_eq!(catalog.key(&id).await.expect("found"), Some(key));
    let nobody = catalog
        .rotate_key(&by(at(1)), &key_id("unknown1"), SecretHash([1; 32]), at(1))
        .await;
    assert!(matches!(
        nobody,
        Err(CatalogError::NotFound { what: "key", .. })
    ));
}

/// Of several who change different things of one key, each finds what it has changed.
pub(super) async fn changes_at_once(instance: &dyn Instance) {
    acme(&*instance.catalog()).await;
    let only = |n: u64| Allow::Only(vec![format!("name-{n}")]);
    let patch = move |process: usize, n: u64| match process {
        0 => KeyPatch {
            surfaces: Some(only(n)),
            ..KeyPatch::default()
        },
        1 => KeyPatch {
            models: Some(only(n)),
            ..KeyPatch::default()
        },
        2 => KeyPatch {
            topics: Some(only(n)),
            ..KeyPatch::default()
        },
        _ => KeyPatch {
            expiry: Some(Expiry::At(at(HOUR + n))),
            ..KeyPatch::default()
        },
    };
    let has = move |process: usize, n: u64, key: &ApiKey| match process {
        0 => key.scopes.surfaces == only(n),
        1 => key.scopes.models == only(n),
        2 => key.scopes.topics == only(n),
        _ => key.expires_at == Some(at(HOUR + n)),
    };
    let id = key_id("key00001");
    let mut processes = tokio::task::JoinSet::new();
    for process in 0..4 {
        let (catalog, id) = (instance.catalog(), id.clone());
        processes.spawn(async move {
            for n in 0..12 {
                let wish = patch(process, n);
                let changed = catalog.change_key(&by(at(n)), &id, &wish).await;
                assert!(has(process, n, &changed.expect("changed")));
                let found = catalog.key(&id).await.expect("found").expect("kept");
                assert!(has(process, n, &found), "change {n} of {process} is lost");
            }
        });
    }
    processes.join_all().await;
    let found = instance.catalog().key(&id).await;
    let found = found.expect("found").expect("kept");
    for process in 0..4 {
        assert!(has(process, 11, &found), "the last of {process} is lost");
    }
}

pub(super) async fn revocation(instance: &dyn Instance) {
    let catalog = instance.catalog();
    acme(&*catalog).await;
    let id = key_id("key00001");
    catalog
        .revoke_key(&by(at(100)), &id)
        .await
        .expect("revoked");
    let key = catalog.key(&id).await.expect("found").expect("kept");
    assert_eq!(key.revoked_at, Some(at(100)));
    assert!(live(&key, 99).is_empty());
    let cursor = catalog.cursor().await.expect("asked");
    catalog
        .revoke_key(&by(at(200)), &id)
        .await
        .expect("revoked");
    let key = catalog.key(&id).await.expect("found").expect("kept");
    assert_eq!(key.revoked_at, Some(at(100)));
    assert_eq!(catalog.cursor().await.expect("asked"), cursor);
    let rotated = catalog
        .rotate_key(&by(at(300)), &id, SecretHash([1; 32]), at(400))
        .await;
    assert!(matches!(rotated, Err(CatalogError::Invalid(_))));
    let patched = catalog
        .change_key(&by(at(300)), &id, &KeyPatch::default())
        .await;
    assert!(matches!(patched, Err(CatalogError::Invalid(_))));
    let nobody = catalog.revoke_key(&by(at(1)), &key_id("unknown1")).await;
    assert!(matches!(
        nobody,
        Err(CatalogError::NotFound { what: "key", .. })
    ));
}
