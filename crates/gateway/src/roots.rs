//! Whom this program trusts when it speaks TLS to others.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why TLS cannot be set up.
#[derive(Debug)]
pub(crate) enum TlsError {
    /// The file of certificates is of no use.
    CaFile(String),
    /// Anything else.
    Other(String),
}

/// TLS 1.2 or newer. Trusted are the system's roots (Mozilla's where the system has none) and the
/// certificates of `ca_file`.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = system_roots();
    if let Some(path) = ca_file {
        add_file(&mut roots, path).map_err(TlsError::CaFile)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Other(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = std::fs::read(path).map_err(|e| e.to_string())?;
    add_pem(roots, &pem)
}

/// Trusts the certificates in `pem`; one at least.
pub(crate) fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
        added += 1;
    }
    if added == 0 {
        return Err("it holds no certificate in PEM form".to_owned());
    }
    Ok(())
}
