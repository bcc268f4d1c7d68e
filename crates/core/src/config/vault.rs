//! `[vault]`: what is needed to ask Vault.

use std::path::PathBuf;
use std::time::Duration;

use super::describe::{choices, settings};
use super::kinds::{choice, duration};
use super::mistake::{Fault, Place};
use super::read::Reader;
use super::{Config, DAY, SECOND, SecretSource, UpstreamConfig, address, source, values};
use crate::limits;

settings! {
    /// `[vault]`: Vault or OpenBao, for secrets of upstreams (docs/secrets.md).
    pub struct VaultConfig {
        /// Where it is. If absent, `VAULT_ADDR`.
        address: Option<String> = address::base_url()
            .example("https://vault.internal:8200")
            .optional();
        /// How it knows this gateway.
        auth: VaultAuth = choice().or(VaultAuth::Token);
        /// For `token`: the token, best `file:` and where an agent keeps it. If absent, `VAULT_TOKEN`.
        token: Option<SecretSource> = source::outside_vault()
            .example("file:/run/vault/token")
            .optional();
        /// For `approle`: the id of the role.
        role_id: Option<String> = values::word().example("7d1b4c2e-everstream").optional();
        /// For `approle`: the secret of that id.
        secret_id: Option<SecretSource> = source::outside_vault()
            .example("file:/run/secrets/vault-secret-id")
            .optional();
        /// For `kubernetes`: the name of the role.
        role: Option<String> = values::word().example("everstream").optional();
        /// For `kubernetes`: the file with the token of the pod's service account.
        jwt_path: PathBuf = values::path()
            .or("/var/run/secrets/kubernetes.io/serviceaccount/token".into());
        /// Where the way to log in is mounted, if that is not its name.
        mount: Option<String> = values::vault_mount().example("kubernetes").optional();
        /// The namespace. If absent, `VAULT_NAMESPACE`.
        namespace: Option<String> = values::vault_mount().example("team").optional();
        /// Certificates to trust beside those of the system: a file in PEM format. If absent,
        /// `VAULT_CACERT` names it.
        ca_file: Option<PathBuf> = values::path().example("/etc/ssl/private-ca.pem").optional();
        /// How often a secret without a lease, such as one of KV, is read again.
        refresh: Duration = duration(SECOND..=DAY).or(limits::VAULT_REFRESH);
    }
}

choices! {
    /// How Vault knows this gateway.
    pub enum VaultAuth {
        /// By a token that it is given.
        Token = "token",
        /// By an `AppRole`.
        AppRole = "approle",
        /// By the service account of its pod.
        Kubernetes = "kubernetes",
    }
}

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
            address::url_of(text)
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
