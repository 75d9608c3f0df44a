//! What is to be written and removed for what is wanted, and whether it fits.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::layout::policy::{CLASS_OTHER, SetEntry, SetKey};
use crate::layout::{Address, RouteKey};
use crate::maps::{ADDRESSES, ENTRIES, RULES};

use super::columns::Step;
use super::pending::{Pending, all_ipv4};
use super::raw;
use super::tables::{Known, Policies};
use super::types::{Change, List};

/// The steps of a change.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) rules: Vec<u32>,
    pub(super) lists: Vec<(u32, Arc<List>)>,
    pub(super) entries: Vec<(SetKey, SetEntry)>,
    pub(super) classes: Vec<Step<Address>>,
    pub(super) blocks: Vec<Step<RouteKey>>,
    pub(super) removed_rules: Vec<u32>,
    pub(super) removed_lists: Vec<u32>,
    pub(super) removed_entries: Vec<SetKey>,
    /// How many prefixes the new lists have.
    pub(super) prefixes: u64,
    /// And those that go.
    pub(super) removed_prefixes: u64,
}

impl Policies {
    /// Whether a change, with what is pending, can be planned.
    pub(super) fn check_change(&self, change: &Change) -> Result<()> {
        let mut pending = self.pending.clone().unwrap_or_default();
        pending.add(change).map_err(Error::Policy)?;
        self.plan(&mut pending).map(drop)
    }

    /// Plans what is pending.
    pub(super) fn plan(&self, pending: &mut Pending) -> Result<Plan> {
        let root = pending.blocks.entry(all_ipv4()).or_insert_with(|| {
            let before = self.blocks.in_force.get(&all_ipv4()).filter(|_| !pending.replace);
            before.copied()
        });
        root.get_or_insert(CLASS_OTHER);
        let mut plan = Plan {
            rules: pending.rules.difference(&self.rules).copied().collect(),
            classes: self.classes.plan(&pending.classes, pending.replace),
            blocks: self.blocks.plan(&pending.blocks, pending.replace),
            ..Plan::default()
        };
        self.plan_lists(pending, &mut plan)?;
        self.plan_entries(pending, &mut plan)?;
        self.plan_removals(pending, &mut plan);
        self.check_space(&plan)?;
        Ok(plan)
    }

    fn plan_lists(&self, pending: &Pending, plan: &mut Plan) -> Result<()> {
        for (number, list) in &pending.lists {
            match self.lists.get(number) {
                None => plan.lists.push((*number, Arc::clone(list))),
                Some(Known::Own(known)) if known == list => (),
                Some(_) => return Err(Error::Policy(format!("list {number} is another one already"))),
            }
        }
        plan.prefixes =
            plan.lists.iter().map(|(number, list)| Known::Own(Arc::clone(list)).count(*number)).sum();
        Ok(())
    }

    fn plan_entries(&self, pending: &Pending, plan: &mut Plan) -> Result<()> {
        for (key, number) in &pending.entries {
            let list = pending.lists.get(number).or_else(|| match self.lists.get(number) {
                Some(Known::Own(list)) => Some(list),
                _ => None,
            });
            let list =
                list.ok_or_else(|| Error::Policy(format!("set {} has the unknown list {number}", key.set)))?;
            let entry = raw::entry(*number, list);
            match self.entries.get(key) {
                None => plan.entries.push((*key, entry)),
                Some(known) if *known == entry => (),
                Some(_) => {
                    let reason = format!("set {} has another list for class {} already", key.set, key.class);
                    return Err(Error::Policy(reason));
                }
            }
        }
        Ok(())
    }

    fn plan_removals(&self, pending: &Pending, plan: &mut Plan) {
        if pending.replace {
            let gone = |number: &&u32| !pending.lists.contains_key(number);
            plan.removed_lists = self.lists.keys().filter(gone).copied().collect();
            let gone = |key: &&SetKey| !pending.entries.contains_key(key);
            plan.removed_entries = self.entries.keys().filter(gone).copied().collect();
            plan.removed_rules = self.rules.difference(&pending.rules).copied().collect();
        } else {
            plan.removed_lists =
                pending.removed_lists.iter().filter(|one| self.lists.contains_key(one)).copied().collect();
            plan.removed_entries = pending
                .removed_entries
                .iter()
                .filter(|one| self.entries.contains_key(one))
                .copied()
                .collect();
            plan.removed_rules = pending.removed_rules.intersection(&self.rules).copied().collect();
        }
        let removed = plan.removed_lists.iter();
        plan.removed_prefixes =
            removed.filter_map(|number| Some(self.lists.get(number)?.count(*number))).sum();
    }

    /// Whether what will be in force is within the sizes. The maps have space for twice as much, so that what is in force fits
    /// in beside it.
    fn check_space(&self, plan: &Plan) -> Result<()> {
        let of = |now: usize, added: usize, removed: usize| (now + added).saturating_sub(removed) as u64;
        let entries = of(self.entries.len(), plan.entries.len(), plan.removed_entries.len());
        let rules = of(self.rules.len(), plan.rules.len(), plan.removed_rules.len());
        let prefixes = (self.prefixes + plan.prefixes).saturating_sub(plan.removed_prefixes);
        let addresses = after(self.classes.in_force.len(), &plan.classes);
        let blocks = after(self.blocks.in_force.len(), &plan.blocks);
        // The one that is always there.
        let blocks = blocks.saturating_sub(u64::from(self.has_own_block(&plan.blocks)));
        for (table, needed, limit, setting) in [
            ("classes", addresses, self.sizes.addresses, ADDRESSES),
            ("block_classes", blocks, self.sizes.addresses, ADDRESSES),
            ("policy_sets", entries, self.sizes.entries, ENTRIES),
            ("policy_ports", prefixes, self.sizes.prefixes(), ENTRIES),
            ("policy_counts", rules, self.sizes.rules, RULES),
        ] {
            if needed > u64::from(limit) {
                return Err(Error::PolicyFull { table, needed, limit, setting });
            }
        }
        Ok(())
    }

    /// Whether the block of all IPv4 addresses will be there only because it has to be.
    fn has_own_block(&self, steps: &[Step<RouteKey>]) -> bool {
        let now = self.blocks.in_force.get(&all_ipv4()).copied();
        let step = steps.iter().find(|step| step.key == all_ipv4());
        step.map_or(now, |step| step.after) == Some(CLASS_OTHER)
    }
}

/// How many keys have a class after these steps.
fn after<K: Eq + std::hash::Hash>(now: usize, steps: &[Step<K>]) -> u64 {
    debug_assert_eq!(steps.iter().map(|step| &step.key).collect::<HashSet<_>>().len(), steps.len());
    let added = steps.iter().filter(|step| step.before.is_none() && step.after.is_some()).count();
    let removed = steps.iter().filter(|step| step.before.is_some() && step.after.is_none()).count();
    (now + added).saturating_sub(removed) as u64
}
