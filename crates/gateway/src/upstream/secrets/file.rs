//! Secrets in files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use everstream_core::limits::SECRET_BYTES;
use everstream_core::secret::Secret;

use super::pace::Trouble;

/// What the file holds, without blanks and line ends around it.
pub(super) async fn read(path: &Path) -> Result<Secret, Trouble> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_now(&path));
    let read = reading.await.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(Trouble::unanswered)
}

fn read_now(path: &PathBuf) -> Result<Secret, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(told)?;
    let mut file = file.take(SECRET_BYTES as u64 + 1);
    file.read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() > SECRET_BYTES {
        return Err(format!(
            "{}: larger than {SECRET_BYTES} bytes",
            path.display()
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    match text.trim() {
        // It is being written, or nobody did yet.
        "" => Err(format!("{}: the file is empty", path.display())),
        text => Ok(Secret::new(text)),
    }
}
