//! Which connections one state of a cluster allows and another one does not.
//!
//! Nothing of it is incremental. What policies mean is computed as the judge does, for all Pods instead of those of one node,
//! and by classes and sets instead of pairs of Pods:
//!
//! - `world`: each Pod has a set and a class in each state, each block has a class. For each set and class there is a list of
//!   verdicts; those that the same rules make are one.
//! - `sheet`: lists of both states in the same numbers, with what decides.
//! - `difference`: what of two such pairs of lists passes in one state alone, by which ports, and what decides in the new one.
//! - `blocks`: the address space, cut at the blocks of both states.
//! - `gather`: Pods and blocks that are equal in both states are groups; what differs between groups by the same
//!   rules is one change.

mod blocks;
mod change;
mod difference;
mod gather;
mod sheet;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use objects::{Key, Pod};

pub use change::{Change, Comparison, Decision, End, Ports, TooMuch};
use sheet::Sheets;
use world::World;

use crate::judge::Judge;

/// Compares what policies mean for the Pods that two judges know; ports of a node and its updates are of no concern.
///
/// A connection between Pods has to be allowed by both ends, one from or to outside by the Pod. Nodes are nobody's end. A block
/// matches a Pod by the addresses that its object has; one of a family of which it has none is in no block. A namespace that
/// is not known has no labels but its name. Pods on the host network, and those that have ended, are none.
///
/// It takes memory for each pair of a set and a class: for 2,000 Pods that all differ, with as many policies, 290 MiB.
///
/// # Errors
/// The blocks of one state overlap too much.
pub fn compare(old: &Judge, new: &Judge) -> Result<Comparison, TooMuch> {
    let states = [old, new].map(|judge| judge.peers().map(|pod| (&pod.key, pod)).collect::<BTreeMap<_, _>>());
    let [old_pods, new_pods] = &states;
    let only = |of: &BTreeMap<&Key, _>, other: &BTreeMap<&Key, _>| -> Vec<Key> {
        of.keys().filter(|key| !other.contains_key(*key)).map(|key| (*key).clone()).collect()
    };
    let both: Vec<Key> =
        old_pods.keys().filter(|key| new_pods.contains_key(*key)).map(|key| (*key).clone()).collect();
    let pods = |of: &BTreeMap<&Key, &Arc<Pod>>| -> Vec<Arc<Pod>> {
        both.iter().filter_map(|key| of.get(key)).map(|pod| Arc::clone(pod)).collect()
    };
    let mut sheets = Sheets::new();
    let old_world = World::new(old, &pods(old_pods), &mut sheets)?;
    let new_world = World::new(new, &pods(new_pods), &mut sheets)?;
    let (changes, complete) = gather::gather(&both, [&old_world, &new_world], &sheets);
    let (only_old, only_new) = (only(old_pods, new_pods), only(new_pods, old_pods));
    Ok(Comparison { only_old, only_new, changes, complete })
}
