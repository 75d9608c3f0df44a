use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Diff, HealthCheck, Local, Problem, ServicePort, ServicePortKey, Table};

/// Where packets for an address range go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteTarget {
    /// Another node's podCIDR: the address of that node on the underlay.
    Tunnel(IpAddr),
    /// This node's podCIDR: what is no Pod here does not exist.
    Local,
    /// A part of the cluster that no node serves.
    Unreachable,
    /// Services' addresses: what is no Service there does not exist.
    Services,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its podCIDRs, less those that it cannot have.
    pub pod_cidrs: Vec<IpNet>,
    /// The underlay address that tunnels to it end at.
    pub tunnel_address: IpAddr,
    /// Where they end here.
    pub own_address: IpAddr,
}

/// Defines the tables once for what they are ([`Desired`]) and for how they change ([`Changes`]).
macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident: $key:ty => $value:ty,)+) => {
        /// What this node's network should be.
        #[derive(Debug, Clone)]
        pub struct Desired {
            /// This node's own part.
            pub local: Local,
            /// Whether all Services and all of their endpoints are known: until then [`Self::services`] is empty.
            pub services_complete: bool,
            $($(#[$doc])* pub $table: Table<$key, $value>,)+
        }

        /// How a [`Desired`] differs from the one before; from nothing, if it is the first.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Changes {
            /// This node's own part, if it is new or another one.
            pub local: Option<Local>,
            /// Whether the tables of Services have all of them by now. Until then they are empty, and say nothing of those
            /// that the datapath has from before; from then on what is in none of them is gone.
            pub services_complete: bool,
            $($(#[$doc])* pub $table: Diff<$key, $value>,)+
        }

        impl Desired {
            pub(crate) fn new(local: Local) -> Self {
                Self { local, services_complete: false, $($table: Table::default(),)+ }
            }

            pub(crate) fn clear(&mut self) {
                $(self.$table.clear();)+
            }

            pub(crate) fn take_changes(&mut self, local: Option<Local>) -> Changes {
                Changes { local, services_complete: self.services_complete, $($table: self.$table.take_changes(),)+ }
            }
        }

        impl Changes {
            /// Whether there is nothing to do.
            pub fn is_empty(&self) -> bool {
                self.local.is_none() $(&& self.$table.is_empty())+
            }
        }
    };
}

tables! {
    /// Where the datapath sends what is for no local Pod.
    routes: IpNet => RouteTarget,
    /// The addresses of nodes, each with where tunnels to its node end; `None`: this node's.
    nodes: IpAddr => Option<IpAddr>,
    /// Where tunnels to other nodes end, each with where they end here.
    tunnels: IpAddr => IpAddr,
    /// The other nodes, by name.
    peers: Arc<str> => Peer,
    /// The ports of Services.
    services: ServicePortKey => Arc<ServicePort>,
    /// Where Services' addresses are from: `--service-cidr` and the ServiceCIDRs.
    service_cidrs: IpNet => (),
    /// Addresses of load balancers and external ones, of which some port is served.
    service_addresses: IpAddr => (),
    /// What load balancers ask this node for, by the Service's namespace and name.
    health_checks: Arc<str> => HealthCheck,
    /// What of an object is left out and why: by the name of the Node, or by `Service` and its namespace and name, or by
    /// `ServiceCIDR` and its name.
    problems: Arc<str> => Vec<Problem>,
}

impl Desired {
    /// All problems.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }
}
