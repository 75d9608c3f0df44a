//! Nobody waits for long work: ADD, probes, metrics and SIGTERM are answered while a thousand Pods get another MTU, ten
//! thousand routes are set or a thousand interfaces are deleted.
//!
//! An answer that waits for the work takes as long as the work. Of several answers the median counts: a busy machine makes
//! all of them late, and the work, too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::{Family, Pod};
use serde_json::json;

/// An answer that comes that soon is never late.
const SOON: Duration = Duration::from_millis(100);

const PODS: usize = 1000;
const NODES: usize = 5000;

/// How many series an agent may have, whatever is on its node.
const MOST_SERIES: usize = 500;

/// The agent's work with this many objects is waited for so long: other machines are slow.
const PATIENCE: Duration = Duration::from_secs(180);

struct Scene {
    lab: TestLab,
}

/// How long answers took, by what was asked.
#[derive(Debug, Default)]
struct Answers {
    add: Vec<Duration>,
    healthz: Vec<Duration>,
    metrics: Vec<Duration>,
    /// How long the work took that went on meanwhile.
    work: Duration,
}

impl Answers {
    fn are_soon(mut self, during: &str) {
        for (what, times) in
            [("ADD", &mut self.add), ("/healthz", &mut self.healthz), ("/metrics", &mut self.metrics)]
        {
            times.sort();
            let (median, slowest) = (times[times.len() / 2], times.last().unwrap());
            eprintln!("{what} while {during}: median {median:?}, slowest {slowest:?} of {}", times.len());
            assert!(median < SOON.max(self.work / 2), "{what} while {during} for {:?}: {times:?}", self.work);
        }
    }
}

impl Scene {
    /// A node whose podCIDR holds all the Pods.
    fn new() -> Self {
        let lab = TestLab::up(1, Family::Dual, &["--max-pods=2000"]).unwrap();
        lab.stop_agent("node1").unwrap();
        let manifest = lab.manifests().join("node-node1.yaml");
        let node = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, node.replace("10.244.1.0/24", "10.244.0.0/20")).unwrap();
        lab.start_agent("node1").unwrap();
        Self { lab }
    }

    /// A page of the agent's HTTP server, and how long it took.
    fn page(&self, path: &str) -> (String, Duration) {
        let netns = self.lab.netns(&node1()).unwrap();
        let start = Instant::now();
        let mut stream = netns.run(|| TcpStream::connect("127.0.0.1:9454")).unwrap().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
        (text, start.elapsed())
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.page("/metrics").0;
        let value = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        value.unwrap_or_else(|| panic!("{name} in {page}")).parse().unwrap()
    }

    /// How many series the agent has; no text of this kind is in them.
    fn series_without(&self, words: &[String]) -> usize {
        let page = self.page("/metrics").0;
        let body = page.split_once("\r\n\r\n").unwrap().1;
        let found: Vec<_> = words.iter().filter(|word| body.contains(*word)).collect();
        assert!(found.is_empty(), "{found:?} in {body}");
        body.lines().filter(|line| line.starts_with("midonet_kube_node_")).count()
    }

    /// Adds Pods, several at a time.
    fn add(&self, count: usize) -> Vec<Pod> {
        let numbers = Mutex::new(0..count);
        let work = || -> Vec<Pod> {
            let mut pods = Vec::new();
            loop {
                let Some(number) = numbers.lock().unwrap().next() else { return pods };
                pods.push(self.lab.add_pod("node1", "default", &format!("pod-{number}")).unwrap());
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    /// Asks for everything again and again until the work is done.
    fn ask_while(&self, name: &str, mut busy: impl FnMut() -> bool) -> Answers {
        let done = AtomicBool::new(false);
        let start = Instant::now();
        thread::scope(|scope| {
            let adding = scope.spawn(|| {
                let mut times = Vec::new();
                while !done.load(Ordering::Relaxed) || times.is_empty() {
                    let pod = self.lab.add_pod("node1", "late", &format!("{name}-{}", times.len())).unwrap();
                    times.push(Duration::from_micros(pod.add_microseconds));
                }
                times
            });
            let asking = |path: &'static str| {
                let done = &done;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    while !done.load(Ordering::Relaxed) || times.is_empty() {
                        times.push(self.page(path).1);
                        thread::sleep(Duration::from_millis(5));
                    }
                    times
                })
            };
            let (healthz, metrics) = (asking("/healthz"), asking("/metrics"));
            let until = Instant::now() + PATIENCE;
            while busy() && Instant::now() < until {
                thread::sleep(Duration::from_millis(10));
            }
            done.store(true, Ordering::Relaxed);
            let work = start.elapsed();
            assert!(!busy(), "{name}: not done within {PATIENCE:?}");
            Answers {
                work,
                add: adding.join().unwrap(),
                healthz: healthz.join().unwrap(),
                metrics: metrics.join().unwrap(),
            }
        })
    }

    /// How many of the Pods' interfaces have this MTU.
    fn with_mtu(&self, mtu: u32) -> usize {
        let line = format!("cat /sys/class/net/mido?????*/mtu | grep -cx {mtu} || true");
        sh(&self.lab, &node1(), &line).trim().parse().unwrap()
    }

    fn set_uplink_mtu(&self, mtu: u32) {
        sh(&self.lab, &node1(), &format!("ip link set eth0 mtu {mtu}"));
    }
}

#[test]
fn nobody_waits_for_long_work() {
    let scene = Scene::new();
    let has_addresses = || scene.page("/metrics").0.contains("midonet_kube_node_addresses_free{");
    testkit::wait_until(DEADLINE, "the node's addresses are known", has_addresses);
    let alone = scene.series_without(&[]);
    let pods = scene.add(PODS);
    // Metrics have neither Pods nor nodes in them, so that their number does not grow.
    let names = |pod: &Pod| {
        let addresses = pod.addresses().into_iter().map(|address| address.to_string());
        addresses.chain([pod.key.to_string()]).collect::<Vec<_>>()
    };
    let names: Vec<_> = pods.iter().flat_map(names).collect();
    assert_eq!(scene.metric("midonet_kube_node_ports"), PODS as u64);
    assert_eq!(scene.series_without(&names), alone);
    assert!(alone <= MOST_SERIES, "{alone}");

    scene.set_uplink_mtu(1400);
    scene.ask_while("mtu", || scene.with_mtu(1350) < PODS).are_soon("the Pods' MTU changes");

    let nodes: Vec<_> = (0..NODES).map(node).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes}).to_string();
    let manifest = scene.lab.manifests().join("many.json");
    let new = manifest.with_extension("new");
    std::fs::write(&new, list).unwrap();
    std::fs::rename(&new, &manifest).unwrap();
    let known = || scene.metric("midonet_kube_node_peers") < NODES as u64;
    scene.ask_while("routes", known).are_soon("routes are set");
    assert_eq!(scene.series_without(&names), alone);

    // The MTU changes again, and the agent has to end in the middle of that.
    let mut ends = [1500, 1400, 1500].map(|uplink| {
        let mtu = uplink - 50;
        scene.set_uplink_mtu(uplink);
        testkit::wait_until(DEADLINE, "the change begins", || scene.with_mtu(mtu) > 0);
        let start = Instant::now();
        scene.lab.stop_agent("node1").unwrap();
        let took = start.elapsed();
        scene.lab.start_agent("node1").unwrap();
        testkit::wait_until(PATIENCE, "the next agent ends the work", || scene.with_mtu(mtu) >= PODS);
        took
    });
    ends.sort();
    eprintln!("SIGTERM while the Pods' MTU changes: {ends:?}");
    assert!(ends[1] < SOON * 10, "SIGTERM: {ends:?}");

    let left = Mutex::new(pods);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(pod) = left.lock().unwrap().pop() else { return };
                    scene.lab.delete_pod(&pod.key).unwrap();
                }
            });
        }
        let retired = || sh(&scene.lab, &node1(), "ip -br link show group 7021; ip -br link show group 7022");
        let deleting = || !left.lock().unwrap().is_empty() || !retired().is_empty();
        scene.ask_while("deletion", deleting).are_soon("interfaces are deleted");
    });
    assert_eq!(scene.series_without(&names), alone);
}

fn node(number: usize) -> serde_json::Value {
    let (high, low) = (number / 250, number % 250);
    let first = 16 * 256 + number * 8;
    let pod_cidrs =
        [format!("10.244.{}.{}/29", first / 256, first % 256), format!("fd44:0:0:{:x}::/64", 4096 + number)];
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": format!("other-{number}")},
        "spec": {"podCIDRs": pod_cidrs},
        "status": {"addresses": [{"type": "InternalIP", "address": format!("198.18.{high}.{low}")}]},
    })
}
