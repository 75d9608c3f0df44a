//! What becomes of connections when endpoints and Services change under them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plumbing::NetNs;
use serde_json::json;

use super::service_scene::{CLIENT, DEADLINE, From, Protocol, Scene, To, dead, ready, terminating};

/// So many answers a socket gets before the change, and after it.
const BEFORE: usize = 10;
const AFTER: usize = 10;

/// How often requests are made, all threads together.
const RATE: u32 = 500;
const THREADS: u32 = 16;

/// One socket of a client sends a request five times a second, while `change` happens and until enough answers came after it.
/// Who answered, in that order.
fn one_socket(
    scene: &Scene<'_>,
    kind: &str,
    to: SocketAddr,
    change: impl FnOnce(),
    enough: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let request = match kind {
        "udp" => "echo hostname >&3",
        _ => r"printf 'GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n' >&3",
    };
    let (address, port) = (to.ip(), to.port());
    let (answers, stop) = ("/run/one-socket.answers", "/run/one-socket.stop");
    // It ends by itself, too: a check that fails meanwhile waits for it.
    let line = format!(
        "exec 3<>/dev/{kind}/{address}/{port} || exit; \
         while [ ! -e {stop} ] && [ $SECONDS -lt {} ]; do \
         {request} 2>/dev/null; timeout 1 dd bs=9000 count=1 <&3 2>/dev/null | tail -n 1; echo; sleep 0.2; done >{answers}",
        2 * DEADLINE.as_secs()
    );
    let client = From::Pod("node1");
    let told = || -> Vec<String> {
        let said = scene.sh(client, &format!("cat {answers} 2>/dev/null || true"));
        said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    scene.sh(client, &format!("rm -f {answers} {stop}"));
    std::thread::scope(|scope| {
        let socket = scope.spawn(|| scene.sh(client, &line));
        testkit::wait_until(DEADLINE, &format!("{kind} {to} answers"), || told().len() >= BEFORE);
        change();
        let before = told().len();
        testkit::wait_until(DEADLINE, &format!("{kind} {to} answers after the change"), || {
            told().get(before..).is_some_and(&enough)
        });
        scene.sh(client, &format!("touch {stop}"));
        socket.join().unwrap();
    });
    told()
}

/// A UDP flow, always from one port, leaves a backend that does not serve any more, and not one that terminates.
pub(super) fn udp_leaves_what_does_not_serve(scene: &Scene<'_>) {
    let service = scene.serve("udp-flow", &json!({}), &[]);
    for address in service.addresses {
        scene.endpoints(service.name, &[ready(1)]);
        scene.expect_all(From::Pod("node1"), &service.cluster(), &["web1"]);
        let to = SocketAddr::new(address, 80);
        let change = || {
            scene.endpoints(service.name, &[terminating(1), ready(2)]);
            // By then the node knows of it.
            scene.expect(From::Pod("node1"), To(Protocol::Udp, address, 80), &["web2"]);
        };
        let said = one_socket(scene, "udp", to, change, |after| after.len() >= AFTER);
        assert!(said.iter().all(|name| name == "web1"), "{to}: {said:?}");

        let change = || scene.endpoints(service.name, &[dead(2), ready(3)]);
        let moved = |after: &[String]| after.iter().filter(|name| *name == "web3").count() >= AFTER;
        let said = one_socket(scene, "udp", to, change, moved);
        let moved = said.iter().position(|name| name == "web3").unwrap_or_else(|| panic!("{to}: {said:?}"));
        assert!(moved > 0 && said[..moved].iter().all(|name| name == "web2"), "{to}: {said:?}");
        assert!(said[moved..].iter().all(|name| name == "web3"), "{to}: {said:?}");
    }
    scene.forget(service.name);
}

/// A TCP connection outlives its endpoint in the slices, and the Service itself.
pub(super) fn tcp_outlives_endpoint_and_service(scene: &Scene<'_>) {
    for family in 0..2 {
        let service = scene.serve("tcp-flow", &json!({}), &[ready(1)]);
        scene.expect_all(From::Pod("node1"), &service.cluster(), &["web1"]);
        let to = SocketAddr::new(service.addresses[family], 80);
        let change = || {
            scene.endpoints(service.name, &[ready(2)]);
            scene.expect_all(From::Pod("node2"), &service.cluster(), &["web2"]);
            scene.forget(service.name);
        };
        let said = one_socket(scene, "tcp", to, change, |after| after.len() >= AFTER);
        assert!(said.iter().all(|name| name == "web1"), "{to}: {said:?}");
    }
}

/// 500 connections a second, of both families, while every Pod of the Deployment is replaced twice: each is served.
pub(super) fn a_rolling_update_loses_no_request(scene: &Scene<'_>) {
    scene.apply(&deployment());
    scene.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "rolling"}, "spec": {
        "selector": {"app": "rolling"}, "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
        "ports": [{"port": 80, "targetPort": 8080}]}}));
    let roll_out = ["rollout", "status", "deployment/rolling", "--timeout=180s"];
    scene.cluster.kubectl(&roll_out);
    let service = scene.service("rolling");
    for address in service.addresses {
        scene.expect_some(From::Pod("node1"), To(Protocol::Tcp, address, 80));
    }
    let netns = NetNs::open(&network_namespace(scene, "node1")).unwrap();
    let (stop, told) = (AtomicBool::new(false), Mutex::new(BTreeMap::<String, u32>::new()));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let address = service.addresses[thread as usize % 2];
            let (netns, stop, told) = (&netns, &stop, &told);
            scope.spawn(move || netns.run(|| requests(address, stop, told)).unwrap());
        }
        for _ in 0..2 {
            scene.cluster.kubectl(&["rollout", "restart", "deployment/rolling"]);
            scene.cluster.kubectl(&roll_out);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let told = told.into_inner().unwrap();
    let served = told.get("served").copied().unwrap_or(0);
    eprintln!(
        "{served} requests were served, {:.0} a second: {told:?}",
        f64::from(served) / begin.elapsed().as_secs_f64()
    );
    assert!(served > 1000 && told.len() == 1, "{told:?}");
    scene.cluster.kubectl(&["delete", "service,deployment", "rolling", "--wait=true"]);
}

/// One thread's share, until it is stopped.
fn requests(address: IpAddr, stop: &AtomicBool, told: &Mutex<BTreeMap<String, u32>>) {
    let pause = Duration::from_secs(1) * THREADS / RATE;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let what = match request(SocketAddr::new(address, 80)) {
            Ok(()) => "served".to_owned(),
            Err(error) => format!("{address}: {error}"),
        };
        *told.lock().unwrap().entry(what).or_default() += 1;
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // What could not be kept up with is not made up for in a burst.
        next = next.max(Instant::now() - pause);
    }
}

fn request(to: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /hostname HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") && answer.contains("rolling-") {
        return Ok(());
    }
    Err(std::io::Error::other(answer))
}

/// The client's network namespace, as a path on this machine.
fn network_namespace(scene: &Scene<'_>, node: &str) -> PathBuf {
    let pid = std::fs::read_to_string(scene.cluster.directory.join(node).join("pid")).unwrap();
    format!("/proc/{}/root/run/netns/{CLIENT}", pid.trim()).into()
}

/// As every Deployment has to be that wants to lose none: ready before it counts, and serving on while it terminates, for longer
/// than a busy cluster takes to tell all nodes of it.
fn deployment() -> serde_json::Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolling"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "rolling"}},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": {"app": "rolling"}}, "spec": {
            "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "web", "image": "localhost/agnhost:1", "imagePullPolicy": "Never",
                "args": ["netexec", "--http-port=8080", "--delay-shutdown=15"],
                "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1}}]}}}})
}
