//! A server that follows a script.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An HTTP status and a body.
    Answer(u16, String),
    /// The same, after a while.
    Late(Duration, u16),
    /// The connection is closed instead.
    Close,
    /// There is never an answer.
    Stall,
    /// The length of a long body is told, and the connection closed after a part of it.
    Half,
    /// A body without an end.
    Endless(u16),
    /// The answer is no HTTP.
    Garbage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method and the path behind the base, such as `POST /chains`.
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<(String, Reply)>,
    requests: Vec<Request>,
    problems: Vec<String>,
    connections: usize,
}

/// Each request has to be the next one of the script, but where a line of the script is `*`: it fits every request, and
/// is repeated if it is the last one.
#[derive(Debug)]
pub struct Server {
    state: Arc<Mutex<State>>,
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(script: impl IntoIterator<Item = (&str, Reply)>) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), script, None).await
    }

    pub async fn listen(
        address: SocketAddr,
        script: impl IntoIterator<Item = (&str, Reply)>,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let script = script.into_iter().map(|(line, reply)| (line.to_owned(), reply)).collect();
        let state = Arc::new(Mutex::new(State { script, ..State::default() }));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, mut connections) = (Arc::clone(&state), tokio::task::JoinSet::new());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &state).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { state, address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/midonet-api", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Closes the port. When this ends, connections are refused.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Everything of the script was asked for, and nothing else.
    pub fn finish(&self) {
        let state = self.state.lock().unwrap();
        assert_eq!(state.problems, Vec::<String>::new());
        let rest: Vec<_> = state.script.iter().filter(|(line, _)| line != "*").collect();
        assert!(rest.is_empty(), "not asked for: {rest:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read(&mut stream).await?;
        let reply = {
            let mut state = state.lock().unwrap();
            let line = request.line.clone();
            state.requests.push(request);
            match state.script.front().cloned() {
                Some((wanted, reply)) if wanted == "*" => {
                    if state.script.len() > 1 {
                        state.script.pop_front();
                    }
                    reply
                }
                Some((wanted, reply)) if wanted == line => {
                    state.script.pop_front();
                    reply
                }
                next => {
                    state.problems.push(format!("{line} instead of {next:?}"));
                    Reply::Answer(500, "not in the script".into())
                }
            }
        };
        answer(&mut stream, reply).await?;
    }
}

async fn read(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Request> {
    let (mut line, mut headers) = (String::new(), BTreeMap::new());
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").replace(" /midonet-api", " ");
    Some(Request { line, headers, body: String::from_utf8(body).unwrap() })
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), reply: Reply) -> Option<()> {
    let text = match reply {
        Reply::Answer(status, body) => {
            format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }
        Reply::Late(time, status) => {
            tokio::time::sleep(time).await;
            format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n")
        }
        Reply::Close => return None,
        Reply::Stall => return std::future::pending().await,
        Reply::Half => {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\n{").await.ok()?;
            return None;
        }
        Reply::Endless(status) => {
            let head = format!("HTTP/1.1 {status} x\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            loop {
                let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        }
        Reply::Garbage => "no HTTP at all\r\n\r\n".to_owned(),
    };
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
