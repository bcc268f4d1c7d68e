//! Text that must not be seen.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::limits::FORMER_SECRETS;

/// A key or a token. It can be used, but not printed: `Debug` and `Display` show `[secret]`, and it
/// cannot be serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("[secret]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Everything that somebody was or is called with, so that it can be hidden where they quote it. What
/// is added to one is known to all its clones.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<RwLock<Arc<[Secret]>>>);

impl Secrets {
    /// Those that are in use from now on; those before, the newest first, are kept up to
    /// [`FORMER_SECRETS`].
    pub fn replace(&self, current: impl IntoIterator<Item = Secret>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Secret> = current.into_iter().collect();
        let most = all.len() + FORMER_SECRETS;
        for former in &**held {
            if !all.contains(former) && all.len() < most {
                all.push(former.clone());
            }
        }
        *held = all.into();
    }

    /// All that are known now.
    pub fn all(&self) -> Arc<[Secret]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use super::*;
    use crate::sign::api_key::KeyMaster;

    #[test]
    fn cannot_be_printed() {
        let secret = Secret::new("sk-planted");
        assert_eq!(format!("{secret} {secret:?}"), "[secret] [secret]");
        assert_eq!(secret.expose(), "sk-planted");
    }

    /// What a type itself says beats what is said of all types: so it is seen which of the two holds.
    struct Probe<T>(PhantomData<T>);

    impl<T: serde::Serialize> Probe<T> {
        const IS_SERIALIZED: bool = true;
    }

    trait Otherwise {
        const IS_SERIALIZED: bool = false;
    }

    impl<T> Otherwise for Probe<T> {}

    #[test]
    fn cannot_be_serialized() {
        const {
            assert!(<Probe<String>>::IS_SERIALIZED);
            assert!(!<Probe<Secret>>::IS_SERIALIZED);
            assert!(!<Probe<Secrets>>::IS_SERIALIZED);
            assert!(!<Probe<KeyMaster>>::IS_SERIALIZED);
        }
    }

    #[test]
    fn former_secrets_are_known_to_all_clones() {
        let secrets = Secrets::default();
        let clone = secrets.clone();
        let of = |n: usize| Secret::new(format!("secret-{n}"));
        for n in 0..100 {
            secrets.replace([of(n), of(1_000)]);
        }
        let all = clone.all();
        assert_eq!(all.len(), 2 + FORMER_SECRETS);
        assert_eq!(all[..4], [of(99), of(1_000), of(98), of(97)]);
        // One that comes back is not there twice.
        secrets.replace([of(98)]);
        assert_eq!(clone.all()[..3], [of(98), of(99), of(1_000)]);
        assert_eq!(clone.all().iter().filter(|s| **s == of(98)).count(), 1);
    }
}
