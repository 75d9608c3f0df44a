use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::{Diff, Local, Problem, Table};

/// Where packets for an address range go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteTarget {
    /// Another node's podCIDR: the address of that node on the underlay.
    Tunnel(IpAddr),
    /// This node's podCIDR: what is no Pod here does not exist.
    Local,
    /// A part of the cluster that no node serves.
    Unreachable,
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
            $($(#[$doc])* pub $table: Table<$key, $value>,)+
        }

        /// How a [`Desired`] differs from the one before; from nothing, if it is the first.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Changes {
            /// This node's own part, if it is new or another one.
            pub local: Option<Local>,
            $($(#[$doc])* pub $table: Diff<$key, $value>,)+
        }

        impl Desired {
            pub(crate) fn new(local: Local) -> Self {
                Self { local, $($table: Table::default(),)+ }
            }

            pub(crate) fn clear(&mut self) {
                $(self.$table.clear();)+
            }

            pub(crate) fn take_changes(&mut self, local: Option<Local>) -> Changes {
                Changes { local, $($table: self.$table.take_changes(),)+ }
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
    /// What of an object is left out and why, by the Node's name.
    problems: Arc<str> => Vec<Problem>,
}

impl Desired {
    /// All problems, by the Node's name.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }
}
