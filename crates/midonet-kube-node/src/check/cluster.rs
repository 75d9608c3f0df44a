//! The source of objects, this node's Node in it, and whether they fit the settings and the uplink.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use model::{Desired, Diff, Model, Problem, Ranges};
use objects::{ListError, Listing, Node, Source};
use plumbing::probe::{Fault, Probe};

use super::Finding;
use crate::backend::embedded;
use crate::backend::midonet;
use crate::backend::overlap;
use crate::backend::settings::question;
use crate::backend::underlay::{Tunnels, Underlay, mtu_problem};
use crate::config::{Config, NetworkKind};
use crate::source::source;

/// All questions to the source together may take so long.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn check(args: &Config) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::missing("threads", error, "raise the limit of processes")],
    };
    let findings = runtime.block_on(ask(args));
    // A look-up of a name may hang for longer than the limit.
    runtime.shutdown_background();
    findings
}

async fn ask(args: &Config) -> Vec<Finding> {
    let source = source(args);
    let connection = match source.connect().await {
        Ok(connection) => connection,
        // Already said of the directory.
        Err(_) if matches!(source, Source::Directory(_)) => return Vec::new(),
        Err(error) => {
            return vec![Finding::invalid("settings of the API server", &error, error.remedy())];
        }
    };
    let what = connection.to_string();
    let Listing { objects: nodes, invalid, error, denied } = match connection.list::<Node>(LIMIT).await {
        Ok(listing) => listing,
        Err(ListError::Api(fault)) => {
            return vec![Finding::bad(fault.is_setting(), what, fault.problem(), fault.remedy())];
        }
        Err(error) => return vec![Finding::missing(what, error, "see why it cannot be read")],
    };
    let mut findings = vec![Finding::good(&what)];
    for fault in denied {
        findings.push(Finding::missing("permissions", fault.problem(), fault.remedy()));
    }
    for (key, invalid) in invalid {
        findings.push(Finding::warning(format!("Node {key}"), invalid.problem, invalid.remedy));
    }
    if let Some(error) = error {
        findings.push(Finding::warning(&what, error, "correct the manifests"));
    }
    // Without a name this is said already.
    if let Some(nodes) = nodes.filter(|_| !args.node_name.is_empty()) {
        findings.extend(own_node(args, &nodes));
    }
    findings
}

fn own_node(args: &Config, nodes: &[Arc<Node>]) -> Vec<Finding> {
    let what = format!("Node {}", args.node_name);
    let ranges = Ranges { cluster: args.cluster_cidr.clone(), service: args.service_cidr.clone() };
    let mut model = Model::new(&args.node_name, ranges);
    nodes.iter().for_each(|node| model.upsert(node));
    // A wrong --cluster-cidr is said already; without any, no podCIDR could be in it.
    let desired = match model.update() {
        Ok((desired, _)) => desired,
        Err(_) if args.cluster_cidr.is_empty() => return Vec::new(),
        Err(error) => return vec![Finding::bad(error.is_setting(), what, &error, error.remedy())],
    };
    let mut findings = vec![Finding::good(what)];
    let other = |Problem { object, problem, remedy, .. }| Finding::warning(object, problem, remedy);
    findings.extend(desired.problems().cloned().map(other));
    findings.extend(packets(args, desired));
    let (address, has_ipv6) = (desired.local.tunnel_address, desired.local.has_ipv6());
    let uplink = format!("the uplink, with the tunnel address {address}");
    findings.push(match underlay(desired) {
        Err(error) => Finding::missing(
            uplink,
            format!("{error:#}"),
            "correct the Node's InternalIP (the kubelet's --node-ip), or run this on that node",
        ),
        Ok(underlay) => match mtu_problem(&underlay, has_ipv6, args.mtu) {
            Some((problem, remedy)) => Finding::invalid("MTU", problem, remedy),
            None => Finding::good(uplink),
        },
    });
    findings
}

fn underlay(desired: &Desired) -> Result<Underlay> {
    let mut tunnels = Tunnels::default();
    let upserts = desired.tunnels.iter().map(|(end, own)| (*end, *own)).collect();
    tunnels.change(Diff { upserts, removals: Vec::new() });
    tunnels.ask(desired.local.tunnel_address, desired.local.has_ipv6())
}

/// What becomes of Pods' packets on this node, as far as others' rules, routes and settings go.
fn packets(args: &Config, desired: &Desired) -> Vec<Finding> {
    let what = "rules, routes and settings of the node";
    match check_packets(args, desired) {
        Ok(findings) if findings.is_empty() => vec![Finding::good(what)],
        Ok(findings) => findings,
        Err(error) => vec![Finding::missing(what, format!("{error:#}"), "run it as root")],
    }
}

fn check_packets(args: &Config, desired: &Desired) -> Result<Vec<Finding>> {
    let Config { cluster_cidr, service_cidr, encapsulation, network, .. } = args;
    let local = &desired.local;
    let address = local.tunnel_address;
    let ranges = [cluster_cidr.as_slice(), service_cidr].concat();
    if let Some((range, what)) = plumbing::probe::overlaps(&ranges, address)? {
        let problem = overlap::problem(range, &what);
        return Ok(vec![Finding::invalid("the cluster's addresses", problem, overlap::REMEDY)]);
    }
    // Without an uplink there is nothing direct, and that is said already.
    let underlay = underlay(desired).ok();
    let direct =
        underlay.map(|underlay| embedded::is_direct(*encapsulation, local, &underlay, args.tunnel_port));
    let direct = direct.transpose()?.unwrap_or(false);
    let peers = desired.peers.iter().map(|(name, peer)| (name.to_string(), peer.tunnel_address)).collect();
    let is_midonet = *network == NetworkKind::Midonet;
    let (port, direct) = if is_midonet { (midonet::TUNNEL_PORT, false) } else { (args.tunnel_port, direct) };
    let question = question(cluster_cidr, service_cidr, local, port, direct, peers);
    let faults = Probe::default().faults(&question)?.into_iter();
    Ok(faults
        .filter(|fault| !is_midonet || midonet::concerns(fault))
        .map(|Fault { object, problem, remedy, .. }| Finding::warning(object, problem, remedy))
        .collect())
}
