//! What differs, as programs get it: see docs/reference.md.

use objects::Key;
use policy::{Comparison, Direction, Ports};
use serde::Serialize;

use super::state::{Named, State};
use crate::API_VERSION;
use crate::answer::some;

/// What differs between two states.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    api_version: &'static str,
    kind: &'static str,
    pub(super) only_in_old: Vec<End>,
    pub(super) only_in_new: Vec<End>,
    pub(super) changes: Vec<Change>,
    /// Whether these are all.
    pub(super) complete: bool,
    pub(super) warnings: Vec<Warning>,
}

/// Connections that only one state allows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    /// Whether it is the new one.
    pub(super) allowed: bool,
    pub(super) sources: Vec<End>,
    pub(super) destinations: Vec<End>,
    pub(super) ports: Vec<PortRange>,
    /// `None`: both, or that of the blocks.
    pub(super) family: Option<&'static str>,
    /// What decides in the new state.
    pub(super) by: Vec<Decision>,
}

/// A workload or a block.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum End {
    Workload { kind: &'static str, namespace: String, name: String },
    Block { block: String, except: Vec<String> },
}

/// Ports of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct PortRange {
    pub(super) protocol: &'static str,
    /// `None`: it has none.
    pub(super) first: Option<u16>,
    pub(super) last: Option<u16>,
}

/// What decides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Decision {
    direction: &'static str,
    decided_by: &'static str,
    policies: Vec<String>,
    /// `None`: the default deny.
    rule: Option<u32>,
    rule_name: Option<String>,
    audit: bool,
    pub(super) why: String,
}

/// What is wrong with a state.
#[derive(Debug, Serialize)]
pub(super) struct Warning {
    pub(super) state: &'static str,
    pub(super) object: String,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl View {
    /// What was found of two states.
    pub(super) fn new(found: Comparison, old: &State, new: &State) -> Self {
        let Comparison { only_old, only_new, changes, complete } = found;
        let workloads = |state: &State, keys: Vec<Key>| keys.iter().map(|key| End::pod(key, state)).collect();
        let warnings = [("old", old), ("new", new)].into_iter().flat_map(|(name, state)| {
            state.warnings.iter().cloned().map(move |super::state::Warning { object, problem, remedy }| {
                Warning { state: name, object, problem, remedy }
            })
        });
        Self {
            api_version: API_VERSION,
            kind: "PolicyDifference",
            only_in_old: workloads(old, only_old),
            only_in_new: workloads(new, only_new),
            changes: changes.into_iter().map(|change| Change::new(change, new)).collect(),
            complete,
            warnings: warnings.collect(),
        }
    }

    /// Whether nothing differs.
    pub(super) fn is_same(&self) -> bool {
        self.only_in_old.is_empty() && self.only_in_new.is_empty() && self.changes.is_empty() && self.complete
    }
}

impl Change {
    /// The ends of a change are in both states.
    fn new(change: policy::Change, state: &State) -> Self {
        let ends = |ends: Vec<policy::End>| ends.into_iter().map(|end| End::new(end, state)).collect();
        Self {
            allowed: change.allowed,
            sources: ends(change.sources),
            destinations: ends(change.destinations),
            ports: change.ports.into_iter().map(PortRange::from).collect(),
            family: change.family.map(objects::Family::name),
            by: change.by.into_iter().map(Decision::from).collect(),
        }
    }
}

impl End {
    fn new(end: policy::End, state: &State) -> Self {
        match end {
            policy::End::Pod(key) => Self::pod(&key, state),
            policy::End::Block { block, except } => Self::Block {
                block: block.to_string(),
                except: except.iter().map(ToString::to_string).collect(),
            },
        }
    }

    fn pod(key: &Key, state: &State) -> Self {
        let (kind, key) = match state.workloads.get(key) {
            Some(Named { kind, key }) => (*kind, key),
            None => ("Pod", key),
        };
        let namespace = key.namespace().unwrap_or_default().to_owned();
        Self::Workload { kind, namespace, name: key.name().to_owned() }
    }
}

impl From<Ports> for PortRange {
    fn from(ports: Ports) -> Self {
        match ports {
            Ports::None => Self { protocol: "icmp", first: None, last: None },
            Ports::Of(protocol, first, last) => {
                let protocol = match protocol {
                    objects::Protocol::Tcp => "tcp",
                    objects::Protocol::Udp => "udp",
                    objects::Protocol::Sctp => "sctp",
                };
                Self { protocol, first: Some(first), last: Some(last) }
            }
        }
    }
}

impl From<policy::Decision> for Decision {
    fn from(policy::Decision { rule, audit }: policy::Decision) -> Self {
        // The default deny has no direction in its name.
        let of = match (rule.rule, rule.direction) {
            (Some(_), _) => "",
            (None, Direction::Egress) => " (egress)",
            (None, Direction::Ingress) => " (ingress)",
        };
        let audited = if audit { ", which is only audited" } else { "" };
        Self {
            direction: rule.direction.name(),
            decided_by: rule.origin.name(),
            policies: rule.policies.iter().map(ToString::to_string).collect(),
            rule: rule.rule,
            rule_name: some(rule.name.to_string()),
            audit,
            why: format!("{rule}{of}{audited}"),
        }
    }
}
