//! A small API server on the loopback of a lab's first node: it lists objects, holds watches, takes Events, or
//! refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::{TestLab, node1};

/// Where it is.
pub const URL: &str = "http://127.0.0.1:6443";

/// The kinds that it has, by what is in the path of their lists.
const KINDS: [(&str, &str); 8] = [
    ("/api/v1/nodes", "Node"),
    ("/api/v1/services", "Service"),
    ("/discovery.k8s.io/v1/endpointslices", "EndpointSlice"),
    ("/networking.k8s.io/v1/servicecidrs", "ServiceCIDR"),
    ("/networking.k8s.io/v1/networkpolicies", "NetworkPolicy"),
    ("/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies", "ClusterNetworkPolicy"),
    ("/api/v1/namespaces?", "Namespace"),
    ("/api/v1/pods", "Pod"),
];

/// What the server says to all requests but watches, which it holds.
#[derive(Debug, Clone)]
pub enum Mood {
    /// A status: its code and reason.
    Refuses(u16, &'static str),
    /// The cluster of that UID with these objects.
    Serves(&'static str, Vec<Value>),
}

/// What it says, the watches that it holds, and the Events that were created.
#[derive(Debug)]
struct State {
    mood: Mood,
    watches: Vec<TcpStream>,
    events: Vec<Value>,
}

/// An API server. It goes with the test's process.
#[derive(Debug)]
pub struct Api(Arc<Mutex<State>>);

impl Api {
    /// Starts it on the first node of a lab.
    ///
    /// # Panics
    /// Its port is taken.
    #[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    pub fn start(lab: &TestLab, mood: Mood) -> Self {
        let address: SocketAddr = "127.0.0.1:6443".parse().unwrap();
        let listener = lab.netns(&node1()).unwrap().run(move || TcpListener::bind(address)).unwrap().unwrap();
        let state = State { mood, watches: Vec::new(), events: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let api = Self(Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || answer(stream, &state));
            }
        });
        api
    }

    /// What it says from now on; watches end.
    pub fn set(&self, mood: Mood) {
        let mut state = lock(&self.0);
        state.mood = mood;
        for watch in state.watches.drain(..) {
            let _ = watch.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The Events that it took so far.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.0).events.clone()
    }
}

/// A directory with a kubeconfig for it, `config`.
///
/// # Panics
/// It cannot be written.
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub fn kubeconfig() -> PathBuf {
    let directory = tempfile::Builder::new().prefix("midokube-kubeconfig-").tempdir().unwrap().keep();
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": URL}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(directory.join("config"), text.to_string()).unwrap();
    directory
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first line of a request, and its body.
fn request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            _ if target.is_empty() => line.clone_into(&mut target),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((target, body))
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let Some((target, body)) = request(&stream) else { return };
    let mood = lock(state).mood.clone();
    let (code, body) = match mood {
        Mood::Refuses(code, reason) => {
            let message = format!("the server's words on {code}");
            let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
            (code, status)
        }
        Mood::Serves(..) if target.contains("watch=true") => {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            lock(state).watches.push(stream);
            return;
        }
        Mood::Serves(..) if target.starts_with("POST ") && target.contains("/events") => {
            let event: Value = serde_json::from_slice(&body).unwrap_or_default();
            lock(state).events.push(event.clone());
            (201, event)
        }
        Mood::Serves(cluster, _) if target.contains("/namespaces/kube-system") => {
            let metadata = json!({"name": "kube-system", "uid": cluster});
            (200, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        }
        Mood::Serves(_, objects) => match KINDS.iter().find(|(path, _)| target.contains(path)) {
            Some((_, kind)) => {
                let items: Vec<Value> =
                    objects.into_iter().filter(|object| object.get("kind") == Some(&json!(kind))).collect();
                let metadata = json!({"resourceVersion": "1"});
                (200, json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items}))
            }
            None => (404, json!({})),
        },
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
}
