//! Open connections through Services live on, whoever is killed or replaced.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::chaos::{kill_and_restart, replace_build, replace_maps};
use e2e::services::{CLUSTER_IPS, NODE_PORT, PORT, SERVICE_CIDRS, TARGET, write_service};
use e2e::{DEADLINE, TestLab};
use lab::{Family, Lab, Target};
use socket2::SockRef;
use testkit::Random;

/// Connections of each of the four kinds: from a Pod and from outside, over both families.
const EACH: usize = 250;

const WORKERS: usize = 8;

/// That of load balancers' checks of nodes (`healthzPort` of kube-proxy).
const HEALTH_PORT: u16 = 10_256;

/// Answers every connection with what it says, until the listener is shut down and all clients are gone.
fn serve(listener: &TcpListener) {
    thread::scope(|scope| {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_nodelay(true).unwrap();
            scope.spawn(move || {
                let mut buffer = [0; 8];
                while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
            });
        }
    });
}

fn connect(lab: &Lab, from: &Target, at: SocketAddr) -> std::io::Result<TcpStream> {
    let stream =
        lab.netns(from).unwrap().run(|| TcpStream::connect_timeout(&at, Duration::from_secs(5))).unwrap()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// For how long a port was not served at most, seen from outside, until told to stop.
fn longest_silence(lab: &Lab, at: SocketAddr, stop: &AtomicBool) -> Duration {
    let netns = lab.netns(&Target::Outside).unwrap();
    netns
        .run(|| {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                if TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok() {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                thread::sleep(Duration::from_millis(10));
            }
            longest.max(last.elapsed())
        })
        .unwrap()
}

/// Numbers there and back on each of these connections in turn, until told to stop; then once more. What failed.
fn load(
    mut connections: Vec<(String, TcpStream)>,
    stop: &AtomicBool,
    exchanged: &AtomicU64,
    failures: &Mutex<Vec<String>>,
) {
    let mut number = 0u64;
    let mut last = false;
    while !last {
        last = stop.load(Ordering::Relaxed);
        number += 1;
        connections.retain_mut(|(name, stream)| {
            let mut answer = [0; 8];
            let result = stream
                .write_all(&number.to_be_bytes())
                .and_then(|()| stream.read_exact(&mut answer))
                .map_err(|error| error.to_string())
                .and_then(|()| {
                    if answer == number.to_be_bytes() { Ok(()) } else { Err("another answer".to_owned()) }
                });
            match result {
                Ok(()) => exchanged.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    failures.lock().unwrap().push(format!("{name}, exchange {number}: {error}"));
                    return false;
                }
            };
            true
        });
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_thousand_connections_through_services_live_on_while_agents_are_killed_and_replaced() {
    let programs = testkit::copies(&["midonet-kube-node", "midonet-kube-cni"]);
    let lab = TestLab::with_programs(2, Family::Dual, &[SERVICE_CIDRS], programs.path()).unwrap();
    let add = |node: &str, name: &str| lab.add_pod(node, "default", name).unwrap();
    let client = Target::Pod(add("node1", "client").key);
    let pods = [("node1", "near-0"), ("node1", "near-1"), ("node2", "far-0"), ("node2", "far-1")]
        .map(|(node, name)| add(node, name));
    let listeners = pods.each_ref().map(|pod| {
        let netns = lab.netns(&Target::Pod(pod.key.clone())).unwrap();
        netns.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, TARGET)).unwrap()).unwrap()
    });
    write_service(&lab, "TCP", &pods).unwrap();
    let node: Vec<IpAddr> = lab.state().unwrap().node("node1").unwrap().addresses.clone();
    let targets: Vec<(&Target, SocketAddr)> = CLUSTER_IPS
        .iter()
        .map(|ip| (&client, SocketAddr::new(ip.parse().unwrap(), PORT)))
        .chain(node.iter().map(|ip| (&Target::Outside, SocketAddr::new(*ip, NODE_PORT))))
        .collect();
    assert_eq!(targets.len(), 4);
    let (stop, exchanged, failures) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| serve(listener));
        }
        // What ends this scope also if an assertion fails.
        let end = End { listeners: &listeners, stop: &stop };
        let mut connections = Vec::new();
        for (from, at) in &targets {
            testkit::wait_until(DEADLINE, "the Service is served", || connect(&lab, from, *at).is_ok());
            for number in 0..EACH {
                connections.push((format!("{at} #{number}"), connect(&lab, from, *at).unwrap()));
            }
        }
        let mut workers: Vec<Vec<_>> = (0..WORKERS).map(|_| Vec::new()).collect();
        for (number, connection) in connections.into_iter().enumerate() {
            workers[number % WORKERS].push(connection);
        }
        let (stop, exchanged, failures) = (&stop, &exchanged, &failures);
        let health = SocketAddr::new(*node.first().unwrap(), HEALTH_PORT);
        let the_lab: &Lab = &lab;
        let health = scope.spawn(move || longest_silence(the_lab, health, stop));
        let workers: Vec<_> = workers
            .into_iter()
            .map(|connections| scope.spawn(move || load(connections, stop, exchanged, failures)))
            .collect();
        let mut random = Random::new(0);
        for round in 0..10 {
            thread::sleep(Duration::from_millis(300 + random.below(400)));
            kill_and_restart(&lab, if round % 2 == 0 { "node1" } else { "node2" }, &mut random).unwrap();
        }
        let other_maps = |programs: &std::path::Path| replace_maps(programs, "--max-connections 200000");
        for replace in [&replace_build as &dyn Fn(&std::path::Path), &other_maps] {
            replace(programs.path());
            for node in ["node1", "node2"] {
                lab.restart_agent(node).unwrap();
                thread::sleep(Duration::from_millis(500));
            }
        }
        for node in ["node1", "node2"] {
            let line = "bpftool map show pinned $(ls /sys/fs/bpf/midonet-kube/maps/connections-v*)";
            let shown = e2e::sh(&lab, &Target::Node(node.into()), line);
            let status = || lab.status(node).unwrap();
            assert!(shown.contains("max_entries 200000"), "{node}: {shown}: {:?}", status().problems);
        }
        // Whoever comes now is served as those before.
        for (from, at) in &targets {
            connect(&lab, from, *at).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        for worker in workers {
            worker.join().unwrap();
        }
        eprintln!("the health port was silent for {:?} at most", health.join().unwrap());
        eprintln!("{} exchanges; the last took {:?}", exchanged.load(Ordering::Relaxed), begin.elapsed());
        drop(end);
    });
    assert_eq!(failures.into_inner().unwrap(), Vec::<String>::new());
    let least = u64::try_from(4 * EACH * 10).unwrap();
    assert!(exchanged.load(Ordering::Relaxed) > least, "only {exchanged:?} exchanges");
}

/// Ends servers and clients when it goes.
struct End<'a> {
    listeners: &'a [TcpListener],
    stop: &'a AtomicBool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for listener in self.listeners {
            // accept(2) fails from now on.
            let _ = SockRef::from(listener).shutdown(Shutdown::Both);
        }
    }
}
