//! The network itself: eBPF programs at the hooks of a node, the maps they read, and their loader.
//!
//! Four programs decide about packets (`bpf/midokube.bpf.c`): `from_endpoint` at the host side of every Pod's veth pair
//! and at `midokube-mido`, `from_overlay` at `midokube-vxlan`, `from_uplink` where packets come into the node, which takes
//! plain ones out of tunnels before the kernel's device does, and those for Services, and `to_uplink` where they leave it.
//! Every connection of TCP, UDP and SCTP is tracked (`bpf/connection.h`); one to a Service gets a backend with its first
//! packet (`bpf/service.h`), and keeps it. Connections that the node's stack forwards or another node's process makes go the
//! same path in both directions (`bpf/flow.h`). Every packet ends under exactly one [`Counter`], and every drop has a reason
//! (`bpf/reasons.def`).
//!
//! A packet's path is a row of stages, each in a file of `bpf/`; what is known of the packet on it is its context
//! (`context.h`):
//!
//! ```text
//!     from_endpoint        from_overlay        from_uplink
//!          |                    |                   |
//!          |                    |         remove VXLAN header       vxlan.h
//!        parse                parse               parse             parse.h
//!          |--> ARP, NDP        |                   |               arp.h, ndp.h
//!    source check         source check        source check          source.h
//!          |--> shaper          |                   |               deliver.h
//!          |--> gateway         |                   |               icmp.h
//!          +--------------------+-------------------+
//!                     connection tracking                       connection.h, related.h
//!                               |--> new: Services              service.h
//!                               |       place of policy
//!                             route                                 route.h, flow.h
//!                               |
//!                            deliver                                deliver.h, rewrite.h, vxlan.h
//!          |             |               |              |
//!         Pod      node's stack    other node     ICMP error
//! ```
//!
//! The kernel is the record. Programs, maps and links are pinned, so that they outlive
//! the agent, and [`Datapath::open`] uses what it finds:
//!
//! ```text
//! <pin_dir>/maps/<map>-v<version>           as in src/maps.rs
//! <pin_dir>/programs/{from_endpoint,from_overlay,from_uplink,to_uplink}
//! <pin_dir>/links/{overlay,uplink-<ifindex>...,uplink-egress-<ifindex>...}
//! ```
//!
//! Services are rows of a table ([`Services`]): where each of their ports is reached, and lists of who serves it. The
//! programs record every connection in two tables ([`Connections`]), which the agent sweeps, and of which a
//! change of Services removes some ([`Purge`]). If it is asked for, they also keep a record of each connection for people, and
//! send events about them ([`records`]). What is dropped they count in a table of [`drops`], with who, whom and why.
//!
//! Each map has a version of its own (`src/maps.rs`). One that is pinned with another version, or with another size
//! than is configured, is replaced by a new one with the same entries while traffic runs (`src/migration.rs`); all
//! others are used on. The order is: [`open`](Datapath::open), write to the maps, and only then attach the programs: the
//! shared block by [`endpoint_program`](Datapath::endpoint_program), the uplinks by
//! [`attach_uplinks`](Datapath::attach_uplinks), the overlay by
//! [`attach_overlay`](Datapath::attach_overlay), and last
//! [`retire_old_maps`](Datapath::retire_old_maps).
//!
//! Should pins be gone while the programs are at work, their maps are found by the program in the shared block,
//! which the kernel's traffic control names ([`Options::at_work`]), and pinned again (`src/recovery.rs`).
//!
//! Where the kernel has no tcx ([`has_tcx`]), all of them are attached as classifiers by the caller, too, with
//! [`uplink_program`](Datapath::uplink_program), [`uplink_egress_program`](Datapath::uplink_egress_program) and
//! [`overlay_program`](Datapath::overlay_program), and noted by
//! [`note_uplinks`](Datapath::note_uplinks) and [`note_overlay`](Datapath::note_overlay): their pins are then not of
//! links, but of programs.

mod addresses;
mod api;
mod attachment;
mod connections;
mod counters;
mod drift;
pub mod drops;
mod error;
mod exits;
pub mod follow;
mod layout;
mod legacy;
mod limits;
mod maps;
mod migration;
mod model;
mod nodes;
mod open;
mod pins;
pub mod policy;
mod ports;
mod programs;
pub mod records;
mod recovery;
mod removal;
mod routes;
mod services;
mod sys;
mod table;
pub mod trace;

pub use addresses::OwnAddress;
pub use api::Datapath;
pub use attachment::has_tcx;
pub use connections::{Connection, Connections, Kind, Position, Purge, State, Sweep};
pub use counters::{Reason, reasons};
pub use error::{Error, Result};
pub use layout::services::ADDRESSES_MAX as MOST_ADDRESSES;
pub use limits::{Limit, Limits, Shaper};
pub use model::{Counter, Fate, NodeConfig, Options, Port, Role, Route};
pub use open::{
    MOST_BACKENDS, MOST_CONNECTIONS, MOST_DROPS, MOST_ENTRIES, MOST_EVENTS, MOST_POLICY, MOST_RECORDS,
    MOST_SERVICES,
};
pub use programs::{FROM_UPLINK, Program, TO_UPLINK};
pub use removal::remove_pins;
pub use services::{
    Backend, Family, Frontend, FrontendKind, GRACE, Policy, Protocol, ServiceCounters, ServicePort,
    ServicePortKey, Services, TableUsage,
};
pub use sys::uptime;

/// The tests' support is that of the tests outside of the crate.
#[cfg(test)]
extern crate self as datapath;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod support;
