//! `SQLite`.

use std::sync::Arc;

use everstream_store::sql::Catalog;
use everstream_store::sql::conformance::{self, Backend, Instance};
use everstream_store::sql::sqlite::{SqliteConfig, open};

use crate::random;

pub(crate) struct Files;

struct File(tempfile::TempDir);

impl Backend for Files {
    fn open(&self) -> Box<dyn Instance> {
        Box::new(File(tempfile::tempdir().unwrap()))
    }
}

impl Instance for File {
    fn catalog(&self) -> Arc<dyn Catalog> {
        open(SqliteConfig::new(self.0.path().join("control.db")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    conformance::run(&Files).await;
}

#[test]
fn money_equals_the_model() {
    random::equals_the_model(150, || Files.open());
}
