//! Where the configuration comes from.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use everstream_core::config::{Config, ConfigErrors, Env, Source};
use everstream_core::limits::CONFIG_FILE_BYTES;

/// Reads and checks the configuration: `file`, if there is one, and the environment.
///
/// # Errors
/// All mistakes at once, or the one reason why the file cannot be read.
pub fn config_from(file: Option<&Path>, env: &Env) -> Result<Config, ConfigErrors> {
    let Some(path) = file else {
        return Config::parse(None, env);
    };
    let name = path.display().to_string();
    let text = read(path).map_err(|why| ConfigErrors::unreadable(&name, &why))?;
    let (name, text) = (name.as_str(), text.as_str());
    Config::parse(Some(Source { name, text }), env)
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut file = file.take(CONFIG_FILE_BYTES + 1);
    file.read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if file.limit() == 0 {
        return Err(format!("it is larger than {CONFIG_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!("it is not UTF-8 from byte {valid} on")
    })
}

/// The environment of this process. What is not UTF-8 in it is made so, to be refused where it
/// matters instead of being overlooked.
pub fn environment() -> Env {
    let text = |part: std::ffi::OsString| part.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(content: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        std::fs::write(&path, content).unwrap();
        let errors = config_from(Some(&path), &Env::default())
            .unwrap_err()
            .to_string();
        errors.replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_mistake() {
        let large = vec![b'#'; 1 << 21];
        assert_eq!(
            errors(b"a = '\xff'"),
            "a.toml: the file cannot be read: it is not UTF-8 from byte 5 on"
        );
        assert_eq!(
            errors(&large),
            "a.toml: the file cannot be read: it is larger than 1048576 bytes"
        );
        let missing = config_from(Some(Path::new("/no/such.toml")), &Env::default()).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("/no/such.toml: the file cannot be read: No such")
        );
    }

    #[test]
    fn mistakes_name_the_file() {
        assert_eq!(
            errors(b"nod = 1"),
            "a.toml:1:1: nod: no such field; did you mean `node`?"
        );
    }
}
