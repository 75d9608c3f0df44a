//! Whether somebody's rules drop what Pods and tunnels need: base chains of all nf_tables tables, iptables' too.

mod machine;
mod xtables;

use std::net::IpAddr;

use machine::{End, run};

use super::packet::{Packet, Port, TCP, UDP};
use super::{Fault, Question, Uplink, outside};
use crate::nft::ruleset::{self, Base, Ruleset};
use crate::nft::step::{Step, Verdict};
use crate::{Family, Link, Result};

/// NF_INET_*.
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const HOOKS: [u32; 4] = [PREROUTING, INPUT, FORWARD, OUTPUT];

/// What Pods ask of the outside most: HTTPS.
const OUTSIDE_PORT: u16 = 443;
/// What there is on every node: the kubelet's port.
const NODE_PORT: u16 = 10250;

/// The rules as they were last read.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    read: Option<(Option<u32>, Ruleset)>,
}

impl Firewall {
    pub(super) fn look(
        &mut self,
        question: &Question,
        links: &[Link],
        uplinks: &[Uplink],
    ) -> Result<Vec<Fault>> {
        let generation = ruleset::generation()?;
        let ruleset = match self.read.take() {
            // Of tables of iptables-legacy nobody tells whether they changed.
            Some((read, ruleset)) if read == generation && !ruleset::has_legacy() => ruleset,
            _ => ruleset::read(&HOOKS)?,
        };
        let faults = judge(&ruleset, question, links, uplinks);
        self.read = Some((generation, ruleset));
        Ok(faults)
    }
}

/// A packet that has to pass, and what is lost if it does not.
struct Need {
    what: &'static str,
    hook: u32,
    packet: Packet,
    lost: String,
    accept: Accept,
}

/// What a rule that lets a packet pass says.
enum Accept {
    From(String),
    To(String),
    Port(u16),
}

fn judge(ruleset: &Ruleset, question: &Question, links: &[Link], uplinks: &[Uplink]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for need in needs(question, links, uplinks) {
        for base in ruleset.base.iter().filter(|base| base.hook == need.hook) {
            let Some(outcome) = run(ruleset, base, &need.packet).filter(|outcome| outcome.is_dropped())
            else {
                continue;
            };
            let object = named(base);
            let by = if outcome.end == End::Policy { "its policy" } else { "one of its rules" };
            let problem = format!("by {by} the node's firewall drops {}", need.lost);
            let remedy = need.accept.remedy(ruleset, base, need.packet.established);
            // One chain and several packets: all in one.
            match faults.iter_mut().find(|fault| fault.what == need.what && fault.object == object) {
                Some(fault) => {
                    if !fault.problem.contains(&need.lost) {
                        fault.problem = format!("{} and {}", fault.problem, need.lost);
                    }
                    if !fault.remedy.contains(&remedy) {
                        fault.remedy = format!("{}; {remedy}", fault.remedy);
                    }
                }
                None => faults.push(Fault { what: need.what, object, problem, remedy }),
            }
        }
    }
    let guards = guard(ruleset, question, uplinks).filter(|_| question.direct);
    faults.extend(guards.map(|(base, why)| Fault {
        what: "tunnel_past_firewall",
        object: named(base),
        problem: format!(
            "{why}, but with direct encapsulation packets of tunnels pass the node's firewall by: it does not \
             protect UDP port {}",
            question.tunnel_port
        ),
        remedy: format!(
            "run the agent with --encapsulation auto or device and accept UDP port {} from other nodes, or filter \
             it before it reaches the node",
            question.tunnel_port
        ),
    }));
    faults
}

fn named(base: &Base) -> String {
    if base.is_legacy() {
        return format!("chain {} of {}", base.chain, base.table.0);
    }
    format!("nftables chain {} {} {}", base.table.0, base.table.1, base.chain)
}

/// Why packets of tunnels that come in by that interface meet somebody's rules: a chain that drops what it does not
/// know, or names their port. `None`: nothing there is about them.
///
/// # Errors
/// The kernel does not tell.
pub fn filters_tunnels(tunnel_address: IpAddr, tunnel_port: u16, uplink: &str) -> Result<Option<String>> {
    let ruleset = ruleset::read(&[INPUT])?;
    let packet =
        tunnel_packet(tunnel_address, tunnel_port, Some(Port { name: uplink.into(), ifindex: None }));
    let found = guarding(&ruleset, &packet);
    Ok(found.map(|(base, why)| format!("{}: {why}", named(base))))
}

fn tunnel_packet(tunnel_address: IpAddr, tunnel_port: u16, input: Option<Port>) -> Packet {
    Packet {
        family: Family::of(tunnel_address),
        input,
        output: None,
        source: None,
        destination: tunnel_address,
        protocol: UDP,
        port: Some(tunnel_port),
        established: false,
        translated: false,
    }
}

fn guard<'a>(ruleset: &'a Ruleset, question: &Question, uplinks: &[Uplink]) -> Option<(&'a Base, String)> {
    let uplink = uplinks.iter().find(|uplink| uplink.tunnels)?;
    let packet = tunnel_packet(question.tunnel_address, question.tunnel_port, Some(port(&uplink.link)));
    guarding(ruleset, &packet)
}

fn guarding<'a>(ruleset: &'a Ruleset, packet: &Packet) -> Option<(&'a Base, String)> {
    let tunnel_port = packet.port?;
    ruleset.base.iter().filter(|base| base.hook == INPUT).find_map(|base| {
        // Whatever its rules accept: what they do not know is dropped.
        let outcome = run(ruleset, base, &Packet { port: None, ..packet.clone() })?;
        if outcome.end != End::Accepted {
            return Some((base, "it drops what it does not accept by a rule".to_owned()));
        }
        let chains = ruleset.chains.iter().filter(|((table, _), _)| *table == base.table);
        let mut rules = chains.flat_map(|(_, rules)| rules);
        rules
            .any(|rule| restricts(rule, tunnel_port))
            .then(|| (base, format!("it has rules for UDP port {tunnel_port}")))
    })
}

/// Whether a rule is about that destination port, and does not simply accept it.
fn restricts(rule: &[Step], port: u16) -> bool {
    let bytes = port.to_be_bytes();
    let loads = rule.iter().any(|step| matches!(step, Step::Payload { base: 2, offset: 0..=2, .. }));
    let compares = rule.iter().any(|step| match step {
        Step::Compare { value, .. } => value.ends_with(&bytes),
        _ => false,
    });
    let by_match = rule.iter().any(|step| match step {
        Step::Match { name, info, .. } => name == "udp" && info.get(4..8) == Some(&range(port)),
        _ => false,
    });
    let accepts = |step: &Step| matches!(step, Step::Verdict(Verdict::Accept));
    let decides =
        |step: &Step| matches!(step, Step::Verdict(_) | Step::Target(_) | Step::Elsewhere) && !accepts(step);
    ((loads && compares) || by_match) && rule.iter().any(decides)
}

/// A range of one port, as struct xt_udp has it.
fn range(port: u16) -> [u8; 4] {
    let [a, b] = port.to_ne_bytes();
    [a, b, a, b]
}

fn port(link: &Link) -> Port {
    Port { name: link.name.clone(), ifindex: Some(link.ifindex) }
}

fn needs(question: &Question, links: &[Link], uplinks: &[Uplink]) -> Vec<Need> {
    let inside = Port {
        name: question.inside.clone(),
        ifindex: links.iter().find(|link| link.name == question.inside).map(|link| link.ifindex),
    };
    let mut needs = Vec::new();
    for family in question.families() {
        let (Some(node), Some(pod)) = (question.node_address(family), question.pod_address(family)) else {
            continue;
        };
        needs.extend(pods_needs(family, node, pod, &inside, uplinks));
    }
    if !question.direct {
        needs.extend(tunnels_needs(question, uplinks));
    }
    needs
}

/// What a Pod's packets need of forward and input.
fn pods_needs(family: Family, node: IpAddr, pod: IpAddr, inside: &Port, uplinks: &[Uplink]) -> Vec<Need> {
    let from_pod = Packet {
        family,
        input: Some(inside.clone()),
        output: None,
        source: Some(pod),
        destination: node,
        protocol: TCP,
        port: Some(NODE_PORT),
        established: false,
        translated: false,
    };
    let (from, to) = (|| Accept::From(inside.name.clone()), || Accept::To(inside.name.clone()));
    let mut needs = Vec::new();
    let lost = format!("{family} packets of Pods to their own node (such as TCP port {NODE_PORT})");
    for hook in [PREROUTING, INPUT] {
        let (packet, lost) = (from_pod.clone(), lost.clone());
        needs.push(Need { what: "input_dropped", hook, packet, lost, accept: from() });
    }
    // A Service's address is translated to another Pod's: in and out by the same interface.
    let service =
        Packet { output: Some(inside.clone()), destination: node, translated: true, ..from_pod.clone() };
    let lost = format!("{family} packets of Pods to Services");
    needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: service, lost, accept: from() });
    for uplink in uplinks.iter().filter(|uplink| uplink.families.contains(&family)) {
        let out = Packet {
            output: Some(port(&uplink.link)),
            destination: outside(family),
            port: Some(OUTSIDE_PORT),
            ..from_pod.clone()
        };
        let back = Packet {
            input: out.output.clone(),
            output: out.input.clone(),
            source: Some(out.destination),
            destination: pod,
            port: None,
            established: true,
            ..out.clone()
        };
        let lost = format!("{family} packets of Pods to the outside");
        needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: out, lost, accept: from() });
        let lost = format!("{family} answers from the outside to Pods");
        needs.push(Need { what: "forward_dropped", hook: FORWARD, packet: back, lost, accept: to() });
    }
    needs
}

/// What packets of tunnels need of input and output; with direct encapsulation they meet neither.
fn tunnels_needs(question: &Question, uplinks: &[Uplink]) -> Vec<Need> {
    let tunnel_port = question.tunnel_port;
    let mut peers = question.peers.iter().map(|(_, address)| *address);
    let peer = peers.find(|peer| peer.is_ipv4() == question.tunnel_address.is_ipv4());
    let Some(peer) = peer else { return Vec::new() };
    let mut needs = Vec::new();
    for uplink in uplinks.iter().filter(|uplink| uplink.tunnels) {
        let input = Packet {
            source: Some(peer),
            ..tunnel_packet(question.tunnel_address, tunnel_port, Some(port(&uplink.link)))
        };
        let output = Packet {
            output: input.input.clone(),
            input: None,
            source: Some(question.tunnel_address),
            destination: peer,
            ..input.clone()
        };
        for (hook, packet, which) in
            [(PREROUTING, input.clone(), "from"), (INPUT, input, "from"), (OUTPUT, output, "to")]
        {
            let lost = format!("tunnels {which} other nodes (UDP port {tunnel_port})");
            needs.push(Need {
                what: "tunnel_dropped",
                hook,
                packet,
                lost,
                accept: Accept::Port(tunnel_port),
            });
        }
    }
    needs
}

impl Accept {
    /// The command of whoever made the table, if that is known, else nft's.
    fn remedy(&self, ruleset: &Ruleset, base: &Base, established: bool) -> String {
        let has = |what: &str| {
            ruleset.names.iter().any(|(table, chain)| *table == base.table && chain.starts_with(what))
        };
        let (family, table) = (base.table.0, base.table.1.as_str());
        let chain = &base.chain;
        let is_iptables =
            base.is_legacy() || table == "filter" && matches!(chain.as_str(), "INPUT" | "FORWARD" | "OUTPUT");
        let iptables = match family {
            "ip6" => "ip6tables",
            _ if base.is_legacy() => family,
            _ => "iptables",
        };
        if table == "firewalld" {
            let change = match self {
                Self::From(inside) | Self::To(inside) => format!("--zone=trusted --add-interface={inside}"),
                Self::Port(port) => format!("--add-port={port}/udp"),
            };
            return format!("firewall-cmd --permanent {change} && firewall-cmd --reload");
        }
        if has("ufw") {
            return match (self, base.hook) {
                (Self::From(inside), FORWARD) => format!("ufw route allow in on {inside}"),
                (Self::From(inside), _) => format!("ufw allow in on {inside}"),
                (Self::To(inside), _) => format!("ufw route allow out on {inside}"),
                (Self::Port(port), _) => format!("ufw allow {port}/udp"),
            };
        }
        let chain = if has("DOCKER-USER") && chain == "FORWARD" { "DOCKER-USER" } else { chain };
        if is_iptables {
            return match self {
                Self::From(inside) => format!("{iptables} -I {chain} -i {inside} -j ACCEPT"),
                Self::To(inside) if established => format!(
                    "{iptables} -I {chain} -o {inside} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
                ),
                Self::To(inside) => format!("{iptables} -I {chain} -o {inside} -j ACCEPT"),
                Self::Port(port) => format!("{iptables} -I {chain} -p udp --dport {port} -j ACCEPT"),
            };
        }
        let rule = match self {
            Self::From(inside) => format!("iifname {inside} accept"),
            Self::To(inside) if established => {
                format!("oifname {inside} ct state established,related accept")
            }
            Self::To(inside) => format!("oifname {inside} accept"),
            Self::Port(port) => format!("udp dport {port} accept"),
        };
        format!("nft insert rule {family} {table} {chain} {rule}")
    }
}
