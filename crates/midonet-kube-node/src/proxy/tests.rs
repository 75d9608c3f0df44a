use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Instant;

use objects::Kind;
use serde_json::{Value, json};
use testkit::Namespace;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A node where a proxy runs; both end with this value.
struct Node {
    netns: Namespace,
    state_dir: tempfile::TempDir,
    proxy: Proxy,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    fn start(netns: Namespace, state_dir: tempfile::TempDir) -> Self {
        let dir = state_dir.path().to_str().unwrap();
        let config = Config::from_flags([
            "--cluster-cidr=10.244.0.0/16,fd44::/48",
            "--state-dir",
            dir,
            "--node-name=a",
        ]);
        let (send, receive) = mpsc::channel();
        netns.run(|| {
            // Its threads are made in the namespace.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let proxy = runtime.block_on(async { Proxy::start(&config) });
            send.send((proxy, runtime)).unwrap();
        });
        let (proxy, runtime) = receive.recv().unwrap();
        Self { netns, state_dir, proxy, _runtime: runtime }
    }

    fn new() -> Self {
        Self::start(Namespace::new(), tempfile::tempdir().unwrap())
    }

    /// Has the kernel serve these Services: their names, ports for health checks and local endpoints.
    fn serves(&self, checks: &[(&str, u16, u32)]) {
        let check = |port: u16, local_endpoints: u32| HealthCheck { port, local_endpoints };
        let checks = checks.iter().map(|(key, port, endpoints)| ((*key).into(), check(*port, *endpoints)));
        {
            let (pending, _) = &mut *self.proxy.pending();
            (pending.complete, pending.checks) = (true, Some(checks.collect()));
        }
        self.proxy.applied(Duration::from_millis(5));
    }

    /// The code, head and body of an answer; `None`: nobody listens.
    fn ask(&self, address: &str, path: &str) -> Option<(u16, String, String)> {
        let mut client = self.netns.run(|| TcpStream::connect(address)).ok()?;
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Some((code, head.to_lowercase(), body.to_owned()))
    }

    fn code(&self, address: &str, path: &str) -> Option<u16> {
        self.ask(address, path).map(|(code, ..)| code)
    }

    fn waits_for(&self, address: &str, path: &str, code: Option<u16>) {
        testkit::wait_until(DEADLINE, &format!("{code:?} of {address}{path}"), || {
            self.code(address, path) == code
        });
    }
}

fn node(name: &str, more: &Value) -> Arc<Node_> {
    let mut object = json!({"metadata": {"name": name}});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
    Arc::new(Node_::trim(metadata, serde_json::from_value(object).unwrap()).unwrap())
}

use objects::Node as Node_;

const HEALTH: [&str; 2] = ["127.0.0.1:10256", "[::1]:10256"];

#[test]
fn the_ports_of_kube_proxy_are_served_from_the_start_in_both_families() {
    let node = Node::new();
    for address in HEALTH {
        node.waits_for(address, "/livez", Some(503));
        assert_eq!(node.code(address, "/healthz"), Some(503), "no Service is in the kernel");
        assert_eq!(node.code(address, "/other"), Some(404));
    }
    node.proxy.queued();
    node.serves(&[]);
    for address in HEALTH {
        let (code, head, body) = node.ask(address, "/healthz").unwrap();
        assert_eq!(code, 200);
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["healthy"], &body["nodeEligible"]), (&json!(true), &json!(true)));
        assert_eq!(body["status"]["IPv6"]["healthy"], json!(true));
    }
    node.waits_for("127.0.0.1:10249", "/proxyMode", Some(200));
    assert_eq!(node.ask("127.0.0.1:10249", "/proxyMode").unwrap().2, "ebpf");
    assert_eq!(node.code("127.0.0.1:10249", "/healthz"), Some(200));
    assert_eq!(node.code("[::1]:10249", "/metrics"), None, "at 127.0.0.1 alone");
    let (_, head, page) = node.ask("127.0.0.1:10249", "/metrics").unwrap();
    assert!(head.contains("application/openmetrics-text"), "{head}");
    for line in ["kubeproxy_proxy_healthz_total{code=\"200\"} 2", "kubeproxy_proxy_livez_total{code=\"503\"}"]
    {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[test]
fn healthz_follows_the_node_object() {
    let served = Node::new();
    served.serves(&[]);
    let code = |proxy: &Proxy, path: &str| proxy.answer_health(path).status().as_u16();
    let follow = |upserted: Vec<Arc<Node_>>, deleted: Vec<Arc<Node_>>, synced| {
        served.proxy.follow_node("a", &Delta { upserted, deleted, synced });
        [code(&served.proxy, "/healthz"), code(&served.proxy, "/livez")]
    };
    let taint = |key: &str| json!({"spec": {"taints": [{"key": key}]}});
    assert_eq!(follow(vec![node("b", &json!({}))], vec![], false), [200, 200], "not read yet");
    assert_eq!(follow(vec![], vec![], true), [503, 200], "read, and not there");
    assert_eq!(follow(vec![node("a", &json!({}))], vec![], true), [200, 200]);
    assert_eq!(follow(vec![node("b", &taint("ToBeDeletedByClusterAutoscaler"))], vec![], true), [200, 200]);
    assert_eq!(follow(vec![node("a", &taint("ToBeDeletedByClusterAutoscaler"))], vec![], true), [503, 200]);
    assert_eq!(follow(vec![node("a", &taint("node.kubernetes.io/unschedulable"))], vec![], true), [200, 200]);
    assert_eq!(follow(vec![], vec![node("a", &json!({}))], true), [503, 200]);
}

#[test]
fn a_service_is_asked_at_its_port_as_long_as_it_has_one() {
    let node = Node::new();
    node.serves(&[("shop/web", 30100, 2), ("shop/idle", 30101, 0)]);
    for address in ["127.0.0.1:30100", "[::1]:30100"] {
        node.waits_for(address, "/", Some(200));
        let (code, head, body) = node.ask(address, "/any/path").unwrap();
        assert_eq!(code, 200);
        assert!(head.contains("x-load-balancing-endpoint-weight: 2"), "{head}");
        let want = json!({
            "service": {"namespace": "shop", "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": true,
        });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), want);
    }
    node.waits_for("127.0.0.1:30101", "/", Some(503));
    // Endpoints come and go without the port being closed; a port that changes moves.
    node.serves(&[("shop/web", 30100, 0), ("shop/idle", 30102, 1)]);
    assert_eq!(node.code("127.0.0.1:30100", "/"), Some(503));
    node.waits_for("[::1]:30102", "/", Some(200));
    node.waits_for("[::1]:30101", "/", None);
    // One Service takes the port of another.
    node.serves(&[("shop/web", 30100, 0), ("shop/next", 30102, 1)]);
    testkit::wait_until(DEADLINE, "the other Service answers", || {
        node.ask("127.0.0.1:30102", "/").is_some_and(|(_, _, body)| body.contains("\"next\""))
    });
    node.serves(&[]);
    for port in [30100, 30102] {
        node.waits_for(&format!("127.0.0.1:{port}"), "/", None);
        node.waits_for(&format!("[::1]:{port}"), "/", None);
    }
    assert_eq!(*node.proxy.problems().borrow(), []);
}

#[test]
fn ports_are_at_all_addresses_of_the_node() {
    let node = Node::new();
    node.serves(&[("shop/web", 30100, 1)]);
    node.waits_for("127.0.0.1:30100", "/", Some(200));
    node.waits_for("[::1]:30100", "/", Some(200));
    // One that comes later, too.
    node.netns.ip("addr add 192.0.2.1/32 dev lo");
    node.waits_for("192.0.2.1:30100", "/", Some(200));
}

#[test]
fn a_taken_port_is_a_problem_of_its_service_until_it_is_free() {
    let netns = Namespace::new();
    let taken = netns
        .run(|| ["0.0.0.0:30100", "[::]:10256"].map(|address| std::net::TcpListener::bind(address).unwrap()));
    let node = Node::start(netns, tempfile::tempdir().unwrap());
    let problems = node.proxy.problems();
    node.serves(&[("shop/web", 30100, 1)]);
    testkit::wait_until(DEADLINE, "both are told", || problems.borrow().len() == 2);
    let told = problems.borrow().clone();
    let own = format!("(process {}) has it", std::process::id());
    assert_eq!((told[0].what, told[0].object.as_str()), ("health_port", "Service shop/web"));
    assert!(told[0].problem.contains("0.0.0.0:30100") && told[0].problem.contains(&own), "{told:?}");
    assert_eq!(told[1].object, "port for the health of Services");
    assert!(
        told[1].problem.contains(":10256") && told[1].remedy.contains("--proxy-health-address"),
        "{told:?}"
    );
    // Its other family is served all the same, and the Service goes with its problem.
    node.waits_for("[::1]:30100", "/", Some(200));
    node.serves(&[]);
    assert_eq!(problems.borrow().len(), 1);
    drop(taken);
    node.waits_for("[::1]:10256", "/livez", Some(200));
    testkit::wait_until(DEADLINE, "no problem is left", || problems.borrow().is_empty());
}

#[test]
fn the_next_agent_serves_at_once_what_the_last_one_did() {
    let node = Node::new();
    node.serves(&[("shop/web", 30100, 1)]);
    let Node { netns, state_dir, proxy, _runtime: runtime } = node;
    drop((proxy, runtime));
    let begun = Instant::now();
    let next = Node::start(netns, state_dir);
    for address in ["127.0.0.1:30100", "[::1]:30100"] {
        next.waits_for(address, "/", Some(200));
    }
    next.waits_for(HEALTH[1], "/healthz", Some(200));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Until it knows better.
    next.serves(&[]);
    next.waits_for("127.0.0.1:30100", "/", None);
    let record = || record::read(&record::path(next.state_dir.path()));
    assert_eq!(record().unwrap().len(), 0);
    // One that serves no Services leaves none in the kernel.
    forget(next.state_dir.path()).unwrap();
    assert_eq!(record(), None);
    forget(next.state_dir.path()).unwrap();
}
