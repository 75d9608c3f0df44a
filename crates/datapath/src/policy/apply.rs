//! Bringing a change into force.
//!
//! 1. What is new and looked up by nobody yet is written: rules, lists, entries of sets.
//! 2. The column that does not count is written: classes of addresses and blocks, sets of Pods.
//! 3. One write of the generation makes that column count. All connections are judged again.
//! 4. The other column is made the same, and what nobody looks up any more is removed.
//!
//! If the kernel refuses anything before the third step, what was written is taken back, and what was in force stays. What it
//! refuses after that is no harm to anybody, and is done with the next change.

use crate::api::CONFIG;
use crate::error::{Error, Result};
use crate::layout;
use crate::layout::policy::CLASS_NONE;
use crate::ports::Ports;
use crate::sys::RawMap;
use crate::table::Table;

use super::blocks::Around;
use super::pending::Pending;
use super::plan::Plan;
use super::raw;
use super::tables::{Known, Policies};
use super::types::{CLOSED, Change, OPEN};

/// The set of a port, in force and wanted.
#[derive(Clone, Copy, Debug)]
struct PortStep {
    ifindex: u32,
    before: u32,
    after: u32,
}

impl Policies {
    /// Brings a change into force, with what was pending.
    pub(super) fn apply(
        &mut self,
        change: &Change,
        ports: &mut Ports,
        config: &mut Table<u32, layout::Config>,
    ) -> Result<()> {
        let former = self.pending.take();
        let mut pending = former.clone().unwrap_or_default();
        let added = pending.add(change).map_err(Error::Policy);
        let applied = added.and_then(|()| self.apply_pending(&mut pending, ports, config));
        self.pending = match &applied {
            Ok(()) => None,
            Err(Error::Policy(_)) => former,
            Err(_) => Some(pending),
        };
        applied
    }

    fn apply_pending(
        &mut self,
        pending: &mut Pending,
        ports: &mut Ports,
        config: &mut Table<u32, layout::Config>,
    ) -> Result<()> {
        self.remove_left();
        let plan = self.plan(pending)?;
        let port_steps = self.plan_ports(pending, ports)?;
        let next = next_generation(self.last);
        let column = usize::from(next % 2 == 1);
        let written = self
            .add(&plan)
            .and_then(|()| self.write_column(&plan, &port_steps, column, ports))
            .and_then(|()| self.switch(next, config));
        if let Err(error) = written {
            self.take_back(&plan, &port_steps, ports);
            return Err(error);
        }
        if let Err(error) = self.settle(&plan, &port_steps, ports) {
            tracing::warn!(%error, "cannot remove what policy does not use any more; the next change does");
        }
        self.remove(&plan);
        self.note(&plan);
        Ok(())
    }

    /// The first steps of a change, for tests of what an agent leaves that dies in the middle.
    #[cfg(test)]
    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        pending: &Pending,
        ports: &mut Ports,
        config: &mut Table<u32, layout::Config>,
        switched: bool,
    ) -> Result<()> {
        let port_steps = self.plan_ports(pending, ports)?;
        let next = next_generation(self.last);
        self.add(plan)?;
        self.write_column(plan, &port_steps, usize::from(next % 2 == 1), ports)?;
        if switched { self.switch(next, config) } else { Ok(()) }
    }

    /// The sets of ports that change, or may differ in the other column.
    fn plan_ports(&self, pending: &Pending, ports: &Ports) -> Result<Vec<PortStep>> {
        let mut wanted: std::collections::BTreeMap<u32, Option<u32>> =
            self.unsettled.iter().map(|ifindex| (*ifindex, None)).collect();
        if pending.replace {
            wanted.extend(ports.pods()?.into_iter().map(|ifindex| (ifindex, Some(CLOSED))));
        }
        wanted.extend(pending.sets.iter().map(|(ifindex, set)| (*ifindex, Some(*set))));
        let mut steps = Vec::new();
        for (ifindex, after) in wanted {
            // One that is gone needs none.
            let Some(before) = ports.set_of(ifindex, self.column())? else { continue };
            let after = after.unwrap_or(before);
            if before != after || self.unsettled.contains(&ifindex) {
                steps.push(PortStep { ifindex, before, after });
            }
        }
        Ok(steps)
    }

    /// Writes what nobody looks up yet.
    fn add(&mut self, plan: &Plan) -> Result<()> {
        let failed = |name| move |error: std::io::Error| Error::map("write", name, &error);
        let zeros = vec![0; self.counts.sizes().1 * plan.rules.len()];
        self.counts.set_all(bytemuck::cast_slice(&plan.rules), &zeros).map_err(failed("policy_counts"))?;
        let prefixes = plan.lists.iter().flat_map(|(number, list)| raw::prefixes(*number, list));
        let (keys, values): (Vec<_>, Vec<_>) = prefixes.unzip();
        let written = self.ports.set_all(bytemuck::cast_slice(&keys), bytemuck::cast_slice(&values));
        written.map_err(failed("policy_ports"))?;
        let (keys, values): (Vec<_>, Vec<_>) = plan.entries.iter().copied().unzip();
        let written = self.sets.set_all(bytemuck::cast_slice(&keys), bytemuck::cast_slice(&values));
        written.map_err(failed("policy_sets"))
    }

    /// Writes what will be in force into the column that is not.
    fn write_column(
        &mut self,
        plan: &Plan,
        port_steps: &[PortStep],
        column: usize,
        ports: &mut Ports,
    ) -> Result<()> {
        self.classes.write(&plan.classes, column, |_| [CLASS_NONE; 2])?;
        let present = std::mem::take(&mut self.blocks.in_force);
        let around = Around::new(&present, &plan.blocks);
        let written = self.blocks.write(&plan.blocks, column, |key| around.of(key));
        self.blocks.in_force = present;
        written?;
        for PortStep { ifindex, before, after } in port_steps {
            self.unsettled.insert(*ifindex);
            let sets = if column == 0 { [*after, *before] } else { [*before, *after] };
            ports.set_sets(*ifindex, sets)?;
        }
        Ok(())
    }

    /// From here on the other column counts.
    fn switch(&mut self, next: u32, config: &mut Table<u32, layout::Config>) -> Result<()> {
        let now = config.get(&CONFIG)?.unwrap_or_default();
        config.set(&CONFIG, &layout::Config { policy_generation: next, policy_last: next, ..now })?;
        (self.generation, self.last) = (next, next);
        Ok(())
    }

    /// Makes both columns the same.
    fn settle(&mut self, plan: &Plan, port_steps: &[PortStep], ports: &mut Ports) -> Result<()> {
        let classes = self.classes.settle(&plan.classes, |step| step.after);
        let blocks = self.blocks.settle(&plan.blocks, |step| step.after);
        classes.and(blocks).and(self.settle_ports(port_steps, |step| step.after, ports))
    }

    fn settle_ports(
        &mut self,
        steps: &[PortStep],
        set: impl Fn(&PortStep) -> u32,
        ports: &mut Ports,
    ) -> Result<()> {
        let mut result = Ok(());
        for step in steps {
            match ports.set_sets(step.ifindex, [set(step); 2]) {
                Ok(()) => drop(self.unsettled.remove(&step.ifindex)),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Takes back what was written for a change that does not come into force.
    fn take_back(&mut self, plan: &Plan, port_steps: &[PortStep], ports: &mut Ports) {
        let classes = self.classes.settle(&plan.classes, |step| step.before);
        let blocks = self.blocks.settle(&plan.blocks, |step| step.before);
        let ports = self.settle_ports(port_steps, |step| step.before, ports);
        if let Err(error) = classes.and(blocks).and(ports) {
            tracing::warn!(%error, "cannot take back a change of policy; the next one does");
        }
        self.left.entries.extend(plan.entries.iter().map(|(key, _)| *key));
        let prefixes = plan.lists.iter().flat_map(|(number, list)| raw::prefixes(*number, list));
        self.left.ports.extend(prefixes.map(|(key, _)| key));
        self.left.rules.extend(&plan.rules);
        self.remove_left();
    }

    /// Removes what nobody looks up any more.
    fn remove(&mut self, plan: &Plan) {
        for key in &plan.removed_entries {
            self.entries.remove(key);
        }
        self.left.entries.extend(&plan.removed_entries);
        for number in &plan.removed_lists {
            if let Some(known) = self.lists.remove(number) {
                let keys = known.keys(*number);
                self.prefixes = self.prefixes.saturating_sub(keys.len() as u64);
                self.left.ports.extend(keys);
            }
        }
        for rule in &plan.removed_rules {
            self.rules.remove(rule);
        }
        self.left.rules.extend(&plan.removed_rules);
        self.remove_left();
    }

    /// Removes what is left; what the kernel refuses stays left.
    fn remove_left(&mut self) {
        fn remove<K: bytemuck::Pod>(map: &RawMap, name: &'static str, keys: &mut Vec<K>) {
            match map.remove_all(bytemuck::cast_slice(keys)) {
                Ok(()) => keys.clear(),
                Err(error) => tracing::warn!(map = name, %error, "cannot remove entries of policy"),
            }
        }
        remove(&self.sets, "policy_sets", &mut self.left.entries);
        remove(&self.ports, "policy_ports", &mut self.left.ports);
        remove(&self.counts, "policy_counts", &mut self.left.rules);
    }

    /// Notes what is in the kernel now.
    fn note(&mut self, plan: &Plan) {
        for (key, entry) in &plan.entries {
            self.entries.insert(*key, *entry);
            self.highest.set = self.highest.set.max(key.set);
        }
        for (number, list) in &plan.lists {
            self.lists.insert(*number, Known::Own(list.clone()));
            self.highest.list = self.highest.list.max(*number);
        }
        self.prefixes += plan.prefixes;
        self.rules.extend(&plan.rules);
        self.highest.rule = self.highest.rule.max(self.rules.last().copied().unwrap_or(0));
        let classes = plan.classes.iter().filter_map(|step| step.after);
        let classes = classes.chain(plan.blocks.iter().filter_map(|step| step.after));
        self.highest.class = classes.fold(self.highest.class, u32::max);
        self.highest.generation = self.generation;
    }

    /// Has everything pass, and removes all there is.
    pub(super) fn turn_off(
        &mut self,
        ports: &mut Ports,
        config: &mut Table<u32, layout::Config>,
    ) -> Result<()> {
        let now = config.get(&CONFIG)?.unwrap_or_default();
        config.set(&CONFIG, &layout::Config { policy_generation: 0, policy_last: self.last, ..now })?;
        self.generation = 0;
        self.highest.generation = 0;
        self.pending = None;
        for ifindex in ports.pods()? {
            ports.set_sets(ifindex, [OPEN; 2])?;
        }
        self.unsettled.clear();
        let empty = Pending { replace: true, ..Pending::default() };
        let mut plan = Plan { classes: self.classes.plan(&empty.classes, true), ..Plan::default() };
        plan.blocks = self.blocks.plan(&empty.blocks, true);
        plan.removed_lists = self.lists.keys().copied().collect();
        plan.removed_entries = self.entries.keys().copied().collect();
        plan.removed_rules = self.rules.iter().copied().collect();
        let settled = self.settle(&plan, &[], ports);
        self.remove(&plan);
        settled
    }
}

/// The generation after another one: never 0, and with the other column.
fn next_generation(last: u32) -> u32 {
    last.checked_add(1).unwrap_or(2)
}
