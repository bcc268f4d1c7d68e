//! The gateway's token at Vault, and the secrets that it reads with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use everstream_core::config::{SecretSource, VaultAuth, VaultConfig};
use everstream_core::policy::secrets::{Failure, Life};
use everstream_core::secret::Secret;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{self, Client, Question};
use super::pace::{Lent, Pace, Trouble};
use super::{Fields, file};
use crate::clock::Clock;
use crate::upstream::SpecError;

/// The way to one Vault, and the token of this process there.
pub(super) struct Session {
    client: Client,
    config: VaultConfig,
    /// When the token is renewed, and when the next login is.
    pub(super) pace: Pace,
    login: watch::Sender<Login>,
    /// Something was denied to the token.
    suspected: AtomicBool,
}

#[derive(Clone, Default)]
struct Login {
    token: Option<Token>,
    /// The last answer to a login was a no.
    refused: bool,
}

#[derive(Clone)]
struct Token {
    secret: Secret,
    /// Counts logins that gave another token.
    number: u64,
}

impl Session {
    pub(super) fn new(config: &VaultConfig, clock: Clock) -> Result<Self, SpecError> {
        let address = config.address.as_deref().unwrap_or_default();
        Ok(Self {
            client: Client::new(config)?,
            config: config.clone(),
            pace: Pace::new(format!("the login at Vault ({address})"), clock),
            login: watch::Sender::default(),
            suspected: AtomicBool::new(false),
        })
    }

    async fn log_in(&self) -> Result<(Secret, Life), Trouble> {
        let config = &self.config;
        let body = match config.auth {
            VaultAuth::Token => return self.take().await,
            VaultAuth::AppRole => {
                let secret_id = given(config.secret_id.as_ref()).await?;
                json!({"role_id": config.role_id, "secret_id": secret_id.expose()})
            }
            VaultAuth::Kubernetes => {
                let jwt = file::read(&config.jwt_path).await?;
                json!({"role": config.role, "jwt": jwt.expose()})
            }
        };
        let mount = config.mount.as_deref().unwrap_or(config.auth.as_str());
        let path = format!("auth/{mount}/login");
        let answer = self.ask(&path, None, Some(body)).await?;
        let login = answer
            .auth
            .ok_or_else(|| Trouble::unanswered("the answer holds no token"))?;
        let life = life(login.lease_duration, login.renewable);
        Ok((Secret::new(login.client_token), life))
    }

    /// The token that is given.
    async fn take(&self) -> Result<(Secret, Life), Trouble> {
        let source = self.config.token.as_ref();
        let token = given(source).await?;
        let life = match (self.look_up(&token).await?, source) {
            // Somebody may put another into the file.
            (Life::Endless, Some(SecretSource::File(_))) => Life::Watched(self.config.refresh),
            (life, _) => life,
        };
        Ok((token, life))
    }

    /// How long a token is still good.
    async fn look_up(&self, token: &Secret) -> Result<Life, Trouble> {
        let path = "auth/token/lookup-self";
        let answer = self.ask(path, Some(token), None).await?;
        let data = answer.data.unwrap_or_default();
        let ttl = data.get("ttl").and_then(Value::as_u64).unwrap_or(0);
        let renewable = data.get("renewable").and_then(Value::as_bool);
        Ok(life(ttl, renewable.unwrap_or(false)))
    }

    async fn ask(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: Option<Value>,
    ) -> Result<client::Answer, Trouble> {
        self.client.ask(Question { path, token, body }).await
    }

    fn token(&self) -> Option<Secret> {
        let login = self.login.borrow();
        login.token.as_ref().map(|token| token.secret.clone())
    }

    /// A token may be at its end before its time: whoever revokes one tells nobody.
    fn suspect(&self, number: u64) {
        let now = self.login.borrow().token.as_ref().map(|token| token.number);
        if now == Some(number) {
            self.suspected.store(true, Ordering::Relaxed);
            self.pace.hurry();
        }
    }
}

/// The token, as something that is lent.
pub(super) struct Entry(pub(super) Arc<Session>);

impl Lent for Entry {
    async fn replace(&mut self) -> Result<Life, Trouble> {
        // What a policy denies is no reason for another token: all leases would end with this one.
        if self.0.suspected.swap(false, Ordering::Relaxed)
            && let Some(token) = self.0.token()
            && let Ok(life) = self.0.look_up(&token).await
        {
            return Ok(life);
        }
        let entered = self.0.log_in().await;
        self.0.login.send_modify(|login| match &entered {
            Ok((secret, _)) => {
                let held = login.token.as_ref();
                if held.is_none_or(|held| held.secret != *secret) {
                    login.token = Some(Token {
                        secret: secret.clone(),
                        number: held.map_or(0, |held| held.number + 1),
                    });
                }
                login.refused = false;
            }
            Err(trouble) => login.refused = trouble.failure == Failure::Refused,
        });
        entered.map(|(_, life)| life)
    }

    async fn renew(&mut self) -> Result<Duration, Trouble> {
        let token = self.0.token();
        let path = "auth/token/renew-self";
        let answer = self.0.ask(path, token.as_ref(), Some(json!({}))).await?;
        let time = answer.auth.map_or(0, |login| login.lease_duration);
        Ok(Duration::from_secs(time))
    }

    async fn superseded(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// What Vault has at one path.
pub(super) struct VaultSecret<F> {
    session: Arc<Session>,
    login: watch::Receiver<Login>,
    path: String,
    /// The fields that are wanted.
    wanted: BTreeSet<String>,
    /// Makes it known.
    found: F,
    lease: Option<String>,
    /// The number of the token that it was read with.
    read_by: Option<u64>,
    /// It is there, and does not end with that token.
    settled: bool,
}

impl<F: FnMut(Fields) + Send> VaultSecret<F> {
    pub(super) fn new(
        session: &Arc<Session>,
        path: String,
        wanted: BTreeSet<String>,
        found: F,
    ) -> Self {
        Self {
            session: Arc::clone(session),
            login: session.login.subscribe(),
            path,
            wanted,
            found,
            lease: None,
            read_by: None,
            settled: false,
        }
    }

    async fn read(&mut self) -> Result<Life, Trouble> {
        let known = |login: &Login| login.token.is_some() || login.refused;
        let login = self.login.wait_for(known).await;
        let token = login.ok().and_then(|login| login.token.clone());
        let token = token.ok_or_else(|| Trouble::refused("there is no token to read it with"))?;
        self.read_by = Some(token.number);
        let answer = self
            .session
            .ask(&self.path, Some(&token.secret), None)
            .await;
        let answer = answer.inspect_err(|trouble| self.doubt(trouble, token.number))?;
        let fields = client::fields(answer.data);
        if let Some(missing) = self.wanted.iter().find(|name| !fields.contains_key(*name)) {
            return Err(Trouble::refused(format!(
                "it has no field `{missing}` with a text"
            )));
        }
        self.lease = Some(answer.lease_id).filter(|id| !id.is_empty());
        (self.found)(fields);
        Ok(match self.lease {
            Some(_) => life(answer.lease_duration, answer.renewable),
            None => Life::Watched(self.session.config.refresh),
        })
    }

    /// Whoever is not let read may have a token that ended.
    fn doubt(&self, trouble: &Trouble, number: u64) {
        if trouble.denied {
            self.session.suspect(number);
        }
    }
}

impl<F: FnMut(Fields) + Send> Lent for VaultSecret<F> {
    async fn replace(&mut self) -> Result<Life, Trouble> {
        let read = self.read().await;
        self.settled = read.is_ok() && self.lease.is_none();
        read
    }

    async fn renew(&mut self) -> Result<Duration, Trouble> {
        let Some(lease) = &self.lease else {
            return Err(Trouble::refused("it has no lease"));
        };
        let token = self.session.token();
        let body = json!({"lease_id": lease});
        let answer = self
            .session
            .ask("sys/leases/renew", token.as_ref(), Some(body));
        Ok(Duration::from_secs(answer.await?.lease_duration))
    }

    async fn superseded(&mut self) {
        while self.login.changed().await.is_ok() {
            let login = self.login.borrow_and_update();
            let number = login.token.as_ref().map(|token| token.number);
            // A lease ends with the token that it was given to.
            if number.is_some() && number != self.read_by && !self.settled {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

async fn given(source: Option<&SecretSource>) -> Result<Secret, Trouble> {
    match source {
        Some(SecretSource::Literal(secret)) => Ok(secret.clone()),
        Some(SecretSource::File(path)) => file::read(path).await,
        Some(SecretSource::Vault { .. }) | None => {
            Err(Trouble::refused("the configuration does not say with what"))
        }
    }
}

fn life(seconds: u64, renewable: bool) -> Life {
    match seconds {
        0 => Life::Endless,
        _ => Life::Lent {
            time: Duration::from_secs(seconds),
            renewable,
        },
    }
}
