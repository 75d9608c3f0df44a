//! One request: a page of the agent, or a call of the API server through a proxy beside it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use plumbing::NetNs;

/// Where the agent serves them, in its node.
const AGENT: ([u8; 4], u16) = ([127, 0, 0, 1], 9454);

/// An agent answers at once or not at all; an API server on a busy machine may take long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The body of a page of the agent in that namespace; `None` unless it is answered with 200.
pub(crate) fn get(node: &NetNs, page: &str) -> Result<Option<String>> {
    let answer = node.run(|| ask(AGENT.into(), "GET", page, "", ""))?;
    let answer = answer.with_context(|| format!("cannot get {page} of the agent"))?;
    Ok(body(&answer).map(str::to_owned))
}

/// One request with a body of that media type, and everything that is answered.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    kind: &str,
    content: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = content.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{content}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The body of an answer that says success.
pub(crate) fn body(answer: &str) -> Option<&str> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 20").then_some(body)
}

/// The value of a series, by its name and labels.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_has_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\na: b\r\n\r\nready\n"), Some("ready\n"));
        assert_eq!(body("HTTP/1.1 503 Service Unavailable\r\n\r\nno"), None);
        assert_eq!(body(""), None);
    }

    #[test]
    fn a_metric_is_its_own_line() {
        let page = "# HELP x_ports Ports.\nx_ports_total 9\nx_ports 500\n";
        assert_eq!(metric(page, "x_ports"), Some(500.0));
        assert_eq!(metric(page, "x_peers"), None);
    }
}
