//! `midokube connectivity`: what is asked before anything is made, what runs in Pods, and what is removed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{midokube, text};

/// What an API server answers to a request: its method, path and body.
type Answers = dyn Fn(&str, &str, &Value) -> (u16, Value) + Send + Sync;

/// An API server that answers as told.
struct FakeApi {
    directory: tempfile::TempDir,
    /// Methods and paths, without what follows a question mark.
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeApi {
    fn start(answers: impl Fn(&str, &str, &Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(directory.path().join("config"), kubeconfig.to_string()).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (log, answers) = (Arc::clone(&asked), Arc::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                thread::spawn(move || while answer(&stream, &log, &*answers).is_some() {});
            }
        });
        Self { directory, asked }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = midokube(&[&["connectivity", "test"], words].concat());
        command.arg("--kubeconfig").arg(self.directory.path().join("config")).output().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request of a connection.
fn answer(mut stream: &TcpStream, log: &Mutex<Vec<String>>, answers: &Answers) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?, words.next()?.split('?').next()?);
    log.lock().unwrap().push(format!("{method} {path}"));
    let (code, value) = answers(method, path, &serde_json::from_slice(&body).unwrap_or_default());
    let value = value.to_string();
    let head = format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        value.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(value.as_bytes()).ok()
}

fn not_found() -> (u16, Value) {
    (
        404,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"}),
    )
}

#[test]
fn nothing_is_made_by_who_may_not_make_all() {
    let api = FakeApi::start(|_, path, body| {
        if !path.ends_with("selfsubjectaccessreviews") {
            return not_found();
        }
        let resource = &body["spec"]["resourceAttributes"]["resource"];
        let allowed = resource != "networkpolicies" && resource != "nodes";
        (201, json!({"spec": body["spec"], "status": {"allowed": allowed}}))
    });
    let output = api.run(&[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for want in ["lacks rights: list nodes", "create networkpolicies.networking.k8s.io", "ClusterRole"] {
        assert!(said.contains(want), "{want} is not in: {said}");
    }
    assert!(!said.contains("pods") && said.lines().count() == 1, "{said}");
    assert!(api.asked().iter().all(|one| one.ends_with("selfsubjectaccessreviews")), "{:?}", api.asked());
}

#[test]
fn what_tests_left_is_removed() {
    let gone = Arc::<Mutex<Vec<String>>>::default();
    let api = FakeApi::start(move |method, path, _| {
        let name = path.rsplit('/').next().unwrap().to_owned();
        let namespace = |name: &str| json!({"metadata": {"name": name}});
        match method {
            "GET" if name == "namespaces" => {
                let items = ["midokube-connectivity-1", "midokube-connectivity-1-other"].map(namespace);
                (200, json!({"kind": "NamespaceList", "apiVersion": "v1", "metadata": {}, "items": items}))
            }
            "DELETE" => {
                gone.lock().unwrap().push(name.clone());
                (200, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}))
            }
            "GET" if !gone.lock().unwrap().contains(&name) => (200, namespace(&name)),
            _ => not_found(),
        }
    });
    let output = api.run(&["--cleanup"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("removed: namespaces midokube-connectivity-1, midokube-connectivity-1-other"),
        "{said}"
    );
    let deleted: Vec<String> = api.asked().into_iter().filter(|one| one.starts_with("DELETE")).collect();
    assert_eq!(deleted.len(), 2, "{deleted:?}");
}

#[test]
fn scenarios_are_listed_and_chosen() {
    let list = |words: &[&str]| {
        let output = midokube(&[&["connectivity", "test", "--list"], words].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(list(&[]).lines().count() > 31 && list(&[]).contains("pod-to-pod-across-nodes-tcp"));
    let chosen: Value =
        serde_json::from_str(&list(&["--test", "dns-*", "--test", "!*-tcp", "-o", "json"])).unwrap();
    let names: Vec<&Value> = chosen["scenarios"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["dns-service", "dns-headless"]);
    for wrong in [
        &["--test", "nothing"][..],
        &["--list", "--keep"],
        &["--cleanup", "--keep"],
        &["--this-node"],
        &["--timeout", "0"],
    ] {
        let output = midokube(&[&["connectivity", "test"], wrong].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let output = midokube(&["connectivity", "test", "--kubeconfig", "/nowhere"]).output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("/nowhere"), "{output:?}");
}

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

/// Ports of both protocols and families that are free.
fn free_ports() -> [u16; 2] {
    [0, 1].map(|_| {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        UdpSocket::bind(("::", port)).unwrap().local_addr().unwrap().port()
    })
}

/// What `ask` says to questions, by their numbers.
fn ask(questions: &[Value]) -> Vec<Value> {
    let mut asker = start(&mut midokube(&["connectivity", "ask"]));
    let mut input = asker.0.stdin.take().unwrap();
    let mut output = BufReader::new(asker.0.stdout.take().unwrap());
    let mut answers = vec![Value::Null; questions.len()];
    for (number, question) in questions.iter().enumerate() {
        writeln!(input, "{number} {}", json!({"what": question, "milliseconds": 3000})).unwrap();
        // One after the other: some use what others open.
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let (answered, answer) = line.split_once(' ').unwrap();
        assert_eq!(answered, number.to_string());
        answers[number] = serde_json::from_str(answer).unwrap();
    }
    drop(input);
    assert!(asker.0.wait().unwrap().success(), "it ends with its questions");
    answers
}

#[test]
fn pods_say_who_they_are_and_whom_they_see() {
    let ports = free_ports();
    let words = format!("{},{}", ports[0], ports[1]);
    let mut server = start(&mut midokube(&["connectivity", "serve", "--name", "near", "--ports", &words]));
    let four: [SocketAddr; 2] = ports.map(|port| ([127, 0, 0, 1], port).into());
    let six = SocketAddr::new("::1".parse().unwrap(), ports[0]);
    testkit::wait_until(Duration::from_secs(60), "it serves", || {
        assert!(server.0.try_wait().unwrap().is_none(), "it has ended");
        four.iter().chain([&six]).all(|to| TcpStream::connect(to).is_ok())
    });
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let udp = |to: SocketAddr, size: Value| json!({"udp": {"to": to, "times": 2, "size": size}});
    let answers = ask(&[
        json!({"tcp": {"to": four[0], "times": 3, "bytes": 100_000}}),
        json!({"tcp": {"to": six, "times": 1, "bytes": 0}}),
        udp(four[1], json!("small")),
        udp(six, json!({"whole": {"bytes": 1400}})),
        udp(four[0], json!({"fragmented": {"bytes": 9000}})),
        json!({"connect": {"to": six}}),
        json!({"tcp": {"to": refused, "times": 2, "bytes": 0}}),
        udp(refused, json!("small")),
        json!({"open": {"key": "a", "to": four[0], "udp": false}}),
        json!({"use": {"key": "a"}}),
        json!({"open": {"key": "b", "to": six, "udp": true}}),
        json!({"use": {"key": "b"}}),
        json!({"use": {"key": "c"}}),
    ]);
    let near = |answer: &Value, times: usize, client: &str| {
        let all = answer.as_array().unwrap();
        assert_eq!(all.len(), times, "{answer}");
        for one in all {
            let answered = &one["answered"];
            let seen: SocketAddr =
                answered["client"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
            assert_eq!((&answered["by"], seen.ip().to_string().as_str()), (&json!("near"), client));
        }
    };
    for (index, times, client) in
        [(0, 3, "127.0.0.1"), (1, 1, "::1"), (2, 2, "127.0.0.1"), (3, 2, "::1"), (4, 2, "127.0.0.1")]
    {
        near(&answers[index], times, client);
    }
    assert_eq!(answers[5], json!(["reached"]));
    assert_eq!(answers[6], json!(["refused", "refused"]));
    assert_eq!(answers[7], json!(["refused", "refused"]));
    for (opened, used, client) in [(8, 9, "127.0.0.1"), (10, 11, "::1")] {
        near(&answers[opened], 1, client);
        assert_eq!(answers[opened], answers[used], "by the same connection");
    }
    assert!(
        answers[12][0]["failed"]["why"].as_str().unwrap().contains("no such connection"),
        "{}",
        answers[12]
    );
    // The other end goes: open connections are reset, and new ones refused.
    drop(server);
    assert_eq!(ask(&[json!({"connect": {"to": six}})]), [json!(["refused"])]);
}

#[test]
fn what_cannot_be_served_or_asked_is_told() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = midokube(&["connectivity", "serve", "--name", "x", "--ports", &port]).output().unwrap();
    let said = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains(&format!("port {port} cannot be opened")),
        "{said}"
    );
    let mut asker = midokube(&["connectivity", "ask"]);
    let mut asker = asker.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asker.stdin.take().unwrap().write_all(b"1 {\"what\": \"fly\"}\n").unwrap();
    let output = asker.wait_with_output().unwrap();
    assert!(output.status.code() == Some(1) && !output.stderr.is_empty(), "{output:?}");
}
