//! What established connections get while others are begun that nobody ever answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Family, Lab, Target};
use plumbing::NetNs;

use super::{make_service, servers, wait};
use crate::context::Bench;
use crate::maps::{self, Frontend};
use crate::objects::{self, CIDRS, Service};
use crate::results::{Better, Part, Table};
use crate::traffic::{Path, Spoofed, requests_per_second};

const NODE: &str = "node1";

/// At a node's address: where the flood goes, and where nobody serves.
const NODE_PORT: u16 = 30_081;
const UNSERVED: u16 = 30_099;

/// Established connections that send nothing meanwhile.
const IDLE: u16 = 1000;

/// How long one that works takes for a byte.
const PATIENCE: Duration = Duration::from_secs(2);

/// A flood takes several seconds.
const MOST_ROUNDS: usize = 5;

/// The sources that are forged (RFC 2544).
const FORGED: &str = "198.18.0.0/15";

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("flood", "Established connections under a flood of half-open ones");
    part.note(
        "IPv4, one node. A host outside sends TCP SYNs with forged sources to a NodePort, each with another source, twice as \
         many as the table of connections has entries, as fast as one processor can. On the other processor a Pod's \
         requests and responses run over a connection through a ClusterIP; 1,000 more connections from that Pod through the \
         flooded Service's ClusterIP are idle. Of rounds there are 5 at most.",
    );
    part.case("quiet", "nothing else runs");
    part.case("flood", "SYNs to the NodePort");
    part.case("unserved port", "the same SYNs to a port where nobody serves: what the packets alone cost");
    part.tables.push(Table::new("flood/rr", "request/response", "transactions/s", Better::Higher, "quiet"));
    part.tables.push(Table::new("flood/idle", "idle connections after it", "of 1,000", Better::Higher, ""));
    part.tables.push(Table::new("flood/rate", "flood", "SYN/s", Better::Higher, ""));

    bench.progress.step("flood: node, Pods, and idle connections");
    let lab = bench.lab_with("flood", Family::V4, 1, true, vec![format!("--service-cidr={CIDRS}")])?;
    routes(&lab)?;
    let client = lab.add_pod(NODE, "bench", "client")?;
    let near = || lab.netns(&Target::Pod(client.key.clone()));
    let (busy, busy_pods) = make_service(&lab, NODE, 80, None)?;
    let (flooded, pods) = make_service(&lab, NODE, 81, Some(NODE_PORT))?;
    for service in [&busy, &flooded] {
        objects::write(&lab.manifests(), &service.name, service.objects())?;
        wait(bench, &lab, NODE, &[Frontend::ClusterIp(service.at(true))])?;
    }
    wait(bench, &lab, NODE, &[Frontend::NodePort(NODE_PORT)])?;
    let path =
        Path { from: near()?, servers: servers(&lab, &busy_pods, true)?, service: Some(busy.at(true)) };
    let mut idle = Idle::open(&near()?, &servers(&lab, &pods, true)?, &flooded)?;
    let node = node_address(&lab, NODE)?;
    let outside = lab.netns(&Target::Outside)?;
    let mut spoofed = Spoofed::new(&outside, "198.18.0.0".parse()?)?;
    let enough = 2 * u64::from(maps::size(&lab, NODE, "connections")?);
    let duration = Duration::from_secs_f64(bench.seconds.max(1.0));
    let rounds = bench.rounds.min(MOST_ROUNDS);
    for round in 1..=rounds {
        bench.progress.step(&format!("flood: round {round} of {rounds}"));
        part.record("flood/rr", "quiet", requests_per_second(&path, duration)?)?;
        let before = maps::connections(&lab, NODE, flooded.at(true).ip())?;
        let (rate, sent) =
            during(bench, &mut spoofed, SocketAddrV4::new(node, NODE_PORT), (None, enough), || {
                requests_per_second(&path, duration)
            })?;
        part.record("flood/rr", "flood", rate)?;
        part.record("flood/rate", "flood", sent)?;
        let after = maps::connections(&lab, NODE, flooded.at(true).ip())?;
        part.record("flood/idle", "in the table before it", count(before))?;
        part.record("flood/idle", "in the table after it", count(after))?;
        part.record("flood/idle", "that work after it", count(idle.working()))?;
        let (rate, sent) = during(bench, &mut spoofed, SocketAddrV4::new(node, UNSERVED), (None, 0), || {
            requests_per_second(&path, duration)
        })?;
        part.record("flood/rr", "unserved port", rate)?;
        part.record("flood/rate", "unserved port", sent)?;
    }
    Ok(part)
}

/// The IPv4 address of a node.
pub(crate) fn node_address(lab: &Lab, node: &str) -> Result<Ipv4Addr> {
    match lab.state()?.node(node)?.addresses.first() {
        Some(IpAddr::V4(address)) => Ok(*address),
        _ => bail!("a node without IPv4"),
    }
}

/// Measures while packets with forged sources are sent, at most so many a second, and at least so many; what was measured, and
/// their rate.
pub(crate) fn during<T>(
    bench: &Bench,
    spoofed: &mut Spoofed,
    to: SocketAddrV4,
    (rate, least): (Option<u32>, u64),
    measure: impl FnOnce() -> Result<T>,
) -> Result<(T, f64)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            spoofed.send(to, rate, |sent| {
                bench.interrupted.load(Ordering::Relaxed) || (over.load(Ordering::Relaxed) && sent >= least)
            })
        });
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        let rate = flood.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        bench.check()?;
        Ok((measured?, rate))
    })
}

/// The way back to forged sources: the host outside drops what comes for them.
pub(crate) fn routes(lab: &Lab) -> Result<()> {
    for (at, words) in [
        (Target::Fabric, format!("route add {FORGED} via 192.0.2.1")),
        (Target::Outside, format!("route add blackhole {FORGED}")),
    ] {
        let mut command = Command::new("ip");
        command.args(words.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::piped());
        let output = lab.enter(&at, &mut command)?.wait_with_output()?;
        ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Connections through a Service, both ends of each. The servers go on listening.
struct Idle {
    pairs: Vec<(TcpStream, TcpStream)>,
    _listeners: Vec<TcpListener>,
}

impl Idle {
    fn open(from: &NetNs, servers: &[(NetNs, SocketAddr)], service: &Service) -> Result<Self> {
        let mut listeners = Vec::new();
        for (netns, at) in servers {
            let listener = netns.run(|| TcpListener::bind(at))??;
            listener.set_nonblocking(true)?;
            listeners.push(listener);
        }
        let mut idle = Self { pairs: Vec::new(), _listeners: Vec::new() };
        for _ in 0..IDLE {
            let client = from.run(|| TcpStream::connect_timeout(&service.at(true), PATIENCE))?;
            let client = client.with_context(|| format!("cannot connect to {}", service.name))?;
            let pair = (client, accept(&listeners)?);
            for stream in [&pair.0, &pair.1] {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
            }
            ensure!(works(&pair), "a new connection does not work");
            idle.pairs.push(pair);
        }
        idle._listeners = listeners;
        Ok(idle)
    }

    /// How many of them still do.
    fn working(&mut self) -> usize {
        self.pairs.iter().filter(|pair| works(pair)).count()
    }
}

/// Whichever server got a connection.
fn accept(listeners: &[TcpListener]) -> Result<TcpStream> {
    let begin = Instant::now();
    loop {
        for listener in listeners {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("accept"),
            }
        }
        ensure!(begin.elapsed() < PATIENCE, "no server got the connection");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Whether a byte gets there and back.
fn works((client, server): &(TcpStream, TcpStream)) -> bool {
    let (mut client, mut server) = (client, server);
    let mut byte = [0];
    client.write_all(b"r").is_ok()
        && server.read_exact(&mut byte).is_ok()
        && server.write_all(&byte).is_ok()
        && client.read_exact(&mut byte).is_ok()
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::NAN, f64::from)
}
