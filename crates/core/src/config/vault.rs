//! What is needed to ask Vault.

use super::mistake::{Fault, Place};
use super::read::Reader;
use super::{Config, SecretSource, UpstreamConfig, VaultAuth, values};

/// Fills in what Vault's own tools read from the environment, if an upstream has a secret in it, and
/// checks that there is enough to ask it.
pub(super) fn complete(config: &mut Config, reader: &mut Reader<'_>) {
    let Some(user) = first_user(&config.upstreams) else {
        return;
    };
    if reader.is_torn() || reader.doubtful("vault") {
        return;
    }
    let vault = &mut config.vault;
    let variables = [
        ("VAULT_ADDR", &mut vault.address),
        ("VAULT_NAMESPACE", &mut vault.namespace),
    ];
    for (variable, slot) in variables {
        let Some(text) = reader.env().non_empty(variable).filter(|_| slot.is_none()) else {
            continue;
        };
        let read = if variable == "VAULT_ADDR" {
            values::url_of(text)
        } else {
            values::vault_path(text)
        };
        match read {
            Ok(value) => *slot = Some(value),
            Err(fault) => {
                let place = Place::Variable(variable.to_owned());
                reader.note(place, "vault", fault, None);
                return;
            }
        }
    }
    if vault.ca_file.is_none() {
        vault.ca_file = reader.env().non_empty("VAULT_CACERT").map(Into::into);
    }
    if vault.auth == VaultAuth::Token && vault.token.is_none() {
        let token = reader.env().non_empty("VAULT_TOKEN");
        let token = token.and_then(|token| values::key(token).ok());
        vault.token = token.map(SecretSource::Literal);
    }
    if vault.address.is_none() {
        let fault = Fault::from("it is in Vault, and nothing says where that is");
        reader.note_at(
            &user,
            fault.hint("set `address` in `[vault]`, or VAULT_ADDR"),
        );
    }
    let needed = match vault.auth {
        VaultAuth::Token => [("token", vault.token.is_some()), ("", true)],
        VaultAuth::AppRole => [
            ("role_id", vault.role_id.is_some()),
            ("secret_id", vault.secret_id.is_some()),
        ],
        VaultAuth::Kubernetes => [("role", vault.role.is_some()), ("", true)],
    };
    for (field, _) in needed.iter().filter(|(_, there)| !there) {
        let auth = vault.auth.as_str();
        let problem = format!("Vault cannot be asked by `{auth}` without it");
        let path = format!("vault.{field}");
        let fault = match vault.auth {
            VaultAuth::Token => Fault::from(problem).hint("set it, or VAULT_TOKEN"),
            _ => problem.into(),
        };
        reader.note_at(&path, fault);
    }
}

/// The field of the first secret that is in Vault.
fn first_user(upstreams: &[UpstreamConfig]) -> Option<String> {
    upstreams.iter().enumerate().find_map(|(index, upstream)| {
        let mut all = upstream.secrets();
        let (field, _) = all.find(|(_, source)| matches!(source, SecretSource::Vault { .. }))?;
        Some(format!("upstreams[{index}].{field}"))
    })
}
