//! An API server that cannot be used: its URL, the cause and a remedy are named, as text without structures of a
//! program, and each cause once.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// A certificate authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's side of TLS, with a certificate for that name or address, until that year.
    pub(super) fn acceptor(&self, name: &str, from: i32, until: i32) -> TlsAcceptor {
        TlsAcceptor::from(Arc::new(self.config(name, from, until)))
    }

    /// The same for a server that speaks HTTP/2.
    pub(super) fn http2(&self, name: &str) -> TlsAcceptor {
        let mut config = self.config(name, 2020, 2120);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn config(&self, name: &str, from: i32, until: i32) -> ServerConfig {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        config.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }
}

/// A connection to a server that is trusted by that authority.
pub(super) async fn trusting(url: &str, authority: &Authority) -> (TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let (ca, path) = (directory.path().join("ca.crt"), directory.path().join("config"));
    std::fs::write(&ca, authority.0.pem()).unwrap();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": ca}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    let source = Source::Api(ApiOptions { kubeconfig: Some(path), ..ApiOptions::default() });
    (directory, source.connect().await.unwrap())
}

/// What health says once something is wrong.
async fn complaint(connection: &Connection) -> String {
    let _changes = Feed::of(connection);
    let health = connection.health();
    until("an error", DEADLINE, || health.error().is_some()).await;
    let error = health.error().unwrap();
    for structure in ["Some(", "Error(", "Error {", "kind:", "Os {", "hyper", "rustls", "(os error"] {
        assert!(!error.contains(structure), "{structure} in {error}");
    }
    error
}

fn script() -> [(Kind, Reply); 2] {
    [(Kind::List, list("1", &[a("1")])), (Kind::Watch, idle())]
}

#[tokio::test]
async fn a_certificate_that_is_in_order_is_trusted() {
    let authority = Authority::new();
    let server = Server::start_with(script(), Some(authority.acceptor("127.0.0.1", 2020, 2120))).await;
    let (_directory, connection) = trusting(&server.url(), &authority).await;
    assert_eq!(Feed::of(&connection).next().await, "=a");
    assert_eq!(server.requests(Kind::List)[0].headers["authorization"], "Bearer secret");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    for (acceptor, trusted, want) in [
        (
            authority.acceptor("127.0.0.1", 2020, 2120),
            &other,
            "its certificate is not signed by the certificate authority that is configured; give",
        ),
        (
            authority.acceptor("127.0.0.1", 2020, 2021),
            &authority,
            "its certificate expired on 2021-01-01T00:00:00Z; renew it",
        ),
        (
            authority.acceptor("127.0.0.1", 2100, 2120),
            &authority,
            "its certificate is not valid before 2100-01-01T00:00:00Z; correct this node's clock",
        ),
        (
            authority.acceptor("kubernetes.default", 2020, 2120),
            &authority,
            "its certificate is for kubernetes.default and not for 127.0.0.1; use one of its names",
        ),
    ] {
        let server = Server::start_with(script(), Some(acceptor)).await;
        let (_directory, connection) = trusting(&server.url(), trusted).await;
        let error = complaint(&connection).await;
        assert_eq!(
            error.find(&format!("cannot trust the API server {}: {want}", server.url())),
            Some(0),
            "{error}"
        );
        assert_eq!(server.count(Kind::List), 0);
    }
}

#[tokio::test]
async fn the_wrong_scheme_is_told_from_a_wrong_certificate() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let (_directory, connection) = trusting(&url, &authority).await;
    let error = complaint(&connection).await;
    assert!(error.starts_with(&format!("cannot speak TLS with the API server {url}: ")), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_a_refused_connection() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (_directory, options) = kubeconfig(&url);
    let connection = Source::Api(options).connect().await.unwrap();
    let error = complaint(&connection).await;
    assert!(
        error.starts_with(&format!("cannot reach the API server {url}: connection refused; ")),
        "{error}"
    );
    assert!(connection.health().api_errors().get(Verb::List, Reason::Unreachable) > 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    // No resolver has to be asked for a label above 63 characters.
    let url = format!("http://{}.invalid:6443", "a".repeat(64));
    let (_directory, mut options) = kubeconfig("http://127.0.0.1:1");
    options.server = Some(url.clone());
    let connection = Source::Api(options).connect().await.unwrap();
    let error = complaint(&connection).await;
    assert!(
        error.starts_with(&format!("cannot reach the API server {url}: its name does not resolve: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_swallows_packets_is_given_up() {
    // The kernel drops what asks for a connection while those that nobody has taken fill the queue.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let url = format!("https://{address}");
    let (_directory, options) = kubeconfig(&url);
    let connection = Source::Api(options).connect().await.unwrap();
    let error = complaint(&connection).await;
    assert!(
        error.starts_with(&format!("cannot reach the API server {url}: no connection within 5s; ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_cause_stays_the_same_text_for_every_try() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", 2020, 2021);
    let server = Server::start_with(script(), Some(acceptor)).await;
    let (_directory, connection) = trusting(&server.url(), &authority).await;
    let first = complaint(&connection).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(complaint(&connection).await, first, "also a second later");
    // Whether a list or a watch fails makes no other cause of it.
    let (_directory, options) = kubeconfig("http://127.0.0.1:1");
    let connection = Source::Api(options).connect().await.unwrap();
    let error = complaint(&connection).await;
    assert!(!error.contains("list") && !error.contains("watch"), "{error}");
}

#[tokio::test]
async fn a_refusal_names_what_is_not_allowed() {
    let server = Server::start([(Kind::List, refusal(403, "Forbidden"))]).await;
    let error = complaint(&connect(&server).await).await;
    let want = format!(
        "the API server {} does not allow to list nodes: 403 Forbidden: the server's words",
        server.url()
    );
    assert!(error.starts_with(&want) && error.contains("ClusterRole"), "{error}");
    let server = Server::start([(Kind::List, refusal(401, "Unauthorized"))]).await;
    let error = complaint(&connect(&server).await).await;
    let want = format!("the API server {} does not accept the credentials: 401 Unauthorized", server.url());
    assert!(error.starts_with(&want) && error.contains("of the kubeconfig /"), "{error}");
}
