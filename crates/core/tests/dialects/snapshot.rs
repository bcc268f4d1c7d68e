use std::fs;
use std::path::{Path, PathBuf};

/// The files of golden transcripts.
pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden inputs in a folder whose names end so, sorted.
pub(crate) fn inputs(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(golden().join(folder)).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(ending) && !name.contains(".to_")
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// Compares with the stored file; `UPDATE=1` writes it anew.
pub(crate) fn check(path: &Path, is: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, is).unwrap();
        return;
    }
    let was = fs::read_to_string(path).unwrap_or_default();
    assert!(
        was == is,
        "{} is stale: look at what changed, and run the tests with UPDATE=1.\n--- was\n{was}\n--- is\n{is}",
        path.display()
    );
}
