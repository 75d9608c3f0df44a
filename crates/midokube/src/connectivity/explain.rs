//! Asks for the causes of what fails: by traces, and by what `doctor` finds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;

use super::cause::{Cause, cause};
use super::interrupt::Interrupt;
use super::stage::Tried;
use crate::doctor::{self, Finding};
use crate::nodes::Nodes;
use crate::port::Port;
use crate::trace::{self, Packet, Told};

/// Packets that are traced for a stage: others have the same cause, or `midokube trace` tells theirs.
const MOST: usize = 12;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who sends, where to, by which protocol and port.
type Key = (String, IpAddr, &'static str, u16);

/// What is known of causes.
#[derive(Default)]
pub(super) struct Causes {
    traces: BTreeMap<Key, Result<Told, String>>,
    /// `None`: nobody has asked yet.
    findings: Option<Vec<Finding>>,
}

impl Causes {
    /// The cause of each check that failed.
    ///
    /// # Errors
    /// The user does not want to wait for it.
    pub(super) fn of(
        &mut self,
        nodes: &Nodes,
        failed: &[&Tried<'_>],
        interrupt: &mut Interrupt,
    ) -> Result<Vec<Cause>> {
        if !failed.is_empty() {
            self.examine(nodes);
        }
        // While the Pods and policies are there.
        self.traces.clear();
        for tried in failed {
            interrupt.check(nodes)?;
            self.trace(nodes, tried);
        }
        let cause =
            |tried: &&Tried<'_>| cause(tried.check, &tried.outcomes, self.told(tried), self.findings());
        Ok(failed.iter().map(cause).collect())
    }

    /// What doctor finds; nothing, if nobody had it look.
    pub(super) fn findings(&self) -> &[Finding] {
        self.findings.as_deref().unwrap_or_default()
    }

    /// Has doctor look, once.
    pub(super) fn examine(&mut self, nodes: &Nodes) {
        if self.findings.is_none() {
            let examined = doctor::examine_nodes(nodes, PATIENCE);
            // Who cannot be examined has no findings; the traces tell why.
            self.findings = Some(examined.map(|one| one.findings().to_vec()).unwrap_or_default());
        }
    }

    fn trace(&mut self, nodes: &Nodes, tried: &Tried<'_>) {
        let Some(key) = key(tried) else { return };
        if self.traces.contains_key(&key) || self.similar(tried).is_some() || self.traces.len() >= MOST {
            return;
        }
        let (_, address, protocol, number) = key;
        let port = Port { protocol, number };
        let told = trace::tell(nodes, PATIENCE, &Packet::new(tried.check.from.place.clone(), address, port));
        self.traces.insert(key, told.map_err(|error| format!("{error:#}")));
    }

    fn told(&self, tried: &Tried<'_>) -> Option<&Result<Told, String>> {
        let own = key(tried).and_then(|key| self.traces.get(&key));
        // That of another protocol most likely has the same cause.
        own.or_else(|| self.similar(tried)).or_else(|| self.between(tried).next())
    }

    /// The trace of a packet of another protocol that arrives, or of which it is not known: what is lost then is lost on the way.
    fn similar(&self, tried: &Tried<'_>) -> Option<&Result<Told, String>> {
        let lost = |told: &&Result<Told, String>| matches!(told, Ok(Told { answered: Some(false), .. }));
        self.between(tried).find(|told| !lost(told))
    }

    /// The traces of packets between the same ends.
    fn between(&self, tried: &Tried<'_>) -> impl Iterator<Item = &Result<Told, String>> {
        let ends = key(tried).map(|(from, to, ..)| (from, to));
        let same = move |one: &Key| ends.as_ref().is_some_and(|(from, to)| one.0 == *from && one.1 == *to);
        self.traces.iter().filter(move |(one, _)| same(one)).map(|(_, told)| told)
    }
}

fn key(tried: &Tried<'_>) -> Option<Key> {
    let check = tried.check;
    let (protocol, port) = check.opened.port()?;
    Some((check.from.place.to_string(), check.opened.destination()?, protocol, port))
}
