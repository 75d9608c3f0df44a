//! Whether firewall rules drop packets of Pods or tunnels: base chains of all nf_tables tables, and of iptables.

mod machine;
mod needs;
mod registers;
mod remedy;
mod xtables;

use std::net::IpAddr;

use machine::{End, run};
use needs::{HOOKS, INPUT, needs, port, tunnel_packet};

use super::fault::Fault;
use super::packet::{Packet, Port};
use super::question::Question;
use super::uplink::Uplink;
use crate::error::Result;
use crate::link::Link;
use crate::nft::read;
use crate::nft::ruleset::{Base, Ruleset};
use crate::nft::step::{Step, Verdict};

/// The rules as they were last read.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    read: Option<(Option<u32>, Ruleset)>,
}

impl Firewall {
    pub(super) fn faults(
        &mut self,
        question: &Question,
        links: &[Link],
        uplinks: &[Uplink],
    ) -> Result<Vec<Fault>> {
        let generation = read::generation()?;
        let ruleset = match self.read.take() {
            // Nothing tells whether tables of iptables-legacy changed.
            Some((last, ruleset)) if last == generation && !read::has_legacy() => ruleset,
            _ => read::read(&HOOKS)?,
        };
        let faults = dropped(&ruleset, question, links, uplinks);
        self.read = Some((generation, ruleset));
        Ok(faults)
    }
}

fn dropped(ruleset: &Ruleset, question: &Question, links: &[Link], uplinks: &[Uplink]) -> Vec<Fault> {
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

/// Why firewall rules are about packets of tunnels from this interface: a chain drops by default, or names their
/// port. `None`: no rule is about them.
///
/// # Errors
/// The kernel does not answer.
pub fn filters_tunnels(tunnel_address: IpAddr, tunnel_port: u16, uplink: &str) -> Result<Option<String>> {
    let ruleset = read::read(&[INPUT])?;
    let packet =
        tunnel_packet(tunnel_address, tunnel_port, Some(Port { name: uplink.into(), ifindex: None }));
    let found = guarding(&ruleset, &packet);
    Ok(found.map(|(base, why)| format!("{}: {why}", named(base))))
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
