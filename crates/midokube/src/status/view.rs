//! The agent's answer in the form in which it is shown: pure.

use nodeapi::v1;
use serde::Serialize;

use crate::output::{bit_rate, bytes, join, table};

/// Everything about a node's network.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    agent: Agent,
    network: Network,
    ports: Vec<Port>,
    peers: Vec<Peer>,
    leaks: Vec<Leak>,
    leaks_incomplete: Option<String>,
    pub(crate) counters: Vec<Counter>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    version: String,
    node: String,
    uptime_seconds: u64,
    ready: bool,
    not_ready_reason: Option<String>,
    source: String,
    source_error: Option<String>,
    objects_from_disk_seconds: Option<u64>,
    pending_annotations: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    kind: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    gateways: Vec<String>,
    node_addresses: Vec<String>,
    node_mac: String,
    node_port_id: String,
    mtu: u32,
    uplink: String,
    tunnel_address: String,
    overlay_port: u32,
    vni: u32,
    encapsulation: String,
    #[serde(rename = "clusterCIDRs")]
    cluster_cidrs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    namespace: String,
    name: String,
    container_id: String,
    ifname: String,
    host_ifname: String,
    host_ifindex: u32,
    addresses: Vec<String>,
    mac: String,
    port_id: String,
    sent: Traffic,
    received: Traffic,
    bandwidth: Option<Bandwidth>,
}

/// Limits of a Pod: bits a second and bits, a rate of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Bandwidth {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Traffic {
    packets: u64,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    node: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    tunnel_address: String,
}

/// What was left behind or lost, and is not repaired.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Leak {
    what: String,
    object: String,
    reason: String,
    remedy: String,
}

/// What happened to packets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Counter {
    pub(crate) name: String,
    pub(crate) help: String,
    /// Whether these packets were dropped.
    pub(crate) drop: bool,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Status {
    /// Reads an answer; `None` when a part is missing that every agent sends.
    pub(crate) fn read(reply: v1::StatusReply) -> Option<Self> {
        let (agent, network) = (reply.agent?, reply.network?);
        let mut ports: Vec<_> = reply.ports.into_iter().map(Port::read).collect();
        ports.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let mut peers: Vec<_> = reply.peers.into_iter().map(Peer::read).collect();
        peers.sort_by(|a, b| a.node.cmp(&b.node));
        Some(Self {
            agent: Agent::read(agent),
            network: Network::read(network),
            ports,
            peers,
            leaks: reply.leaks.into_iter().map(Leak::read).collect(),
            leaks_incomplete: some(reply.leaks_incomplete),
            counters: reply.counters.into_iter().map(Counter::read).collect(),
        })
    }

    /// The form for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n{}", self.agent.lines(), self.network.lines());
        let sections = [
            ("Ports", self.ports.len(), self.ports_table()),
            ("Limits", self.limited().count(), self.limits_table()),
            ("Peers", self.peers.len(), self.peers_table()),
            ("Leaks", self.leaks.len(), self.leaks_lines()),
            ("Traffic", self.shown(false).count(), counters_table(self.shown(false))),
            ("Drops", self.shown(true).count(), counters_table(self.shown(true))),
        ];
        // Hardly any Pod has a limit.
        let shown = |(title, count, _): &(&str, usize, String)| *title != "Limits" || *count > 0;
        for (title, count, table) in sections.into_iter().filter(shown) {
            let body = if count == 0 { " none".to_owned() } else { table };
            text.push_str(&format!("\n\n{title}\n{body}"));
            if let Some(why) = self.leaks_incomplete.as_ref().filter(|_| title == "Leaks") {
                text.push_str(&format!("\n not everything was looked at: {why}"));
            }
        }
        text
    }

    fn shown(&self, drop: bool) -> impl Iterator<Item = &Counter> {
        self.counters.iter().filter(move |c| c.drop == drop && c.packets > 0)
    }

    fn ports_table(&self) -> String {
        table(
            ["POD", "INTERFACE", "ADDRESSES", "MAC", "PORT ID", "SENT", "RECEIVED"],
            self.ports.iter().map(|p| {
                let pod = format!("{}/{}", p.namespace, p.name);
                let (sent, received) = (p.sent.cell(), p.received.cell());
                [
                    pod,
                    p.host_ifname.clone(),
                    join(&p.addresses),
                    p.mac.clone(),
                    p.port_id.clone(),
                    sent,
                    received,
                ]
            }),
        )
    }

    fn limited(&self) -> impl Iterator<Item = (&Port, Bandwidth)> {
        self.ports.iter().filter_map(|port| Some((port, port.bandwidth?)))
    }

    fn limits_table(&self) -> String {
        let rate = |rate: u64| if rate == 0 { "-".to_owned() } else { bit_rate(rate) };
        let rows = self.limited().map(|(port, limits)| {
            [format!("{}/{}", port.namespace, port.name), rate(limits.egress_rate), rate(limits.ingress_rate)]
        });
        table(["POD", "SENDS AT MOST", "GETS AT MOST"], rows)
    }

    fn peers_table(&self) -> String {
        let rows = self.peers.iter().map(|p| [p.node.clone(), join(&p.pod_cidrs), p.tunnel_address.clone()]);
        table(["NODE", "POD CIDRS", "TUNNEL ADDRESS"], rows)
    }

    /// Too long for a table's cells.
    fn leaks_lines(&self) -> String {
        let line = |l: &Leak| format!(" {}: {}\n  {}: {}", l.what, l.object, l.reason, l.remedy);
        self.leaks.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Counters as a table, with what they mean.
pub(crate) fn counters_table<'a>(counters: impl Iterator<Item = &'a Counter>) -> String {
    let rows = counters.map(|c| [c.name.clone(), c.packets.to_string(), bytes(c.bytes), c.help.clone()]);
    table(["NAME", "PACKETS", "BYTES", "MEANING"], rows)
}

impl Agent {
    fn read(agent: v1::Agent) -> Self {
        Self {
            version: agent.version,
            node: agent.node,
            uptime_seconds: agent.uptime_seconds,
            ready: agent.ready,
            not_ready_reason: some(agent.not_ready_reason),
            source: agent.source,
            source_error: some(agent.source_error),
            objects_from_disk_seconds: agent.objects_from_disk_seconds,
            pending_annotations: agent.pending_annotations,
        }
    }

    fn lines(&self) -> String {
        let ready = match &self.not_ready_reason {
            _ if self.ready => "ready".to_owned(),
            Some(reason) => format!("NOT READY: {reason}"),
            None => "NOT READY".to_owned(),
        };
        let source = match (&self.source_error, self.objects_from_disk_seconds) {
            (Some(error), Some(age)) => {
                format!(
                    "{}: FAILING: {error}; working with what was on disk, {} old",
                    self.source,
                    duration(age)
                )
            }
            (Some(error), None) => format!("{}: FAILING: {error}", self.source),
            (None, _) => format!("{}: healthy", self.source),
        };
        lines(
            "Agent",
            &[
                ("node", self.node.clone()),
                ("state", ready),
                ("version", self.version.clone()),
                ("uptime", duration(self.uptime_seconds)),
                ("objects from", source),
                ("annotations to write", self.pending_annotations.to_string()),
            ],
        )
    }
}

impl Network {
    fn read(network: v1::Network) -> Self {
        Self {
            kind: network.kind,
            pod_cidrs: network.pod_cidrs,
            gateways: network.gateways,
            node_addresses: network.node_addresses,
            node_mac: network.node_mac,
            node_port_id: network.node_port_id,
            mtu: network.mtu,
            uplink: network.uplink,
            tunnel_address: network.tunnel_address,
            overlay_port: network.overlay_port,
            vni: network.vni,
            encapsulation: network.encapsulation,
            cluster_cidrs: network.cluster_cidrs,
        }
    }

    fn lines(&self) -> String {
        let node = format!("{} ({}, port {})", join(&self.node_addresses), self.node_mac, self.node_port_id);
        let overlay = format!("VXLAN, UDP port {}, VNI {}", self.overlay_port, self.vni);
        let headers = match self.encapsulation.as_str() {
            "direct" => "written and removed by eBPF at the uplink".to_owned(),
            "device" => "written and removed by the VXLAN device".to_owned(),
            other => or_dash(other).to_owned(),
        };
        let underlay = format!("{} on {}", or_dash(&self.tunnel_address), or_dash(&self.uplink));
        lines(
            "Network",
            &[
                ("kind", self.kind.clone()),
                ("podCIDRs", join(&self.pod_cidrs)),
                ("clusterCIDRs", join(&self.cluster_cidrs)),
                ("gateway", join(&self.gateways)),
                ("node", node),
                ("MTU", self.mtu.to_string()),
                ("overlay", overlay),
                ("headers", headers),
                ("underlay", underlay),
            ],
        )
    }
}

impl Port {
    fn read(port: v1::Port) -> Self {
        let traffic = |t: Option<v1::Traffic>| {
            t.map_or(Traffic { packets: 0, bytes: 0 }, |t| Traffic { packets: t.packets, bytes: t.bytes })
        };
        Self {
            namespace: port.namespace,
            name: port.name,
            container_id: port.container_id,
            ifname: port.ifname,
            host_ifname: port.host_ifname,
            host_ifindex: port.host_ifindex,
            addresses: port.addresses,
            mac: port.mac,
            port_id: port.port_id,
            sent: traffic(port.sent),
            received: traffic(port.received),
            bandwidth: port.bandwidth.map(|limits| Bandwidth {
                ingress_rate: limits.ingress_rate,
                ingress_burst: limits.ingress_burst,
                egress_rate: limits.egress_rate,
                egress_burst: limits.egress_burst,
            }),
        }
    }
}

impl Traffic {
    fn cell(self) -> String {
        format!("{} ({})", self.packets, bytes(self.bytes))
    }
}

impl Peer {
    fn read(peer: v1::Peer) -> Self {
        Self { node: peer.node, pod_cidrs: peer.pod_cidrs, tunnel_address: peer.tunnel_address }
    }
}

impl Leak {
    fn read(leak: v1::Leak) -> Self {
        let v1::Leak { what, object, reason, remedy } = leak;
        Self { what, object, reason, remedy }
    }
}

impl Counter {
    fn read(counter: v1::Counter) -> Self {
        let v1::Counter { name, help, drop, packets, bytes, .. } = counter;
        Self { name, help, drop, packets, bytes }
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn lines(title: &str, fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let fields = fields.iter().map(|(name, value)| format!("\n {name:width$}  {value}"));
    std::iter::once(title.to_owned()).chain(fields).collect()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
