//! The server: who is let in, what every answer has, and that nobody gets more than a share of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod planted;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use planted::serving::{KEY, Serving};
use planted::{Planted, cluster};
use ui::Settings;

const PATIENCE: Duration = Duration::from_secs(20);

fn serving() -> Serving {
    Serving::new(Arc::new(Planted::new(cluster::shop())), Settings::new(KEY.to_owned()))
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What the server answers to a request, with these headers besides its own host and key.
fn ask(port: u16, line: &str, headers: &[&str]) -> String {
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request += &format!("Host: 127.0.0.1:{port}\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Cookie:")) {
        request += &format!("Cookie: midokube-{port}={KEY}\r\n");
    }
    headers.iter().for_each(|header| request += &format!("{header}\r\n"));
    let mut stream = connect(port);
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn only_the_page_itself_is_answered() {
    let serving = serving();
    let port = serving.port;
    let own = format!("Origin: http://localhost:{port}");
    for (expected, line, headers) in [
        (200, "GET /", vec![]),
        (200, "HEAD /", vec![]),
        (200, "GET /?view=nodes&pod=a%2Fb", vec![]),
        (200, "GET /app.js", vec![]),
        (200, "GET /api/nodes", vec![]),
        (
            200,
            "GET /api/flows?verdict=deny&not=port%3Dudp%2F53",
            vec![own.as_str(), "Sec-Fetch-Site: same-origin"],
        ),
        (200, "GET /", vec!["Sec-Fetch-Site: cross-site"]),
        (421, "GET /", vec!["Host: evil.example"]),
        (421, "GET /api/nodes", vec!["Host: 127.0.0.1"]),
        (403, "GET /api/nodes", vec!["Origin: http://evil.example"]),
        (403, "GET /api/nodes", vec!["Sec-Fetch-Site: cross-site"]),
        (403, "GET /api/nodes", vec!["Origin: null"]),
        (403, "GET /", vec!["Cookie: a=b"]),
        (403, "GET /app.js", vec!["Cookie: a=b"]),
        (403, "GET /api/nodes", vec!["Cookie: midokube-1=planted"]),
        (405, "POST /api/nodes", vec![]),
        (405, "OPTIONS /api/nodes", vec!["Origin: http://evil.example"]),
        (405, "DELETE /", vec![]),
        (404, "GET /nothing", vec![]),
        (404, "GET /../Cargo.toml", vec![]),
        (404, "GET /api/", vec![]),
        (404, "GET /api/secrets", vec![]),
        (404, "GET /api/node?name=node9", vec![]),
        (502, "GET /api/node?name=node3", vec![]),
        (400, "GET /api/node", vec![]),
        (400, "GET /api/flows?odd=1", vec![]),
        (400, "GET /api/flows?address=nonsense", vec![]),
        (400, "GET /api/map?focus=a/b/c", vec![]),
        (400, "GET /api/flows?pod=%ff", vec![]),
    ] {
        let answer = ask(port, line, &headers);
        assert_eq!(status(&answer), expected, "{line} {headers:?}");
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(header), "{line} lacks {header}: {head}");
        }
        assert!(!head.contains("access-control-allow"), "{line}");
    }
}

#[test]
fn the_key_is_given_once_and_is_no_part_of_the_address() {
    let serving = serving();
    let answer = ask(serving.port, &format!("GET /?key={KEY}"), &["Cookie: "]);
    assert_eq!(status(&answer), 303);
    assert!(answer.contains("\r\nlocation: /\r\n"), "{answer}");
    let cookie =
        format!("set-cookie: midokube-{}={KEY}; HttpOnly; SameSite=Strict; Path=/\r\n", serving.port);
    assert!(answer.contains(&cookie), "{answer}");
    assert_eq!(status(&ask(serving.port, "GET /?key=guess", &["Cookie: "])), 403);
}

#[test]
fn what_is_known_already_is_not_sent_again() {
    let source = Arc::new(Planted::new(cluster::shop()));
    let serving = Serving::new(Arc::clone(&source), Settings::new(KEY.to_owned()));
    let first = ask(serving.port, "GET /api/map", &[]);
    assert!(first.contains("midokube-version: 1\r\n"), "{first}");
    assert_eq!(status(&ask(serving.port, "GET /api/map?seen=1", &[])), 204);
    source.change(|_| {});
    assert_eq!(status(&ask(serving.port, "GET /api/map?seen=1", &[])), 200);
}

#[test]
fn a_head_has_a_bound() {
    let serving = serving();
    let answer = ask(serving.port, "GET /", &[&format!("X-Long: {}", "x".repeat(100_000))]);
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
}

#[test]
fn who_is_slow_keeps_nobody_out() {
    let patience = Duration::from_millis(500);
    let settings = Settings { connections: 4, patience, lifetime: patience, ..Settings::new(KEY.to_owned()) };
    let mut known = cluster::shop();
    known.flows = cluster::crowd(400, 20, 0);
    let serving = Serving::new(Arc::new(Planted::new(known)), settings);
    let port = serving.port;
    // One says nothing, one half of a line, and two ask for much and do not read it.
    let silent = connect(port);
    let mut half = connect(port);
    half.write_all(b"GET / HT").unwrap();
    let request =
        format!("GET /api/flows HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: midokube-{port}={KEY}\r\n\r\n");
    let deaf: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = connect(port);
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            while stream.write_all(request.as_bytes()).is_ok() {}
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(status(&ask(port, "GET /", &[])), 200);
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    for mut stream in [silent, half].into_iter().chain(deaf) {
        let mut rest = Vec::new();
        // It is closed, whatever came before.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
    }
}
