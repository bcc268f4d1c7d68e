//! API keys: `es-<id>-<secret>`.
//!
//! The id is public. The secret is not random: it is derived from a master secret, the id, and the
//! number of rotations so far. So nothing has to be stored that could sign a request, and requests that
//! are signed with it can still be verified. What is stored is a keyed hash, which verifies keys that
//! are shown as they are.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hex::hex;
use crate::secret::Secret;

/// How the text of a key begins.
pub const PREFIX: &str = "es-";
/// Characters of an id.
pub const ID_CHARS: usize = 16;
/// Bytes of a secret; its text has twice as many characters.
const SECRET_BYTES: usize = 24;

/// The two parts of a key's text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyText<'a> {
    /// Its public id.
    pub id: &'a str,
    /// Its secret.
    pub secret: &'a str,
}

impl fmt::Debug for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-...", self.id)
    }
}

impl<'a> KeyText<'a> {
    /// Characters of a whole key.
    pub const CHARS: usize = PREFIX.len() + ID_CHARS + 1 + 2 * SECRET_BYTES;

    /// The parts of a text that has the form of a key.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('-')?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let whole = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(is_hex);
        (is_id(id) && whole).then_some(Self { id, secret })
    }
}

/// Whether this may be the id of a key.
pub fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() == ID_CHARS && text.bytes().all(allowed)
}

/// An id of 80 random bits.
pub fn id_of(random: [u8; 10]) -> String {
    // Five bits each, without the letters that are taken for others.
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = random
        .iter()
        .fold(0u128, |bits, &b| bits << 8 | u128::from(b));
    let digit = |n: usize| char::from(DIGITS[(bits >> (5 * n)) as usize % 32]);
    (0..ID_CHARS).map(digit).collect()
}

/// Makes and verifies keys with a master secret that all processes of an installation share.
#[derive(Clone)]
pub struct KeyMaster(Hmac<Sha256>);

impl fmt::Debug for KeyMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaster")
    }
}

impl KeyMaster {
    /// With this master secret.
    pub fn new(master: &[u8]) -> Self {
        Self(<Hmac<Sha256>>::new_from_slice(master).expect("HMAC takes a key of any length"))
    }

    /// The whole text of a key: `number` is 1 for its first secret, one more with each rotation.
    pub fn key(&self, id: &str, number: u32) -> Secret {
        Secret::new(format!("{PREFIX}{id}-{}", self.secret(id, number).expose()))
    }

    /// The secret of a key: what is behind its id, and what signs requests.
    pub fn secret(&self, id: &str, number: u32) -> Secret {
        let tag = self.mac("secret", id, &number.to_be_bytes());
        Secret::new(hex(&tag[..SECRET_BYTES]))
    }

    /// What is stored of a secret.
    pub fn hash(&self, key: KeyText<'_>) -> [u8; 32] {
        self.mac("stored", key.id, key.secret.as_bytes())
    }

    fn mac(&self, purpose: &str, id: &str, rest: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in [purpose.as_bytes(), id.as_bytes()] {
            mac.update(part);
            mac.update(&[0]);
        }
        mac.update(rest);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_made_and_each_is_another() {
        let master = KeyMaster::new(b"master");
        let id = id_of([7; 10]);
        let text = master.key(&id, 1);
        let key = KeyText::parse(text.expose()).expect("a key");
        assert_eq!(key.id, id);
        assert_eq!(key.secret, master.secret(&id, 1).expose());
        let hash = master.hash(key);
        assert_eq!(hash, master.hash(key));
        let others = [
            master.key(&id, 2),
            master.key(&id_of([8; 10]), 1),
            KeyMaster::new(b"another").key(&id, 1),
        ];
        for other in &others {
            assert_ne!(other.expose(), text.expose());
            let other = KeyText::parse(other.expose()).expect("a key");
            assert_ne!(master.hash(other), hash);
        }
        assert!(!format!("{key:?} {master:?}").contains(key.secret));
    }

    #[test]
    fn ids_use_all_of_their_bits() {
        let ids: std::collections::BTreeSet<_> = (0..10)
            .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
            .map(|(byte, bit)| {
                let mut random = [0; 10];
                random[byte] = 1 << bit;
                id_of(random)
            })
            .collect();
        assert_eq!(ids.len(), 80);
        assert!(ids.iter().all(|id| is_id(id)));
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let secret = "0".repeat(48);
        let id = "0123456789abcdef";
        assert!(KeyText::parse(&format!("es-{id}-{secret}")).is_some());
        for wrong in [
            String::new(),
            "es-".to_owned(),
            "sk-proj-1".to_owned(),
            format!("es-{id}"),
            format!("es-{id}-"),
            format!("es-{id}-{secret}0"),
            format!("es-{id}-{}", "G".repeat(48)),
            format!("es-{}-{secret}", &id[1..]),
            format!("es-{}-{secret}", id.to_uppercase()),
            format!("ES-{id}-{secret}"),
            format!("es-é{}-{secret}", &id[2..]),
        ] {
            assert_eq!(KeyText::parse(&wrong), None, "{wrong}");
        }
    }
}
