//! TLS towards the broker: its roots, our certificate and key, read from their files.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::mqtt::broker::{read, unreadable};
use crate::mqtt::{Tls, Trouble, TroubleKind};

/// Settings of one connection.
pub(super) fn config(tls: &Tls) -> Result<Arc<ClientConfig>, Trouble> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| missing(&error.to_string()))?;
    let builder = builder.with_root_certificates(roots(tls.ca_file.as_deref())?);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.cert_file)?;
            let key = PrivateKeyDer::from_pem_slice(&read(&identity.key_file)?);
            let key = key.map_err(|_| unreadable(&identity.key_file, "it holds no private key in PEM"))?;
            let fits = builder.with_client_auth_cert(chain, key);
            fits.map_err(|error| {
                unreadable(&identity.key_file, &format!("certificate or key do not fit: {error}"))
            })?
        }
    };
    // Its store has room for 256 servers, and each connection has settings of its own.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, Trouble> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return match roots.is_empty() {
            true => Err(missing("the system has no root certificates")),
            false => Ok(roots),
        };
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unreadable(file, &error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unreadable(file, "it holds no certificate in PEM")),
    }
}

fn missing(what: &str) -> Trouble {
    Trouble {
        kind: TroubleKind::Credentials,
        rule: "broker-tls",
        reason: format!(
            "the broker's certificate cannot be checked: {what}; install ca-certificates, or name the broker's \
             authority as ca_file"
        ),
    }
}
