//! What it costs the agent to tell of what policy denies, under a flood of it.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Family, Lab, Target};
use serde_json::json;

use super::services::{flood, make_service, wait};
use crate::agent;
use crate::context::Bench;
use crate::maps::Frontend;
use crate::objects::{self, CIDRS};
use crate::results::{Better, Part, Table};
use crate::traffic::Spoofed;

const NODE: &str = "node1";
const NODE_PORT: u16 = 30_082;

/// Denied packets a second, each with another source.
const RATE: u32 = 100_000;

/// Before it is measured, the table is full.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long a round takes at least: the agent looks once a second.
const ROUND: Duration = Duration::from_secs(5);

/// A round takes several seconds.
const MOST_ROUNDS: usize = 5;

const PATIENCE: Duration = Duration::from_secs(30);

const CPU: &str = "denials/cpu";
const DENIED: &str = "denials/rate";
const LINES: &str = "denials/lines";
const MEMORY: &str = "denials/memory";

/// The agents, and what they are told.
const CASES: [(&str, &[&str], &str); 2] = [
    ("without", &[], "the agent tells nobody of denials"),
    ("log", &["--deny-log=/run/deny.log"], "the agent keeps the deny log, 100 lines a second"),
];

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("denials", "The deny log under a flood of denied packets");
    part.note(
        "IPv4, one node; objects from a directory of manifests. A host outside sends 100,000 TCP SYNs a second to a NodePort, \
         each with another forged source; policy denies them to the 10 Pods behind it. CPU: the time that all threads of the \
         agent's process ran (schedstat), in percent of one processor; what the kernel does for packets in a thread's time \
         counts, too, which is what \"without\" has. Of rounds there are 5 at most, of 5 seconds or more.",
    );
    part.tables.push(Table::new(CPU, "CPU of the agent", "%", Better::Lower, ""));
    part.tables.push(Table::new(DENIED, "denied", "packets/s", Better::Higher, ""));
    part.tables.push(Table::new(LINES, "lines", "1/s", Better::Higher, ""));
    part.tables.push(Table::new(MEMORY, "resident memory after it", "MiB", Better::Lower, ""));
    for (case, args, what) in CASES {
        part.case(case, what);
        bench.progress.step(&format!("denials: {case}, node and Pods"));
        measure(bench, &mut part, case, args)?;
    }
    Ok(part)
}

fn measure(bench: &Bench, part: &mut Part, case: &str, args: &[&str]) -> Result<()> {
    let args = args.iter().map(|arg| (*arg).to_owned()).chain([format!("--service-cidr={CIDRS}")]).collect();
    let lab = bench.lab_with("denials", Family::V4, 1, true, args)?;
    flood::routes(&lab)?;
    let (service, _pods) = make_service(&lab, NODE, 82, Some(NODE_PORT))?;
    objects::write(&lab.manifests(), &service.name, service.objects())?;
    wait(bench, &lab, NODE, &[Frontend::NodePort(NODE_PORT)])?;
    lab.write_manifest(
        "namespace",
        &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}),
    )?;
    lab.write_manifest(
        "policy",
        &json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": "bench", "name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
        }),
    )?;
    let begin = Instant::now();
    while agent::metric(&lab, NODE, "midonet_kube_node_policy_pods_policed")? < f64::from(objects::ENDPOINTS)
    {
        bench.check()?;
        ensure!(begin.elapsed() < PATIENCE, "the policy is not in force after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
    let node = SocketAddrV4::new(flood::node_address(&lab, NODE)?, NODE_PORT);
    let mut spoofed = Spoofed::new(&lab.netns(&Target::Outside)?, "198.18.0.0".parse()?)?;
    let duration = Duration::from_secs_f64(bench.seconds).max(ROUND);
    let rounds = bench.rounds.min(MOST_ROUNDS);
    for round in 1..=rounds {
        bench.progress.step(&format!("denials: {case}, round {round} of {rounds}"));
        let (measured, _) =
            flood::during(bench, &mut spoofed, node, (Some(RATE), 0), || once(&lab, duration))?;
        part.record(CPU, case, measured.cpu)?;
        part.record(DENIED, case, measured.denied)?;
        part.record(LINES, case, measured.lines)?;
        part.record(MEMORY, case, agent::memory(&lab, NODE, "VmRSS")?)?;
    }
    Ok(())
}

/// What was seen during a flood.
struct Measured {
    /// Percent of a processor.
    cpu: f64,
    /// Packets a second.
    denied: f64,
    /// Lines a second.
    lines: f64,
}

fn once(lab: &Lab, duration: Duration) -> Result<Measured> {
    thread::sleep(WARM_UP);
    let denied = || {
        agent::metric(
            lab,
            NODE,
            "midonet_kube_node_datapath_packets_total{verdict=\"drop\",reason=\"policy_ingress\"}",
        )
    };
    let lines = || agent::metric(lab, NODE, "midonet_kube_node_deny_log_lines_total{result=\"written\"}");
    // The page itself costs the agent something: it is asked for outside of what is measured.
    let (denied_before, lines_before) = (denied()?, lines()?);
    let (asked, cpu_before, start) = (Instant::now(), agent::cpu(lab, NODE)?, Instant::now());
    thread::sleep(duration);
    let (cpu, took) = (agent::cpu(lab, NODE)?.saturating_sub(cpu_before), start.elapsed());
    let (denied, lines, between) = (denied()? - denied_before, lines()? - lines_before, asked.elapsed());
    Ok(Measured {
        cpu: 100.0 * cpu.as_secs_f64() / took.as_secs_f64(),
        denied: denied / between.as_secs_f64(),
        lines: lines / between.as_secs_f64(),
    })
}
