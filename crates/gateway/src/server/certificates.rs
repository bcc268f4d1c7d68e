use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use everstream_core::config::{ClientAuth, TlsConfig};
use everstream_core::limits;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError as Refusal, Error as TlsError, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::roots::add_pem;

/// What clients meet: the server's certificate, and whose certificates it takes from them. It follows
/// its files.
pub struct Certificates {
    files: Files,
    current: ArcSwap<ServerConfig>,
    /// What the files were when they were read last, of use or not.
    seen: Mutex<[u8; 32]>,
}

/// Why a file of `[tls]` is of no use.
#[derive(Debug, thiserror::Error)]
#[error("tls.{field} ({}): {reason}", path.display())]
pub struct CertificateError {
    field: &'static str,
    path: PathBuf,
    reason: String,
}

impl Certificates {
    /// What the configuration names; `None` if it names nothing.
    ///
    /// # Errors
    /// When a file cannot be read or used, the key is of another certificate, or that is not valid now.
    pub fn load(config: &TlsConfig) -> Result<Option<Arc<Self>>, CertificateError> {
        let Some(files) = Files::of(config) else {
            return Ok(None);
        };
        let texts = files.read()?;
        Ok(Some(Arc::new(Self {
            current: ArcSwap::from_pointee(files.parse(&texts)?),
            seen: Mutex::new(texts.digest()),
            files,
        })))
    }

    /// What a connection that comes now is served with.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads files that changed. If they are of no use, what was read before stays, and the log says
    /// so. Connections that are open go on.
    pub fn reload(&self) {
        let read = self.files.read().and_then(|texts| {
            let digest = texts.digest();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == digest {
                return Ok(false);
            }
            // A mistake is told once.
            *seen = digest;
            self.current.store(Arc::new(self.files.parse(&texts)?));
            Ok(true)
        });
        match read {
            Ok(true) => tracing::info!("the server's certificate was read anew"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "what was read of [tls] before stays"),
        }
    }

    /// Reloads every [`limits::TLS_RELOAD`] and at SIGHUP, until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        loop {
            let asked = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(limits::TLS_RELOAD) => {}
                _ = asked => {}
            }
            let this = Arc::clone(&self);
            // Files may lie on a network that hangs.
            let _ = tokio::task::spawn_blocking(move || this.reload()).await;
        }
    }
}

/// The files of `[tls]`.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<(PathBuf, ClientAuth)>,
}

/// What they hold.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    clients: Option<Vec<u8>>,
}

impl Texts {
    fn digest(&self) -> [u8; 32] {
        let clients = self.clients.as_deref().unwrap_or_default();
        let mut digest = Sha256::new();
        for text in [&self.certificate, &self.key, clients] {
            digest.update(Sha256::digest(text));
        }
        digest.finalize().into()
    }
}

impl Files {
    fn of(config: &TlsConfig) -> Option<Self> {
        let ca = config.client_ca.clone();
        Some(Self {
            certificate: config.certificate.clone()?,
            key: config.key.clone()?,
            clients: ca.map(|path| (path, config.client_auth)),
        })
    }

    fn read(&self) -> Result<Texts, CertificateError> {
        let clients = self.clients.as_ref();
        let clients = clients.map(|(path, _)| read("client_ca", path));
        Ok(Texts {
            certificate: read("certificate", &self.certificate)?,
            key: read("key", &self.key)?,
            clients: clients.transpose()?,
        })
    }

    fn parse(&self, texts: &Texts) -> Result<ServerConfig, CertificateError> {
        let of_certificate = |reason| error("certificate", &self.certificate, reason);
        let of_key = |reason| error("key", &self.key, reason);
        let provider = Arc::new(default_provider());
        let chain = chain(&texts.certificate).map_err(of_certificate)?;
        valid_now(&chain, &provider).map_err(of_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key);
        let unusable = |_| "it holds no private key in PEM form, or an encrypted one".to_owned();
        let key = key.map_err(unusable).map_err(of_key)?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_certificate(error.to_string()))?;
        let config = match (&self.clients, &texts.clients) {
            (Some((path, auth)), Some(pem)) => {
                let verifier = verifier(pem, *auth, provider);
                let verifier = verifier.map_err(|reason| error("client_ca", path, reason))?;
                config.with_client_cert_verifier(verifier)
            }
            _ => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(chain, key).map_err(|error| {
            of_key(match error {
                TlsError::InconsistentKeys(_) => "it is not the key of tls.certificate".to_owned(),
                error => error.to_string(),
            })
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.clients.is_some() {
            // A session that is resumed shows no certificate again: it would outlive its authority.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else if let Ok(ticketer) = Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(config)
    }
}

fn error(field: &'static str, path: &Path, reason: String) -> CertificateError {
    CertificateError {
        field,
        path: path.to_owned(),
        reason,
    }
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut text = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(limits::TLS_FILE_BYTES + 1).read_to_end(&mut text));
    match read {
        Ok(bytes) if bytes as u64 <= limits::TLS_FILE_BYTES => Ok(text),
        Ok(_) => Err(error(field, path, "it is too large".to_owned())),
        Err(reason) => Err(error(field, path, reason.to_string())),
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("it holds no certificate in PEM form".to_owned()),
        chain => chain.map_err(|error| error.to_string()),
    }
}

fn verifier(
    pem: &[u8],
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    add_pem(&mut roots, pem)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match auth {
        ClientAuth::Required => verifier,
        ClientAuth::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| error.to_string())
}

/// Whether clients will take the first certificate as far as its dates go. Whether they trust it only
/// they know.
fn valid_now(chain: &[CertificateDer<'_>], provider: &Arc<CryptoProvider>) -> Result<(), String> {
    // The dates are looked at before any root is, so that it does not matter which there are.
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
    let at = |now| match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) {
        Err(TlsError::InvalidCertificate(refusal)) => Some(refusal),
        _ => None,
    };
    let now = UnixTime::now();
    match at(now) {
        Some(Refusal::Expired | Refusal::ExpiredContext { .. }) => {
            return Err("the certificate has expired".to_owned());
        }
        Some(Refusal::NotValidYet | Refusal::NotValidYetContext { .. }) => {
            return Err("the certificate is not valid yet: is the clock right?".to_owned());
        }
        _ => {}
    }
    let soon = Duration::from_secs(now.as_secs()) + limits::TLS_EXPIRY_WARNING;
    let soon = at(UnixTime::since_unix_epoch(soon));
    if let Some(Refusal::Expired | Refusal::ExpiredContext { .. }) = soon {
        tracing::warn!("the server's certificate expires within two weeks");
    }
    Ok(())
}
