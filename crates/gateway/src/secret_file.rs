//! Secrets that this gateway makes for itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const BYTES: usize = 32;

/// A random secret.
pub(crate) fn fresh() -> io::Result<[u8; BYTES]> {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret)
}

/// Makes a directory that nobody but its owner may look into, as prompts and answers lie there. One
/// that exists stays as open as it is.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The secret in `path`, which is made, readable by its owner alone, if it is not there yet. Of two
/// processes that make it at once, both get the same.
pub(crate) fn load_or_create(path: &Path) -> io::Result<[u8; BYTES]> {
    match fs::read(path) {
        Ok(bytes) => return whole(path, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = fresh()?;
    let unique = u64::from_ne_bytes(secret[..8].try_into().unwrap_or_default()) ^ 0x5eed;
    let draft = path.with_extension(format!("{unique:x}"));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    // A link, unlike a rename, fails if another process was quicker.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => whole(path, &fs::read(path)?),
        Err(error) => Err(error),
    }
}

fn whole(path: &Path, bytes: &[u8]) -> io::Result<[u8; BYTES]> {
    bytes.try_into().map_err(|_| {
        let message = format!("{} does not hold a secret of {BYTES} bytes", path.display());
        io::Error::other(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || load_or_create(&path).unwrap())
            })
            .collect();
        let secrets: Vec<_> = racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect();
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, b"short").unwrap();
        assert!(load_or_create(&path).is_err());
    }
}
