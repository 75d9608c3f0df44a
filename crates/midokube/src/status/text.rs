//! A report as text for people.

use terminal::output::{BAD, GOOD, TITLE, paint};
use terminal::table::{UNKNOWN, WIDTH, fields, join, known, table, wrap};
use terminal::units::{bit_rate, bytes, seconds};

use super::policy::Policy;
use super::report::{Agent, Counter, Leaks, Network, Peer, Port, Traffic, Verdict};
use super::services::{Services, Table};
use super::view::{PolicyPart, ServicesPart, View};
use crate::answer;

/// What reasons, packets and bytes leave of the narrow form.
const MEANING: usize = 55;

/// Whether the MidoNet agent has an interface.
const BOUND: &str = "bound";
const NOT_BOUND: &str = "NOT BOUND";

/// All parts of a view, below their titles. The narrow form has lines of at most 100 columns.
pub(super) fn text(view: &View<'_>, wide: bool) -> String {
    let width = (!wide).then_some(WIDTH);
    let mut sections = Vec::new();
    if let Some(agent) = view.agent {
        sections.push(("Agent", agent_fields(agent, view.degraded, width)));
    }
    if let Some(network) = view.network {
        sections.push(("Network", network_fields(network, width)));
    }
    if let Some(ports) = &view.ports {
        sections.push(("Ports", none_if(ports.is_empty(), || ports_table(ports, width))));
        let limited: Vec<_> = ports.iter().filter(|port| port.bandwidth.is_some()).collect();
        // Hardly any Pod has a limit.
        if !limited.is_empty() {
            sections.push(("Limits", limits_table(&limited, width)));
        }
    }
    if let Some(peers) = view.peers {
        sections.push(("Peers", none_if(peers.is_empty(), || peers_table(peers, width))));
    }
    if let Some(part) = &view.services {
        sections.push(("Services", services_lines(part, width)));
    }
    if let Some(part) = &view.policy {
        sections.push(("Policy", policy_lines(part, width)));
    }
    if let Some(problems) = view.problems {
        sections.push(("Problems", none_if(problems.is_empty(), || answer::problems(problems, width))));
    }
    if let Some(leaks) = view.leaks {
        sections.push(("Leaks", leaks_lines(leaks, width)));
    }
    for verdict in &view.verdicts {
        let counters = view.counters.iter().flatten().copied();
        let counted: Vec<_> = counters.filter(|c| c.verdict == *verdict && c.packets > 0).collect();
        let title = match verdict {
            Verdict::Forward => "Traffic",
            Verdict::Drop => "Drops",
            Verdict::Ignore => "Ignored",
        };
        sections
            .push((title, none_if(counted.is_empty(), || counters_table(counted.iter().copied(), width))));
    }
    let section = |(title, body): (&str, String)| format!("{}\n{body}", paint(TITLE, title));
    sections.into_iter().map(section).collect::<Vec<_>>().join("\n\n")
}

/// Counters with what they mean.
fn counters_table<'a>(counters: impl Iterator<Item = &'a Counter>, width: Option<usize>) -> String {
    let meaning = width.map(|_| MEANING);
    let rows =
        counters.map(|c| [c.name.clone(), c.packets.to_string(), bytes(c.bytes), wrap(meaning, &c.help)]);
    table(width, ["REASON", "PACKETS", "BYTES", "MEANING"], rows)
}

fn none_if(empty: bool, table: impl FnOnce() -> String) -> String {
    if empty { " none".to_owned() } else { table() }
}

fn agent_fields(agent: &Agent, problems: usize, width: Option<usize>) -> String {
    let state = match (agent.ready, &agent.not_ready_reason) {
        (true, _) if problems == 0 => paint(GOOD, "ready"),
        (true, _) => format!("{}, {}", paint(GOOD, "ready"), paint(BAD, &degraded(problems))),
        (false, Some(reason)) => paint(BAD, &format!("NOT READY: {reason}")),
        (false, None) => paint(BAD, "NOT READY"),
    };
    let source = match (&agent.source_error, agent.objects_from_disk_seconds) {
        (None, _) => format!("{}: healthy", agent.source),
        (Some(error), None) => format!("{}: {}", agent.source, paint(BAD, &format!("FAILING: {error}"))),
        (Some(error), Some(age)) => {
            let failing = format!("FAILING: {error}; working with what was on disk, {} old", seconds(age));
            format!("{}: {}", agent.source, paint(BAD, &failing))
        }
    };
    fields(
        width,
        &[
            ("node", agent.node.clone()),
            ("state", state),
            ("version", known(&agent.version).to_owned()),
            ("uptime", seconds(agent.uptime_seconds)),
            ("objects from", source),
            ("annotations to write", agent.pending_annotations.to_string()),
        ],
    )
}

fn degraded(problems: usize) -> String {
    format!("degraded by {problems} problem{}", if problems == 1 { "" } else { "s" })
}

fn network_fields(network: &Network, width: Option<usize>) -> String {
    let text = |text: &Option<String>| text.as_deref().unwrap_or(UNKNOWN).to_owned();
    let number = |number: Option<u32>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    let headers = match network.encapsulation.as_deref() {
        Some("direct") => "written and removed by eBPF at the uplink".to_owned(),
        Some("device") => "written and removed by the VXLAN device".to_owned(),
        _ => text(&network.encapsulation),
    };
    let underlay = match (&network.tunnel_address, &network.uplink) {
        (None, None) => UNKNOWN.to_owned(),
        (address, uplink) => format!("{} on {}", text(address), text(uplink)),
    };
    let kind = match network.is_midonet() {
        true => "midonet: the MidoNet agent carries the packets".to_owned(),
        false => known(&network.kind).to_owned(),
    };
    let mut rows = vec![
        ("kind", kind),
        ("podCIDRs", join(&network.pod_cidrs)),
        ("clusterCIDRs", join(&network.cluster_cidrs)),
        ("gateway", join(&network.gateways)),
        ("node", join(&network.node_addresses)),
        ("MTU", number(network.mtu)),
    ];
    match network.node_port_bound {
        Some(true) => rows.push(("node's port", BOUND.to_owned())),
        Some(false) => rows.push(("node's port", paint(BAD, NOT_BOUND))),
        None => {
            let port = number(network.overlay_port);
            rows.push(("overlay", format!("VXLAN, UDP port {port}, VNI {}", number(network.vni))));
            rows.push(("headers", headers));
        }
    }
    rows.push(("underlay", underlay));
    if width.is_none() {
        rows.extend([
            ("node's MAC", text(&network.node_mac)),
            ("node's port id", text(&network.node_port_id)),
        ]);
    }
    fields(width, &rows)
}

fn ports_table(ports: &[&Port], width: Option<usize>) -> String {
    if width.is_none() {
        let header = ["POD", "INTERFACE", "ADDRESSES", "MAC", "PORT ID", "SENT", "RECEIVED"];
        let row = |p: &&Port| {
            let (sent, received) = (packets(p.sent), packets(p.received));
            let (mac, port_id) = (p.mac.clone(), p.port_id.clone());
            [pod(p), p.host_ifname.clone(), join(&p.addresses), mac, port_id, sent, received]
        };
        return table(None, header, ports.iter().map(row));
    }
    let traffic = |traffic: Option<Traffic>| traffic.map_or_else(|| UNKNOWN.to_owned(), |t| bytes(t.bytes));
    if ports.iter().any(|port| port.bound.is_some()) {
        let row = |p: &&Port| {
            let bound = p.bound.map_or(UNKNOWN, |bound| if bound { BOUND } else { NOT_BOUND }).to_owned();
            [pod(p), p.host_ifname.clone(), below(&p.addresses), bound, traffic(p.sent), traffic(p.received)]
        };
        let header = ["POD", "INTERFACE", "ADDRESSES", "MIDONET", "SENT", "RECEIVED"];
        return table(width, header, ports.iter().map(row));
    }
    let row = |p: &&Port| {
        [pod(p), p.host_ifname.clone(), below(&p.addresses), traffic(p.sent), traffic(p.received)]
    };
    table(width, ["POD", "INTERFACE", "ADDRESSES", "SENT", "RECEIVED"], ports.iter().map(row))
}

fn limits_table(limited: &[&&Port], width: Option<usize>) -> String {
    let rate = |rate| if rate == 0 { "-".to_owned() } else { bit_rate(rate) };
    let rows = limited.iter().filter_map(|port| {
        let limits = port.bandwidth?;
        Some([pod(port), rate(limits.egress_rate), rate(limits.ingress_rate)])
    });
    table(width, ["POD", "SENDS AT MOST", "GETS AT MOST"], rows)
}

fn peers_table(peers: &[Peer], width: Option<usize>) -> String {
    let cidrs = |peer: &Peer| if width.is_some() { below(&peer.pod_cidrs) } else { join(&peer.pod_cidrs) };
    let tunnel = |peer: &Peer| peer.tunnel_address.as_deref().unwrap_or(UNKNOWN).to_owned();
    let rows = peers.iter().map(|peer| [peer.node.clone(), cidrs(peer), tunnel(peer)]);
    table(width, ["NODE", "POD CIDRS", "TUNNEL ADDRESS"], rows)
}

fn services_lines(part: &ServicesPart<'_>, width: Option<usize>) -> String {
    let Some(services) = part.services else {
        let whose =
            if part.by_midonet { "MidoNet serves those of type ClusterIP" } else { "another proxy has them" };
        return format!(" not served by this agent: {whose}");
    };
    let Services { complete, services, ports, backends, ports_without_backends, tables } = services;
    let mut served = format!("{services} with {ports} ports and {backends} backends");
    if *ports_without_backends > 0 {
        served.push_str(&format!("; {ports_without_backends} ports have none"));
    }
    if !complete {
        served.push_str("; not all are known yet");
    }
    let about = fields(width, &[("served", served), ("problems", problems_of(part.problems))]);
    format!("{about}\n{}", tables_of(tables, width))
}

fn policy_lines(part: &PolicyPart<'_>, width: Option<usize>) -> String {
    let Some(policy) = part.policy else {
        let all = if part.by_midonet { "every Pod of the cluster" } else { "everything" };
        return format!(" not enforced by this agent: every Pod reaches {all}");
    };
    let Policy { generation, sets, classes, rules, pods_policed, pods_closed, tables, .. } = policy;
    let state = match (policy.complete, policy.in_force) {
        (false, _) => paint(BAD, "not all objects are known yet: what was in force before stays"),
        (true, false) => paint(BAD, "NOT IN FORCE as a whole: see Problems"),
        (true, true) => format!("in force, generation {generation}"),
    };
    let mut pods = format!("{pods_policed} policed");
    if *pods_closed > 0 {
        pods.push_str(&paint(BAD, &format!(", {pods_closed} closed: see `midokube policy`")));
    }
    let about = fields(
        width,
        &[
            ("state", state),
            ("Pods", pods),
            ("tables", format!("{sets} sets, {classes} classes, {rules} rules")),
            ("problems", problems_of(part.problems)),
        ],
    );
    format!("{about}\n{}", tables_of(tables, width))
}

fn problems_of(count: usize) -> String {
    match count {
        0 => "none".to_owned(),
        some => paint(BAD, &format!("{some}: see Problems")),
    }
}

fn tables_of(tables: &[Table], width: Option<usize>) -> String {
    let rows = tables.iter().map(|one| {
        let percent = (one.used * 100).checked_div(one.limit).unwrap_or_default();
        [one.name.clone(), one.used.to_string(), one.limit.to_string(), format!("{percent} %")]
    });
    table(width, ["TABLE", "USED", "LIMIT", "PRESSURE"], rows)
}

fn leaks_lines(leaks: &Leaks, width: Option<usize>) -> String {
    let indented = |indent: usize, text: &str| answer::indented(width, indent, text);
    let mut lines: Vec<String> = Vec::new();
    for leak in &leaks.leaks {
        lines.push(indented(1, &format!("{}: {}", leak.what, leak.object)));
        lines.push(indented(2, &format!("{}: {}", leak.reason, leak.remedy)));
    }
    if lines.is_empty() {
        lines.push(" none".to_owned());
    }
    if let Some(why) = &leaks.leaks_incomplete {
        lines.push(indented(1, &format!("not everything was checked: {why}")));
    }
    lines.join("\n")
}

fn pod(port: &Port) -> String {
    format!("{}/{}", port.namespace, port.name)
}

fn packets(traffic: Option<Traffic>) -> String {
    traffic.map_or_else(|| UNKNOWN.to_owned(), |t| format!("{} ({})", t.packets, bytes(t.bytes)))
}

/// A list in one narrow cell.
fn below(items: &[String]) -> String {
    known(&items.join("\n")).to_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
