//! The edge: HTTP and HTTPS, faults, stopping and starting, and the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midonet_standin::{Access, Effect, Fault, Standin, Store};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};

const ROUTER: &str = r#"{"id":"00000000-0000-4000-8000-000000000001","name":"r"}"#;
const JSON: &str = "accept: application/json\r\ncontent-type: application/json\r\n";

/// An answer as text: the status, the head and the body.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> io::Result<Answer> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.into() })
}

async fn ask(standin: &Standin, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
    let url = standin.url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let (address, root) = rest.split_once('/').unwrap();
    let text = format!(
        "{method} /{root}{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = TcpStream::connect(address).await?;
    if scheme == "http" {
        return exchange(stream, &text).await;
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(standin.ca_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    exchange(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, &text).await
}

async fn status(standin: &Standin, method: &str, path: &str, body: &str) -> u16 {
    ask(standin, method, path, JSON, body).await.unwrap().status
}

#[tokio::test]
async fn locations_are_urls_of_the_server_that_was_asked() {
    for standin in
        [Standin::start(Store::new(1)).await.unwrap(), Standin::start_tls(Store::new(1)).await.unwrap()]
    {
        let made = ask(&standin, "POST", "/routers", JSON, ROUTER).await.unwrap();
        let wanted = format!("location: {}/routers/00000000-0000-4000-8000-000000000001\r\n", standin.url());
        assert_eq!(made.status, 201);
        assert!(made.head.contains(&wanted), "{} has no {wanted}", made.head);
        let list = ask(&standin, "GET", "/routers", JSON, "").await.unwrap();
        let list: Value = serde_json::from_str(&list.body).unwrap();
        assert!(list[0]["uri"].as_str().unwrap().starts_with(&standin.url()));
    }
}

#[tokio::test]
async fn the_tokens_of_others_and_of_the_past_are_refused() {
    let mut store = Store::new(1);
    let (user, password) = ("admin".to_owned(), "secret".to_owned());
    store.set_access(Access::Tokens { user, password, project: None, lifetime: 3600 });
    let standin = Standin::start(store).await.unwrap();
    assert_eq!(status(&standin, "GET", "/routers", "").await, 401);
    let login =
        ask(&standin, "POST", "/login", "authorization: Basic YWRtaW46c2VjcmV0\r\n", "").await.unwrap();
    assert!(login.head.contains("set-cookie: sessionid="), "{}", login.head);
    let token: Value = serde_json::from_str(&login.body).unwrap();
    let headers = format!("{JSON}x-auth-token: {}\r\n", token["key"].as_str().unwrap());
    assert_eq!(ask(&standin, "GET", "/routers", &headers, "").await.unwrap().status, 200);
    standin.with_store(Store::expire_tokens);
    let refused = ask(&standin, "GET", "/routers", &headers, "").await.unwrap();
    assert_eq!((refused.status, refused.body.as_str()), (401, r#"{"message":"Invalid token","code":401}"#));
}

#[tokio::test]
async fn faults_are_of_whom_they_are_meant_for() {
    let standin = Standin::start(Store::new(1)).await.unwrap();
    standin.add_fault(Fault::new(Effect::Answer(500)).method("POST").resource("Router").times(1));
    standin.add_fault(Fault::new(Effect::Close).method("POST").resource("Router").times(1));
    standin.add_fault(Fault::new(Effect::CloseAfterwards).method("POST").resource("Router").times(1));
    assert_eq!(status(&standin, "GET", "/routers", "").await, 200);
    assert_eq!(status(&standin, "POST", "/routers", ROUTER).await, 500);
    for _ in 0..2 {
        assert!(ask(&standin, "POST", "/routers", JSON, ROUTER).await.is_err());
    }
    assert_eq!(status(&standin, "POST", "/routers", ROUTER).await, 409, "the last one was made");
    standin.add_fault(Fault::new(Effect::Delay(Duration::from_millis(300))).times(1));
    let began = Instant::now();
    assert_eq!(status(&standin, "GET", "/routers", "").await, 200);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    standin.add_fault(Fault::new(Effect::Stall));
    let stalled = ask(&standin, "GET", "/routers", JSON, "");
    assert!(timeout(Duration::from_millis(300), stalled).await.is_err());
    standin.clear_faults();
    assert_eq!(status(&standin, "GET", "/routers", "").await, 200);

    let log = standin.take_log();
    assert_eq!((log.count("POST", "Router"), log.count("GET", "Router"), log.total()), (4, 4, 8));
    assert_eq!((log.with_status(0), log.with_status(500), log.with_status(409)), (3, 1, 1));
    assert_eq!(log.last().next_back().unwrap().path, "/routers");
    assert_eq!(standin.log().total(), 0);
}

#[tokio::test]
async fn it_stops_and_starts_again_with_what_it_had_or_empty() {
    let mut standin = Standin::start(Store::new(1)).await.unwrap();
    let url = standin.url();
    assert_eq!(status(&standin, "POST", "/routers", ROUTER).await, 201);
    // A connection that is open, and has no request.
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    standin.stop().await;
    assert!(ask(&standin, "GET", "/routers", JSON, "").await.is_err());
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(10), idle.read_to_end(&mut rest)).await.unwrap();
    assert!(ended.is_err() || rest.is_empty());
    standin.restart().await.unwrap();
    assert_eq!(standin.url(), url);
    assert_eq!(status(&standin, "POST", "/routers", ROUTER).await, 409);
    standin.with_store(Store::wipe);
    standin.restart().await.unwrap();
    assert_eq!(status(&standin, "POST", "/routers", ROUTER).await, 201);
}
