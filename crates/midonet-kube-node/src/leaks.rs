//! Leaks: addresses, interfaces and ports that belong together and are not all there any more, because a
//! plugin was killed, a node lost its power, or somebody cleaned up by hand. What is certain is put right;
//! the rest is told in `midokube status`, as a metric and, once, in the log.
//!
//! | kind | when | what is done |
//! |---|---|---|
//! | address without container | older than the node's start, or than any ADD may take | given back |
//! | container without address | always | reserved again |
//! | port without interface | always ([`Network::sweep`](crate::network::Network::sweep)) | released |
//! | interface without port | down for longer than any ADD may take | removed |
//! | | up | told: its Pod has no network |
//! | address conflict | always | told: one container uses it, it is reserved for another |

mod judge;
mod search;
#[cfg(test)]
mod tests;

use std::time::Duration;

use nodeapi::v1;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::agent::Agent;
pub(crate) use judge::owner;
use search::Search;

/// How often there is a look.
const PERIOD: Duration = Duration::from_secs(60);

/// Whether this IPAM plugin keeps addresses as the files that the agent looks at.
pub fn keeps_files(ipam_type: &str) -> bool {
    [ipam::IN_PROCESS, "host-local"].contains(&ipam_type)
}

/// What kinds of leaks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An address is reserved for a container that is gone.
    AddressWithoutContainer,
    /// A container's address is not reserved.
    ContainerWithoutAddress,
    /// The datapath has a port whose interface is gone.
    PortWithoutInterface,
    /// The datapath has no port for an interface.
    InterfaceWithoutPort,
    /// A container's address is reserved for another one.
    AddressConflict,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AddressWithoutContainer,
        Self::ContainerWithoutAddress,
        Self::PortWithoutInterface,
        Self::InterfaceWithoutPort,
        Self::AddressConflict,
    ];

    /// Whether such a leak is ever put right: see the table of this module.
    pub fn is_repaired(self) -> bool {
        self != Self::AddressConflict
    }

    /// The metrics' label.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressWithoutContainer => "address_without_container",
            Self::ContainerWithoutAddress => "container_without_address",
            Self::PortWithoutInterface => "port_without_interface",
            Self::InterfaceWithoutPort => "interface_without_port",
            Self::AddressConflict => "address_conflict",
        }
    }
}

/// One that is not repaired.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What kind.
    pub kind: Kind,
    /// Which.
    pub object: String,
    /// Why it is not repaired.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// What a look found and did not repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The leaks.
    pub leaks: Vec<Leak>,
    /// Why it is not all that there may be; empty if it is.
    pub incomplete: String,
}

impl Report {
    /// Says in the log what `known` does not have.
    pub fn tell(&self, known: &Self) {
        for leak in self.leaks.iter().filter(|leak| !known.leaks.contains(leak)) {
            let Leak { kind, object, reason, remedy } = leak;
            warn!(what = kind.name(), object, reason, remedy, "leaked, and not repaired");
        }
        if !self.incomplete.is_empty() && self.incomplete != known.incomplete {
            warn!(reason = self.incomplete, "not all leaks can be found");
        }
    }

    /// As the agent tells it.
    pub fn messages(&self) -> Vec<v1::Leak> {
        let message = |leak: &Leak| v1::Leak {
            what: leak.kind.name().to_owned(),
            object: leak.object.clone(),
            reason: leak.reason.clone(),
            remedy: leak.remedy.clone(),
        };
        self.leaks.iter().map(message).collect()
    }
}

/// Looks for leaks now and every minute.
pub async fn watch(agent: &Agent, ipam_type: &str) {
    let mut search = Search::new(ipam_type);
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (shared, mut now) = (agent.clone(), search.clone());
        match tokio::task::spawn_blocking(move || (now.look(&shared), now)).await {
            Ok((report, then)) => {
                agent.set_leaks(report);
                search = then;
            }
            Err(error) => warn!(%error, "cannot look for leaks"),
        }
    }
}
