//! TLS: whom a host trusts, and that a certificate is for the name that was asked.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::super::{failure, output};
use super::server::Server;
use super::{Names, Web, scope};

/// A server for `secure.test`, and the file of the authority that says so.
async fn secure(dir: &TempDir) -> (Server, PathBuf) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let file = dir.path().join("authority.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let own = CertificateParams::new(vec!["secure.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (Server::with(Some(TlsAcceptor::from(Arc::new(config)))).await, file)
}

async fn web(authorities: Option<PathBuf>, server: Server) -> Web {
    let names = Names::of(&[("secure.test", &[&["127.0.0.1"]]), ("other.test", &[&["127.0.0.1"]])]);
    let mut web = Web::with(|config| {
        config.http.resolver = names;
        config.http.authorities = authorities;
    })
    .await;
    web.server = server;
    web
}

#[tokio::test]
async fn a_certificate_of_a_further_authority_is_good_for_its_name_alone() {
    let dir = TempDir::new().unwrap();
    let (server, file) = secure(&dir).await;
    let any = format!("https://*:{}", server.address.port());
    let url = |name: &str, server: &Server| format!("https://{name}:{}/page", server.address.port());
    let scope = || scope(&[&any], &[&any], &["127.0.0.0/8"]);
    let trusting = web(Some(file), server).await;
    let report = trusting.title(&url("secure.test", &trusting.server), scope()).await;
    assert!(output(&report).contains("A page"), "{report:?}");
    let report = trusting.title(&url("other.test", &trusting.server), scope()).await;
    assert!(failure(&report).message.contains("TlsCertificateError"), "{report:?}");
    let strict = web(None, trusting.server).await;
    let report = strict.title(&url("secure.test", &strict.server), scope()).await;
    assert!(failure(&report).message.contains("TlsCertificateError"), "{report:?}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_not_trusted() {
    let web = web(None, Server::start().await).await;
    let rule = format!("https://{}", web.server.address);
    let report = web.title(&format!("{rule}/page"), scope(&[&rule], &[&rule], &[])).await;
    assert!(failure(&report).message.contains("TlsProtocolError"), "{report:?}");
}

#[test]
fn a_file_of_authorities_that_holds_none_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("empty.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for (path, says) in [(file, "it holds no certificate"), (dir.path().join("missing.pem"), "missing.pem")] {
        let mut config = super::super::config(&dir);
        config.http.authorities = Some(path);
        let error = lovage::sandbox::Sandbox::new(config).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
