use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use testkit::Namespace;

use super::*;

/// Serves at the addresses of `address` inside a namespace, until the test ends.
fn start(node: &Namespace, address: &str) -> Arc<Mutex<Vec<String>>> {
    let address: SocketAddr = address.parse().unwrap();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let (told, file) = (Arc::clone(&reports), node.path().to_owned());
    let (begun, begins) = mpsc::channel();
    // One thread is in the namespace for as long as the runtime's tasks run on it.
    std::thread::spawn(move || {
        let file = std::fs::File::open(file).unwrap();
        nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let answer: Answer =
                Arc::new(|path: &str| crate::proxy::answers::text(&format!("you asked for {path}")));
            let servers = addresses(address).into_iter().map(|address| {
                let told = Arc::clone(&told);
                let report = move |why: Option<String>| {
                    let text = why.unwrap_or_else(|| "listens".to_owned());
                    told.lock().unwrap().push(format!("{address}: {text}"));
                };
                serve(address, Arc::clone(&answer), report)
            });
            begun.send(()).unwrap();
            futures::future::join_all(servers).await;
        });
    });
    begins.recv().unwrap();
    reports
}

fn connect(node: &Namespace, address: &str) -> io::Result<Client> {
    let address = address.to_owned();
    let client = node.run(|| Client::connect(address))?;
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(client)
}

fn ask(node: &Namespace, address: &str, request: &str) -> String {
    let mut client = connect(node, address).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn wait_for(reports: &Mutex<Vec<String>>, text: &str) {
    testkit::wait_until(Duration::from_secs(10), text, || {
        reports.lock().unwrap().iter().any(|told| told.contains(text))
    });
}

#[test]
fn an_unspecified_address_is_that_of_both_families() {
    let node = Namespace::new();
    let reports = start(&node, "0.0.0.0:1025");
    wait_for(&reports, "0.0.0.0:1025: listens");
    wait_for(&reports, "[::]:1025: listens");
    for address in ["127.0.0.1:1025", "[::1]:1025"] {
        let answer = ask(&node, address, "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nyou asked for /a"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        let head = ask(&node, address, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }
    assert_eq!(addresses("127.0.0.1:1".parse().unwrap()), ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(addresses("[fd00::1]:1".parse().unwrap()), ["[fd00::1]:1".parse().unwrap()]);
}

#[test]
fn a_taken_port_is_told_and_tried_again_in_its_family_alone() {
    let node = Namespace::new();
    let taken = node.run(|| std::net::TcpListener::bind("0.0.0.0:1026").unwrap());
    let reports = start(&node, "[::]:1026");
    wait_for(&reports, "[::]:1026: listens");
    wait_for(&reports, &format!("(process {}) has it", std::process::id()));
    assert!(ask(&node, "[::1]:1026", "GET / HTTP/1.0\r\n\r\n").contains("you asked for /"));
    drop(taken);
    wait_for(&reports, "0.0.0.0:1026: listens");
    assert!(ask(&node, "127.0.0.1:1026", "GET / HTTP/1.0\r\n\r\n").contains("you asked for /"));
}

#[test]
fn who_keeps_connections_open_keeps_nobody_out() {
    let node = Namespace::new();
    let reports = start(&node, "0.0.0.0:1027");
    wait_for(&reports, "0.0.0.0:1027: listens");
    let idle: Vec<Client> =
        (0..CONNECTIONS + 20).map(|_| connect(&node, "127.0.0.1:1027").unwrap()).collect();
    let answer = ask(&node, "127.0.0.1:1027", "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with("you asked for /healthz"), "{answer}");
    // The oldest had to go.
    let mut first = &idle[0];
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_request_is_bounded_in_size_and_time() {
    let node = Namespace::new();
    let reports = start(&node, "0.0.0.0:1028");
    wait_for(&reports, "0.0.0.0:1028: listens");
    let mut large = connect(&node, "127.0.0.1:1028").unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(4 * HEAD));
    let _cut_off = large.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _reset = large.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("you asked"), "{answer:?}");
    // One that never ends its request.
    let mut slow = connect(&node, "127.0.0.1:1028").unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
    let begun = Instant::now();
    let mut answer = String::new();
    let _reset = slow.read_to_string(&mut answer);
    assert!(!answer.contains("you asked"), "{answer}");
    assert!(begun.elapsed() < DEADLINE + Duration::from_secs(5), "{:?}", begun.elapsed());
}
