//! Whose certificate is believed.

use std::sync::Arc;

use midonet_client::{Class, Client, Nobody, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server::Server;
use crate::{chain, ok, options};

/// A server with a certificate for this name, and its authority in PEM format.
async fn server(name: &str) -> (Server, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::listen("127.0.0.1:0".parse().unwrap(), [("*", ok())], Some(acceptor)).await;
    (server, authority.pem())
}

fn client(server: &Server, trust: Trust) -> Client {
    let mut options = options(server.url().replace("http:", "https:"));
    options.trust = trust;
    Client::new(&options, Arc::new(Nobody)).unwrap()
}

#[tokio::test]
async fn a_server_is_believed_by_the_authority_that_is_given_and_no_other() {
    let (server, authority) = server("127.0.0.1").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    client(&server, Trust::File(file.path().into())).create(&chain("a")).await.unwrap();
    client(&server, Trust::Anybody).create(&chain("a")).await.unwrap();
    assert_eq!(server.requests().len(), 2);
    let error = client(&server, Trust::System).create(&chain("a")).await.unwrap_err();
    assert_eq!(error.class(), Class::Unreachable);
    assert!(
        error
            .to_string()
            .contains("TLS fails: invalid peer certificate: UnknownIssuer; give the certificate authority"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_not_believed() {
    let (server, authority) = server("midonet.example").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let error = client(&server, Trust::File(file.path().into())).create(&chain("a")).await.unwrap_err();
    assert!(
        error.to_string().contains("TLS fails: invalid peer certificate: certificate not valid for name"),
        "{error}"
    );
}

#[tokio::test]
async fn tls_with_a_server_that_has_none_is_told() {
    let plain = Server::start([]).await;
    let error = client(&plain, Trust::Anybody).create(&chain("a")).await.unwrap_err();
    assert_eq!(error.class(), Class::Unreachable);
}

#[test]
fn a_file_without_authorities_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut options = options("https://127.0.0.1:1/midonet-api".into());
    for (text, says) in [("", "it has no certificate in PEM format"), ("-----BEGIN CERTIFICATE-----\nxx", "")]
    {
        std::fs::write(file.path(), text).unwrap();
        options.trust = Trust::File(file.path().into());
        let error = Client::new(&options, Arc::new(Nobody)).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("; give a file with those of MidoNet's REST API"),
            "{error}"
        );
    }
    options.trust = Trust::File("/does/not/exist".into());
    let error = Client::new(&options, Arc::new(Nobody)).unwrap_err().to_string();
    assert!(error.contains("/does/not/exist: No such file"), "{error}");
}
