//! An API server that follows a script: what it answers to which kind of request, one after the other.

mod http2;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    List,
    Watch,
    Patch,
    /// Of the namespace kube-system.
    Cluster,
    /// A SelfSubjectAccessReview.
    Review,
    /// A new Event.
    Event,
}

#[derive(Debug, Clone)]
pub enum Reply {
    /// An HTTP status and a body.
    Answer(u16, String),
    /// An answer in plain text, with the header Retry-After.
    Plain(u16, &'static str, u32),
    /// An answer whose body has no end.
    Endless,
    /// A watch of these lines, and how it ends.
    Stream(Vec<String>, End),
    /// Takes the request and never answers.
    Stall,
}

#[derive(Debug, Clone, Copy)]
pub enum End {
    /// It goes on, silent.
    Open,
    /// It goes on with a bookmark a minute.
    Bookmarks,
    /// As HTTP has it.
    Proper,
    /// The connection is cut in the middle of the next line.
    Cut,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub kind: Kind,
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Debug, Default)]
struct State {
    script: BTreeMap<Kind, VecDeque<Reply>>,
    requests: Vec<Request>,
}

#[derive(Debug, Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    tls: bool,
}

impl Server {
    /// The last reply to a kind of request is repeated; what is not in the script is never answered.
    pub async fn start(script: impl IntoIterator<Item = (Kind, Reply)>) -> Self {
        Self::start_with(script, None).await
    }

    pub async fn start_with(
        script: impl IntoIterator<Item = (Kind, Reply)>,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let mut state = State::default();
        for (kind, reply) in script {
            state.script.entry(kind).or_default().push_back(reply);
        }
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state, tls: tls.is_some() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serving.serve(connection).await };
                    let connection = tls.accept(connection).await.ok()?;
                    match connection.get_ref().1.alpn_protocol() {
                        Some(b"h2") => http2::serve(serving, connection).await,
                        _ => serving.serve(connection).await,
                    }
                });
            }
        });
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    pub fn requests(&self, kind: Kind) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|request| request.kind == kind).cloned().collect()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.requests(kind).len()
    }

    fn reply(&self, request: Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        let kind = request.kind;
        state.requests.push(request);
        let Some(replies) = state.script.get_mut(&kind) else { return Reply::Stall };
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }.unwrap_or(Reply::Stall)
    }

    async fn serve(&self, connection: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut connection = BufReader::new(connection);
        let request = read(&mut connection).await?;
        match self.reply(request) {
            Reply::Answer(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                connection.write_all((head + &body).as_bytes()).await.ok()?;
                connection.shutdown().await.ok()
            }
            Reply::Plain(status, text, after) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\nretry-after: {after}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    text.len()
                );
                connection.write_all((head + text).as_bytes()).await.ok()?;
                connection.shutdown().await.ok()
            }
            Reply::Endless => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                connection.write_all(head.as_bytes()).await.ok()?;
                loop {
                    connection.write_all(&[b' '; 1 << 16]).await.ok()?;
                }
            }
            Reply::Stream(lines, end) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
                connection.write_all(head.as_bytes()).await.ok()?;
                for line in lines {
                    let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
                    connection.write_all(chunk.as_bytes()).await.ok()?;
                }
                match end {
                    End::Proper => connection.write_all(b"0\r\n\r\n").await.ok(),
                    End::Cut => connection.write_all(b"400\r\n{\"type\":\"ADDED\",\"obj").await.ok(),
                    End::Open => std::future::pending().await,
                    End::Bookmarks => loop {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        let line = bookmark();
                        let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
                        connection.write_all(chunk.as_bytes()).await.ok()?;
                    },
                }
            }
            Reply::Stall => std::future::pending().await,
        }
    }
}

async fn read(connection: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Request> {
    let mut first = String::new();
    connection.read_line(&mut first).await.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    let kind = kind(&method, &target);
    Some(Request { kind, target, headers, body: String::from_utf8(body).ok()? })
}

fn kind(method: &str, target: &str) -> Kind {
    match method {
        "PATCH" => Kind::Patch,
        "POST" if target.contains("/events") => Kind::Event,
        "POST" => Kind::Review,
        _ if target.starts_with("/api/v1/namespaces/kube-system") => Kind::Cluster,
        _ if target.contains("watch=true") => Kind::Watch,
        _ => Kind::List,
    }
}

pub fn bookmark() -> String {
    event("BOOKMARK", &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"resourceVersion": "8"}}))
}

/// Its UID is "uid-" and its name.
pub fn node(name: &str, cidr: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": version},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
    })
}

pub fn list(version: &str, items: &[Value]) -> Reply {
    part(version, "", items)
}

/// A page of a list; more are to come if there is a token.
pub fn part(version: &str, token: &str, items: &[Value]) -> Reply {
    let metadata = json!({"resourceVersion": version, "continue": token});
    let list = json!({"apiVersion": "v1", "kind": "NodeList", "metadata": metadata, "items": items});
    Reply::Answer(200, list.to_string())
}

/// The namespace kube-system of a cluster.
pub fn cluster(uid: &str) -> Reply {
    let metadata = json!({"name": "kube-system", "uid": uid});
    let namespace =
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
    Reply::Answer(200, namespace.to_string())
}

/// Whether something is allowed, and why.
pub fn review(allowed: bool, reason: &str) -> Reply {
    let status = json!({"allowed": allowed, "reason": reason});
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {}, "spec": {},
        "status": status,
    });
    Reply::Answer(201, review.to_string())
}

pub fn event(kind: &str, object: &Value) -> String {
    json!({"type": kind, "object": object}).to_string()
}

pub fn status(code: u16, reason: &str, details: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": format!("the server's words on {code}"), "details": details,
    })
}

pub fn refusal(code: u16, reason: &str) -> Reply {
    Reply::Answer(code, status(code, reason, &json!({})).to_string())
}
