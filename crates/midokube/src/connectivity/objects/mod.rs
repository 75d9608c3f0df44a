//! The Kubernetes objects of a test. No I/O.

mod namespaces;
mod pods;
mod policies;
mod services;
#[cfg(test)]
mod tests;

pub(super) use namespaces::{KEPT, LABEL, RUNNING, UNTIL, namespace};
pub(super) use pods::{CONTAINER, Template, move_label, pod};
pub(super) use policies::policies;
pub(super) use services::services;

use std::net::IpAddr;

use super::scene::{CLIENT, CONFINED, FAR, GUARDED, NEAR, OTHER_NAMESPACE};

/// The namespaces of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespaces {
    /// Of all Pods but one.
    pub(super) own: String,
    /// Of `OTHER_NAMESPACE`.
    pub(super) other: String,
}

impl Namespaces {
    /// Those of a run, by what its names end with.
    pub(super) fn of(suffix: &str) -> Self {
        let own = format!("midokube-connectivity-{suffix}");
        Self { other: format!("{own}-other"), own }
    }

    /// The one that a Pod is in.
    pub(super) fn of_pod(&self, pod: &str) -> &str {
        if pod == OTHER_NAMESPACE { &self.other } else { &self.own }
    }
}

/// Which Pod is for which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) home: String,
    /// `None`: there is one node alone.
    pub(super) away: Option<String>,
}

impl Placement {
    /// The Pods, with their nodes.
    pub(super) fn pods(&self) -> Vec<(&'static str, &str)> {
        let home = [CLIENT, NEAR, CONFINED, OTHER_NAMESPACE].map(|pod| (pod, self.home.as_str()));
        let away = self.away.as_deref();
        let guarded = (GUARDED, away.unwrap_or(&self.home));
        home.into_iter().chain(away.map(|away| (FAR, away))).chain([guarded]).collect()
    }
}

/// An address as a block of its own.
fn block(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
