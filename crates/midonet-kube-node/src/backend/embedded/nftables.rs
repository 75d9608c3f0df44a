//! This node's nftables table: its rules, and the elements of its sets, which are the ports of this node that its own
//! processes reach.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context, Result};
use plumbing::nft::{self, Element, Elements, Rules, Table};
use tracing::warn;

use crate::drift::Drift;

/// What should be in the table, and what of it may not be there.
#[derive(Debug, Default)]
pub(super) struct Nftables {
    /// The rules, and what the kernel made of them.
    rules: Option<(Rules, Option<Table>)>,
    wanted: Elements,
    /// What differs from the kernel's: with what the kernel has there, and where that leads.
    due: BTreeMap<Element, Option<Option<SocketAddr>>>,
    /// NodePorts of an agent before this one, until all Services are known: they may still be served.
    inherited: BTreeSet<Element>,
    /// The generation of the kernel's rules and sets in which all elements were seen there.
    seen: Option<u32>,
}

impl Nftables {
    /// Begins with what an agent before this one left: its NodePorts are served on.
    pub(super) fn take_over() -> Self {
        let found = nft::elements().unwrap_or_else(|error| {
            warn!(%error, "cannot read which NodePorts the node's own processes reach: they reach them again once all \
                Services are known");
            Elements::new()
        });
        let is_node_port = |element: &Element| matches!(element, Element::NodePort { .. });
        let wanted: Elements = found.into_iter().filter(|(element, _)| is_node_port(element)).collect();
        Self { inherited: wanted.keys().copied().collect(), wanted, ..Self::default() }
    }

    /// Adds an element, or has it lead elsewhere. It is there after the next [`write`](Self::write).
    pub(super) fn set(&mut self, element: Element, to: Option<SocketAddr>) {
        self.inherited.remove(&element);
        let before = self.wanted.insert(element, to);
        if before != Some(to) {
            self.due.entry(element).or_insert(before);
        }
    }

    /// Removes an element, likewise.
    pub(super) fn remove(&mut self, element: Element) {
        if let Some(before) = self.wanted.remove(&element) {
            self.due.entry(element).or_insert(Some(before));
        }
    }

    /// The elements that should be there.
    #[cfg(test)]
    pub(super) fn elements(&self) -> &Elements {
        &self.wanted
    }

    /// Makes these the elements of a kind.
    pub(super) fn replace(&mut self, is_of_kind: impl Fn(&Element) -> bool, elements: Elements) {
        let gone =
            self.wanted.keys().filter(|element| is_of_kind(element) && !elements.contains_key(element));
        for element in gone.copied().collect::<Vec<_>>() {
            self.remove(element);
        }
        for (element, to) in elements {
            self.set(element, to);
        }
    }

    /// All Services are known: what is left of an agent before this one goes.
    pub(super) fn prune(&mut self) {
        for element in std::mem::take(&mut self.inherited) {
            self.remove(element);
        }
    }

    /// Makes the kernel agree in the elements that changed. If that fails, for somebody changed them, in all of the table.
    ///
    /// # Errors
    /// The kernel refused, and has none of it.
    pub(super) fn write(&mut self) -> Result<()> {
        // Before there is a table: it is made with all elements.
        let Some((rules, _)) = self.rules.as_ref().filter(|(rules, _)| rules.services.is_some()) else {
            return Ok(());
        };
        let mut remove = Vec::new();
        let mut add = Elements::new();
        for (element, before) in &self.due {
            let now = self.wanted.get(element).copied();
            if now != *before {
                remove.extend(before.map(|_| *element));
                add.extend(now.map(|to| (*element, to)));
            }
        }
        if let Err(error) = nft::change(&remove, &add) {
            warn!(%error, "the nftables table inet midonet-kube is made again");
            return self.make(rules.clone());
        }
        self.due.clear();
        Ok(())
    }

    /// Makes the kernel agree in rules and elements: the table is made anew only if it differs.
    ///
    /// # Errors
    /// The kernel refused, or does not tell what it has.
    pub(super) fn apply(&mut self, rules: Rules) -> Result<()> {
        let same = self.rules.as_ref().is_some_and(|(applied, _)| *applied == rules);
        if same && self.drift()?.is_empty() {
            return self.write();
        }
        self.make(rules)
    }

    fn make(&mut self, rules: Rules) -> Result<()> {
        rules.apply(&self.wanted).context("cannot set up the translation of addresses")?;
        self.due.clear();
        self.seen = None;
        // At once: what somebody does to the table from now on is noticed.
        self.rules = Some((rules, nft::find()?));
        Ok(())
    }

    /// What somebody else changed.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn drift(&mut self) -> Result<Vec<Drift>> {
        let Some((rules, made)) = &self.rules else { return Ok(Vec::new()) };
        // First: what changes while the rest is read is a later generation.
        let generation = nft::generation()?;
        if self.seen.is_some() && self.seen == generation {
            return Ok(Vec::new());
        }
        let now = nft::find()?;
        // One that was gone before it was first read is drift, too.
        if now.is_none() || now != *made {
            let detail = "the nftables table inet midonet-kube is gone or changed";
            return Ok(vec![Drift::new("masquerade", detail)]);
        }
        if rules.services.is_some() {
            let mut expected = self.wanted.clone();
            for (element, before) in &self.due {
                match before {
                    Some(to) => expected.insert(*element, *to),
                    None => expected.remove(element),
                };
            }
            let found = nft::elements()?;
            if found != expected {
                let differs =
                    |(element, to): &(&Element, &Option<SocketAddr>)| expected.get(element) != Some(to);
                let one = expected.iter().find(|(element, to)| found.get(element) != Some(to));
                let one = one.or_else(|| found.iter().find(differs));
                let detail = format!("elements of the table are gone or changed, such as {one:?}");
                return Ok(vec![Drift::new("node_port", detail)]);
            }
        }
        self.seen = generation;
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use plumbing::Family;

    use super::*;

    fn port(port: u16) -> Element {
        Element::NodePort { family: Family::V4, protocol: 6, port }
    }

    #[test]
    fn only_what_differs_in_the_end_is_due() {
        let mut nftables = Nftables::default();
        nftables.set(port(1), None);
        nftables.set(port(2), None);
        nftables.remove(port(2));
        nftables.remove(port(3));
        assert_eq!(nftables.due, [(port(1), None), (port(2), None)].into());
        nftables.due.clear();
        nftables.set(port(1), None);
        assert!(nftables.due.is_empty(), "it is there already");
        nftables.remove(port(1));
        nftables.set(port(1), None);
        assert_eq!(nftables.due, [(port(1), Some(None))].into());
        nftables.replace(|_| true, [(port(4), None)].into());
        assert_eq!(nftables.wanted, [(port(4), None)].into());
        assert_eq!(nftables.due, [(port(1), Some(None)), (port(4), None)].into());
    }

    #[test]
    fn what_an_agent_before_left_goes_when_all_services_are_known() {
        let before: Elements = [(port(1), None), (port(2), None)].into();
        let mut nftables =
            Nftables { inherited: before.keys().copied().collect(), wanted: before, ..Nftables::default() };
        nftables.set(port(2), None);
        nftables.set(port(3), None);
        assert_eq!(nftables.due, [(port(3), None)].into());
        nftables.prune();
        nftables.prune();
        assert_eq!(nftables.wanted, [(port(2), None), (port(3), None)].into());
        assert_eq!(nftables.due, [(port(1), Some(None)), (port(3), None)].into());
    }
}
