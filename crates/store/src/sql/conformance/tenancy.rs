//! Organisations and projects.

use super::{Instance, acme, at, by, key_id, project};
use crate::sql::CatalogError;
use crate::sql::values::Tenant;

pub(super) async fn organisations_and_projects(instance: &dyn Instance) {
    let catalog = instance.catalog();
    let payer = acme(&*catalog).await;
    let by = by(at(1));
    let again = catalog
        .create_organisation(&by, &project("acme"), "Another")
        .await;
    assert!(matches!(
        again,
        Err(CatalogError::Exists {
            what: "organisation",
            ..
        })
    ));
    let orphan = catalog
        .create_project(&by, &project("nobody"), &project("x"), "X")
        .await;
    assert!(matches!(
        orphan,
        Err(CatalogError::NotFound {
            what: "organisation",
            ..
        })
    ));
    let other = project("other");
    catalog
        .create_organisation(&by, &other, "Other")
        .await
        .expect("created");
    let taken = catalog
        .create_project(&by, &other, &payer.project, "Web")
        .await;
    assert!(matches!(
        taken,
        Err(CatalogError::Exists {
            what: "project",
            ..
        })
    ));
    for name in ["", "  ", "two\nlines", "zero\0", &"x".repeat(201)] {
        let refused = catalog
            .create_organisation(&by, &project("odd"), name)
            .await;
        assert!(matches!(refused, Err(CatalogError::Invalid(_))), "{name:?}");
    }

    // Ids are ordered byte by byte, whatever the locale of the database.
    for name in ["Web", "_x", "web-1", "w.b", "zoo", "Zoo"] {
        let made = catalog
            .create_project(&by, &other, &project(name), "Ünïcode 名")
            .await;
        assert_eq!(made.expect("created").name, "Ünïcode 名");
    }
    let mut found = Vec::new();
    let mut last = None;
    loop {
        let page = catalog
            .projects(None, last.as_ref(), 3)
            .await
            .expect("listed");
        assert!(page.len() <= 3);
        found.extend(page.iter().map(|project| project.id.to_string()));
        match page.last() {
            Some(one) => last = Some(one.id.clone()),
            None => break,
        }
    }
    let mut expected = vec!["Web", "_x", "web-1", "w.b", "zoo", "Zoo", "web", "app"];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let of_acme = catalog
        .projects(Some(&project("acme")), None, 9)
        .await
        .expect("listed");
    assert_eq!(of_acme.len(), 2);
    let all = catalog.organisations(None, 9).await.expect("listed");
    assert_eq!(
        all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["Acme", "Other"]
    );
    assert_eq!(all[1].created_at, at(1));
}

pub(super) async fn suspension(instance: &dyn Instance) {
    let catalog = instance.catalog();
    acme(&*catalog).await;
    let by = by(at(1));
    let id = key_id("key00001");
    let is_good = async || {
        let key = catalog.key(&id).await.expect("found").expect("found");
        key.is_good(at(2))
    };
    let suspended = async || {
        let found = catalog.project(&project("web")).await.expect("found");
        found.expect("found").suspended
    };
    let (web, acme) = (
        Tenant::Project(project("web")),
        Tenant::Organisation(project("acme")),
    );
    assert!(is_good().await && !suspended().await);
    catalog.suspend(&by, &web, true).await.expect("suspended");
    assert!(!is_good().await && suspended().await);
    catalog.suspend(&by, &acme, true).await.expect("suspended");
    catalog.suspend(&by, &web, false).await.expect("resumed");
    assert!(!is_good().await && suspended().await);
    catalog.suspend(&by, &acme, false).await.expect("resumed");
    assert!(is_good().await && !suspended().await);
    let web = catalog.project(&project("web")).await.expect("found");
    let all = catalog.projects(None, None, 9).await.expect("found");
    assert_eq!(web, all.into_iter().find(|one| one.id == project("web")));
    let nobody = catalog.project(&project("nobody")).await;
    assert_eq!(nobody.expect("looked up"), None);
    let nobody = catalog
        .suspend(&by, &Tenant::Project(project("nobody")), true)
        .await;
    assert!(matches!(
        nobody,
        Err(CatalogError::NotFound {
            what: "project",
            ..
        })
    ));
    let nobody = catalog
        .suspend(&by, &Tenant::Organisation(project("nobody")), true)
        .await;
    assert!(matches!(
        nobody,
        Err(CatalogError::NotFound {
            what: "organisation",
            ..
        })
    ));
}
