//! How soon the agent of a cluster with 10,000 Services has them in its maps, and what it costs.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Family, Lab, Target};
use serde_json::json;

use super::{others, wait_for};
use crate::agent;
use crate::apiserver::ApiServer;
use crate::context::Bench;
use crate::manifests;
use crate::maps::{Frontend, ServiceMap, TCP};
use crate::objects::{self, CIDRS, PORT};
use crate::results::{Better, Part, Table};

const SIZE: u16 = 10_000;

/// The node that all is about, and where the API server runs.
const NODE: &str = "node1";
const CONTROL: &str = "node2";

/// Changes of a round, of which each has a Service of its own.
const CHANGES: u16 = 100;

/// Between two changes: what the agent does after one is over by the next.
const PAUSE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(60);

/// Of what takes long or does not vary much.
const MOST_ROUNDS: usize = 5;

/// How long an idle round takes.
const IDLE: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &Bench) -> Result<Part> {
    let mut part = Part::new("service-changes", "The agent with 10,000 Services of 10 endpoints");
    part.note(
        "One node, IPv4, objects from a real API server (kube-apiserver and etcd in another node). Start: from the start of \
         the program until the map has every Service with all endpoints; nothing of the agent is there before. Restart: \
         the maps are there, and the program is ready (/readyz). Memory: VmRSS and VmHWM of the process.",
    );
    part.note(
        "A change: one endpoint of ten comes or goes. From the moment at which a watch of this program at the same API server \
         has the event, and from before the call that makes the change, to the moment at which the map has the Service's other \
         list (looked at every 50 microseconds).",
    );
    for (id, title, unit) in [
        ("ready", "10,000 Services in the maps", "s"),
        ("memory", "agent's memory with 10,000 Services", "MiB"),
        ("change", "a change of an EndpointSlice in the maps", "ms"),
        ("cpu", "CPU time of a change of an EndpointSlice", "ms"),
        ("idle", "CPU of an idle agent with 10,000 Services", "ms/min"),
    ] {
        part.tables.push(Table::new(&format!("service-changes/{id}"), title, unit, Better::Lower, ""));
    }
    bench.progress.step("service-changes: an API server with 10,000 Services");
    let files = tempfile::tempdir().context("a directory for the API server")?;
    let kubeconfig = files.path().join("kubeconfig");
    let args = vec![format!("--kubeconfig={}", kubeconfig.display()), format!("--service-cidr={CIDRS}")];
    let lab = bench.lab_with("service-changes", Family::V4, 2, false, args)?;
    let server = ApiServer::start(&lab, CONTROL, files.path(), &kubeconfig)?;
    let state = lab.state()?.node(NODE)?.clone();
    let cidrs: Vec<String> = state.pod_cidrs.iter().map(ToString::to_string).collect();
    server.create("/api/v1/nodes", &manifests::node(NODE, &cidrs, &state.addresses))?;
    server.create_all(bench, &(1..SIZE).flat_map(objects::other).collect::<Vec<_>>())?;
    let frontends = others(SIZE);
    let rounds = bench.rounds.min(MOST_ROUNDS);
    for round in 1..=rounds {
        bench.progress.step(&format!("service-changes: start {round} of {rounds}"));
        if round > 1 {
            uninstall(bench, &lab)?;
        }
        let begin = Instant::now();
        lab.start_agent(NODE)?;
        wait_for(bench, &lab, NODE, &frontends, TCP)?;
        part.record("service-changes/ready", "start", begin.elapsed().as_secs_f64())?;
        lab.stop_agent(NODE)?;
        part.record("service-changes/ready", "restart", agent::start(&lab, NODE)?)?;
        for (what, field) in [("resident", "VmRSS"), ("peak", "VmHWM")] {
            part.record("service-changes/memory", what, agent::memory(&lab, NODE, field)?)?;
        }
    }
    changes(bench, &lab, &server, &mut part)?;
    for round in 1..=rounds {
        bench.progress.step(&format!("service-changes: idle, round {round} of {rounds}"));
        let (used, begin) = (agent::cpu(&lab, NODE)?, Instant::now());
        while begin.elapsed() < IDLE {
            bench.check()?;
            thread::sleep(Duration::from_millis(200));
        }
        let used = agent::cpu(&lab, NODE)?.saturating_sub(used);
        let minutes = begin.elapsed().as_secs_f64() / 60.0;
        part.record("service-changes/idle", "10,000 Services", used.as_secs_f64() * 1e3 / minutes)?;
    }
    Ok(part)
}

/// Ends the agent, and removes what it made.
fn uninstall(bench: &Bench, lab: &Lab) -> Result<()> {
    lab.stop_agent(NODE)?;
    let mut command = Command::new(bench.binaries.join("midonet-kube-node"));
    command.args(["uninstall", "--force"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = lab.enter(&Target::Node(NODE.to_owned()), &mut command)?.wait_with_output()?;
    ensure!(output.status.success(), "uninstall: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Takes an endpoint from Services and gives it back, one after the other.
fn changes(bench: &Bench, lab: &Lab, server: &ApiServer, part: &mut Part) -> Result<()> {
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", objects::NAMESPACE);
    let events = server.watch(&slices)?;
    let map = ServiceMap::open(lab, NODE)?;
    for round in 0..=bench.rounds {
        bench.progress.step(&format!("service-changes: changes, round {round} of {}", bench.rounds));
        let used = agent::cpu(lab, NODE)?;
        let (mut from_event, mut from_call) = (Vec::new(), Vec::new());
        for number in 1..=CHANGES {
            bench.check()?;
            let name = objects::other_name(number);
            let (mut endpoints, _) = objects::other_endpoints(number);
            if round % 2 == 0 {
                endpoints.pop();
            }
            let patch = json!({"endpoints": objects::endpoints(&name, &endpoints, "elsewhere")});
            let slice = objects::slice_name(&name, true);
            let path = format!("{slices}/{slice}");
            let at = Frontend::ClusterIp((objects::other_address(number), PORT).into());
            let before = map.get(at, TCP)?;
            let call = Instant::now();
            let done = thread::scope(|scope| -> Result<Instant> {
                let look = scope.spawn(|| -> Result<Instant> {
                    while map.get(at, TCP)? == before {
                        ensure!(call.elapsed() < PATIENCE, "{name} does not change after {PATIENCE:?}");
                        thread::sleep(Duration::from_micros(50));
                    }
                    Ok(Instant::now())
                });
                let called = server.patch(&path, &patch);
                let done = look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                called.and(done)
            })?;
            let event = events.of(&slice)?;
            from_event.push(done.saturating_duration_since(event).as_secs_f64() * 1e3);
            from_call.push(done.duration_since(call).as_secs_f64() * 1e3);
            thread::sleep(PAUSE);
        }
        // The first round opens connections.
        if round == 0 {
            continue;
        }
        for (values, what) in [(&mut from_event, "event to map"), (&mut from_call, "call to map")] {
            values.sort_by(f64::total_cmp);
            for (name, at) in [("p50", 49), ("p99", 98)] {
                let value = *values.get(at).context("too few changes")?;
                part.record("service-changes/change", &format!("{what}, {name}"), value)?;
            }
        }
        let used = agent::cpu(lab, NODE)?.saturating_sub(used);
        part.record("service-changes/cpu", "a change", used.as_secs_f64() * 1e3 / f64::from(CHANGES))?;
    }
    Ok(())
}
