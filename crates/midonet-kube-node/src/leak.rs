//! What may leak: addresses, interfaces and ports that belong together and are not all there. Pure.

use cni::Attachment;
use naming::alias::PortAlias;
use nodeapi::v1;
use tracing::warn;

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

    /// Whether such a leak is ever put right: see the table of [`leaks`](crate::leaks).
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

/// What was found and not repaired.
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

/// Whose a port's addresses are.
pub fn owner(alias: &PortAlias) -> Attachment {
    Attachment { container_id: alias.container_id.clone(), ifname: alias.ifname.clone() }
}
