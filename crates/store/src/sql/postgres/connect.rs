//! How a connection is made.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresConfig;
use crate::sql::CatalogError;

/// After so much silence the kernel asks whether the other side is alive.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Makes connections, for the pool and for hints.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) config: Config,
    tls: Option<MakeRustlsConnect>,
    hint: Arc<Notify>,
}

impl Dialer {
    pub(super) fn new(config: &PostgresConfig, hint: Arc<Notify>) -> Result<Self, CatalogError> {
        let invalid = |text: &str| CatalogError::Invalid(text.to_owned());
        // The reason may quote the address, and with it the password.
        let mut parsed: Config = config.address.expose().parse().map_err(|_| {
            invalid(
                "the address of the database is not of the form \
                 postgres://user:password@host:5432/database, or has special characters that are \
                 not percent-encoded",
            )
        })?;
        if config.tls.is_none() && parsed.get_ssl_mode() == SslMode::Require {
            return Err(invalid(
                "the address of the database says sslmode=require, and no certificates are given \
                 to verify it with",
            ));
        }
        let millis = config.patience.as_millis();
        // Whatever this process does, or stops to do, the database lets go of locks.
        let options = format!(
            "{} -c statement_timeout={millis} -c lock_timeout={millis} \
             -c idle_in_transaction_session_timeout={millis}",
            parsed.get_options().unwrap_or_default()
        );
        parsed.options(options.trim());
        if parsed.get_application_name().is_none() {
            parsed.application_name("everstream");
        }
        parsed.connect_timeout(config.acquire_timeout);
        parsed.keepalives_idle(KEEPALIVE);
        parsed.tcp_user_timeout(config.patience.saturating_mul(2));
        let tls = config.tls.as_deref().cloned().map(MakeRustlsConnect::new);
        Ok(Self {
            config: parsed,
            tls,
            hint,
        })
    }

    /// A connection, and the task that it lives in.
    pub(super) async fn dial(&self) -> Result<(Client, JoinHandle<()>), Error> {
        if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await?;
            Ok((client, self.drive(connection)))
        } else {
            let (client, connection) = self.config.connect(NoTls).await?;
            Ok((client, self.drive(connection)))
        }
    }

    fn drive<S, T>(&self, mut connection: Connection<S, T>) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let hint = Arc::clone(&self.hint);
        tokio::spawn(async move {
            // How it ended is told to whoever uses the client.
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message {
                    hint.notify_waiters();
                }
            }
        })
    }
}

impl Connect for Dialer {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.dial())
    }
}
