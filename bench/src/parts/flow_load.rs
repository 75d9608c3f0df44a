//! What recording flows costs under many new connections: the agent, and traffic beside them.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{Family, Guard, Lab, Target};

use super::services::{flood, make_service, wait};
use crate::agent;
use crate::context::Bench;
use crate::maps::Frontend;
use crate::objects::{self, CIDRS};
use crate::results::{Better, Part, Table};
use crate::traffic::{Path, Spoofed, requests_per_second};

const NODE: &str = "node1";
const NODE_PORT: u16 = 30_083;

/// Connections a second: many, and ten times the events that a second may have.
const RATES: [(&str, u32); 2] = [("5,000", 5_000), ("100,000", 100_000)];

/// Before it is measured, the agent has its work.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long a round takes at least: as long as from one look at all records to the next, so that each round has one.
const ROUND: Duration = Duration::from_secs(10);

/// A round takes several seconds of each.
const MOST_ROUNDS: usize = 5;

const CPU: &str = "flow-load/cpu";
const REQUESTS: &str = "flow-load/rr";
const MADE: &str = "flow-load/made";
const LOST: &str = "flow-load/lost";

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("flow-load", "With flows recorded, under new connections");
    part.note(
        "IPv4, one node. A host outside sends TCP SYNs to a NodePort, each with another forged source, and one of 10 Pods resets \
         the connection: two events each. CPU: the time that all threads of the agent's process ran (schedstat), in percent of \
         one processor; what the kernel does for packets in a thread's time counts, too, which is what \"off\" has. Beside that, \
         one byte goes there and back between two other Pods. --flow-events is 10,000. Of rounds there are 5 at most, of 10 \
         seconds or more; both agents take turns.",
    );
    part.tables.push(Table::new(CPU, "CPU of the agent", "%", Better::Lower, ""));
    part.tables.push(Table::new(
        REQUESTS,
        "request/response beside it",
        "1/s",
        Better::Higher,
        "off, 100,000",
    ));
    part.tables.push(Table::new(MADE, "events made", "1/s", Better::Higher, ""));
    part.tables.push(Table::new(LOST, "events counted as not sent", "1/s", Better::Lower, ""));
    let mut nodes = Vec::new();
    for switch in ["off", "on"] {
        bench.progress.step(&format!("flow-load: node and Pods, --flows={switch}"));
        nodes.push((switch, Node::new(bench, switch)?));
    }
    let rounds = bench.rounds.min(MOST_ROUNDS);
    for round in 1..=rounds {
        for (name, rate) in RATES {
            for (switch, node) in &mut nodes {
                bench
                    .progress
                    .step(&format!("flow-load: round {round} of {rounds}, --flows={switch}, {name}"));
                let case = format!("{switch}, {name}");
                if round == 1 {
                    part.case(&case, &format!("--flows={switch}, {name} connections a second"));
                }
                let measured = node.measure(bench, rate)?;
                part.record(CPU, &case, measured.cpu)?;
                part.record(REQUESTS, &case, measured.requests)?;
                if *switch == "on" {
                    part.record(MADE, &case, measured.made)?;
                    part.record(LOST, &case, measured.lost)?;
                }
            }
        }
    }
    Ok(part)
}

/// A node, who floods it, and two Pods beside.
struct Node {
    lab: Guard,
    flooded: SocketAddrV4,
    spoofed: Spoofed,
    beside: Path,
    has_flows: bool,
}

/// What was seen meanwhile.
struct Measured {
    /// Percent of a processor.
    cpu: f64,
    /// Transactions a second.
    requests: f64,
    /// Events a second.
    made: f64,
    lost: f64,
}

impl Node {
    fn new(bench: &Bench, switch: &str) -> Result<Self> {
        let args = vec![format!("--flows={switch}"), format!("--service-cidr={CIDRS}")];
        let lab = bench.lab_with(&format!("flow-load-{switch}"), Family::V4, 1, true, args)?;
        flood::routes(&lab)?;
        let (service, _pods) = make_service(&lab, NODE, 83, Some(NODE_PORT))?;
        objects::write(&lab.manifests(), &service.name, service.objects())?;
        wait(bench, &lab, NODE, &[Frontend::NodePort(NODE_PORT)])?;
        let flooded = SocketAddrV4::new(flood::node_address(&lab, NODE)?, NODE_PORT);
        let spoofed = Spoofed::new(&lab.netns(&Target::Outside)?, "198.18.0.0".parse()?)?;
        let (a, b) = (lab.add_pod(NODE, "bench", "a")?, lab.add_pod(NODE, "bench", "b")?);
        let address = b.addresses().first().copied().context("a Pod without an address")?;
        let (from, to) = (lab.netns(&Target::Pod(a.key))?, lab.netns(&Target::Pod(b.key))?);
        let beside = Path::between(from, to, address);
        Ok(Self { lab, flooded, spoofed, beside, has_flows: switch == "on" })
    }

    fn measure(&mut self, bench: &Bench, rate: u32) -> Result<Measured> {
        let Self { lab, flooded, spoofed, beside, has_flows } = self;
        let duration = Duration::from_secs_f64(bench.seconds).max(ROUND);
        let once = || once(lab, beside, duration, *has_flows);
        Ok(flood::during(bench, spoofed, *flooded, (Some(rate), 0), once)?.0)
    }
}

fn once(lab: &Lab, beside: &Path, duration: Duration, has_flows: bool) -> Result<Measured> {
    thread::sleep(WARM_UP);
    let events = || -> Result<(f64, f64)> {
        if !has_flows {
            return Ok((0.0, 0.0));
        }
        let of = |result: &str| {
            let series = format!("midonet_kube_node_flow_events_total{{result=\"{result}\"}}");
            agent::metric(lab, NODE, &series)
        };
        let lost = of("over_budget")? + of("no_space")?;
        Ok((of("sent")? + lost, lost))
    };
    let ((made_before, lost_before), asked) = (events()?, Instant::now());
    let (cpu_before, start) = (agent::cpu(lab, NODE)?, Instant::now());
    let requests = requests_per_second(beside, duration)?;
    let (cpu, took) = (agent::cpu(lab, NODE)?.saturating_sub(cpu_before), start.elapsed());
    let ((made, lost), between) = (events()?, asked.elapsed().as_secs_f64());
    Ok(Measured {
        cpu: 100.0 * cpu.as_secs_f64() / took.as_secs_f64(),
        requests,
        made: (made - made_before) / between,
        lost: (lost - lost_before) / between,
    })
}
