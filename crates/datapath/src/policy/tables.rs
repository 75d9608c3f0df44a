//! The tables of policy, as they are in the kernel.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::layout::policy::{CLASS_NONE, EGRESS, INGRESS, PortsKey, SET_CLOSED, SetEntry, SetKey};
use crate::layout::{Address, Config, RouteKey};
use crate::model::{Port, Role};
use crate::services::TableUsage;
use crate::sys::RawMap;

use super::columns::Columns;
use super::pending::{Pending, all_ipv4};
use super::raw;
use super::types::{CLOSED, List, OPEN, Sizes, State};

/// The maps.
pub(crate) struct Maps {
    pub(crate) classes: RawMap,
    pub(crate) blocks: RawMap,
    pub(crate) sets: RawMap,
    pub(crate) ports: RawMap,
    pub(crate) counts: RawMap,
}

/// A list that is in the kernel.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Written by this agent.
    Own(Arc<List>),
    /// Left by one before.
    Found(Vec<PortsKey>),
}

impl Known {
    /// How many prefixes it has.
    pub(super) fn count(&self, number: u32) -> u64 {
        let count = match self {
            Self::Own(list) => raw::prefixes(number, list).count(),
            Self::Found(keys) => keys.len(),
        };
        count as u64
    }

    pub(super) fn keys(&self, number: u32) -> Vec<PortsKey> {
        match self {
            Self::Own(list) => raw::prefixes(number, list).map(|(key, _)| key).collect(),
            Self::Found(keys) => keys.clone(),
        }
    }
}

/// What nobody looks up any more and the kernel did not remove.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) entries: Vec<SetKey>,
    pub(super) ports: Vec<PortsKey>,
    pub(super) rules: Vec<u32>,
}

/// Policy as it is in the kernel, and what is to become of it.
pub(crate) struct Policies {
    pub(super) sizes: Sizes,
    pub(super) classes: Columns<Address>,
    pub(super) blocks: Columns<RouteKey>,
    pub(super) sets: RawMap,
    pub(super) ports: RawMap,
    pub(super) counts: RawMap,
    pub(super) entries: HashMap<SetKey, SetEntry>,
    pub(super) lists: HashMap<u32, Known>,
    /// How many prefixes all lists have.
    pub(super) prefixes: u64,
    pub(super) rules: BTreeSet<u32>,
    /// Ports that may have another set in the column that does not count.
    pub(super) unsettled: BTreeSet<u32>,
    pub(super) left: Left,
    /// 0: policy is off.
    pub(super) generation: u32,
    /// The last one that was in force.
    pub(super) last: u32,
    pub(super) pending: Option<Pending>,
    /// The highest numbers that were ever seen.
    pub(super) highest: State,
    /// How far the tables were compared with the kernel's.
    pub(super) checked: usize,
}

impl Policies {
    /// The configuration with what policy has in it.
    pub(crate) fn in_config(&self, config: Config) -> Config {
        Config { policy_generation: self.generation, policy_last: self.last, ..config }
    }

    /// The column that counts.
    pub(crate) fn column(&self) -> usize {
        usize::from(self.generation % 2 == 1)
    }

    /// The set that a port can be bound with now: what it is to have, or what it has, while that is not in force.
    pub(crate) fn set_to_bind(&self, port: &Port, before: Option<u32>) -> u32 {
        if port.role == Role::Node {
            return OPEN;
        }
        let is_there =
            |direction| self.entries.contains_key(&SetKey { set: port.set, class: CLASS_NONE, direction });
        let in_force = [OPEN, CLOSED].contains(&port.set) || [INGRESS, EGRESS].into_iter().all(is_there);
        if in_force { port.set } else { before.unwrap_or(SET_CLOSED) }
    }

    /// A port was bound with a set in both columns.
    pub(crate) fn bound(&mut self, port: &Port, set: u32) {
        self.unsettled.remove(&port.ifindex);
        if port.role == Role::Node {
            return;
        }
        match &mut self.pending {
            Some(pending) => drop(pending.sets.insert(port.ifindex, port.set)),
            None if set != port.set => {
                let sets = [(port.ifindex, port.set)].into();
                self.pending = Some(Pending { sets, ..Pending::default() });
            }
            None => (),
        }
    }

    /// A port is gone.
    pub(crate) fn forget_port(&mut self, ifindex: u32) {
        self.unsettled.remove(&ifindex);
        if let Some(pending) = &mut self.pending {
            pending.sets.remove(&ifindex);
        }
    }

    /// How full the tables are.
    pub(super) fn usage(&self) -> Vec<TableUsage> {
        let usage = |name, used: usize, limit| TableUsage { name, used: used as u64, limit };
        let own = usize::from(self.blocks.in_force.get(&all_ipv4()) == Some(&0));
        vec![
            usage("classes", self.classes.in_force.len(), self.sizes.addresses),
            usage("block_classes", self.blocks.in_force.len() - own, self.sizes.addresses),
            usage("policy_sets", self.entries.len(), self.sizes.entries),
            TableUsage { name: "policy_ports", used: self.prefixes, limit: self.sizes.prefixes() },
            usage("policy_counts", self.rules.len(), self.sizes.rules),
        ]
    }
}
