//! Who comes to the listener for operators.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use everstream_core::config::{AdminConfig, OperatorRole, key_hash};
use everstream_core::error::{Error, ErrorCode};
use everstream_core::record::Digest;

/// An operator.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    /// The name, as the audit log has it.
    pub(super) name: Arc<str>,
    /// What it may do.
    pub(super) role: OperatorRole,
}

/// All operators, each with the hash of the key.
pub(super) struct Operators(Vec<(Digest, Operator)>);

impl Operators {
    /// Those of the configuration. Who has a name goes by it, also with the key that is everybody's.
    pub(super) fn new(config: &AdminConfig) -> Self {
        let named = config.operators.iter().map(|one| {
            let name = one.name.as_str().into();
            let role = one.role;
            (key_hash(one.key.expose()), Operator { name, role })
        });
        let own = config.key.iter().map(|key| {
            let name = "operator".into();
            let role = OperatorRole::Write;
            (key_hash(key.expose()), Operator { name, role })
        });
        Self(named.chain(own).collect())
    }

    /// Whose key this is; anybody's if there are no keys.
    pub(super) fn known(&self, key: &str) -> Result<Operator, Error> {
        if self.0.is_empty() {
            return Ok(Operator {
                name: "anybody".into(),
                role: OperatorRole::Write,
            });
        }
        // Of hashes, so that the time tells nothing of the length either, and all of them, so that it
        // does not tell whose it is.
        let presented = key_hash(key);
        let is_right = |hash: &Digest| verify_slices_are_equal(&hash.0, &presented.0).is_ok();
        let known = self.0.iter().rev().fold(None, |known, (hash, operator)| {
            if is_right(hash) {
                Some(operator)
            } else {
                known
            }
        });
        known.cloned().ok_or_else(|| {
            let message = "This listener wants an operator's key, as `Authorization: Bearer <key>`: \
                           `key` in `[admin]`, or one of `[[admin.operators]]`. Keys of clients are \
                           none.";
            Error::new(ErrorCode::Unauthorized, message)
        })
    }
}
