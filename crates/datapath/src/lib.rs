//! The network itself: eBPF programs at the doors of a node, the maps they read, and their loader.
//!
//! Three programs decide about every packet (`bpf/midokube.bpf.c`): `from_endpoint` at the outer end of
//! every Pod's veth pair and at `midokube-mido`, `from_overlay` at `midokube-vxlan`, and `from_uplink`
//! where tunnels arrive, which takes plain packets out of them before the kernel's device does. A packet is
//! judged by its addresses alone, but for connections that the node's stack forwards or another node's process
//! makes: those are recorded, and go the same way in both directions (`bpf/flow.h`). Every packet ends under exactly one
//! [`Counter`], and every drop has a reason (`bpf/reasons.def`).
//!
//! The kernel is the record. Programs, maps and links are pinned, so that they outlive
//! the agent, and [`Datapath::open`] adopts what it finds:
//!
//! ```text
//! <pin_dir>/<layout>/maps/{config,endpoints,ports,limits,routes,nodes,flows,flows_used,answers,counters}
//! <pin_dir>/<layout>/programs/{from_endpoint,from_overlay,from_uplink}
//! <pin_dir>/<layout>/links/{overlay,uplink-<ifindex>...}
//! ```
//!
//! `<layout>` is a hash of the shapes of the maps and their sizes. An agent with other shapes has maps in a
//! directory of its own, into which it takes over what is in the old ones, while the old programs go on
//! with those. So the order is: [`open`](Datapath::open), fill the maps, and only then attach the programs: the shared
//! block by [`endpoint_program`](Datapath::endpoint_program), the uplinks by
//! [`attach_uplinks`](Datapath::attach_uplinks), the overlay by
//! [`attach_overlay`](Datapath::attach_overlay), and last
//! [`remove_other_layouts`](Datapath::remove_other_layouts).
//!
//! Should all pins be gone while the programs are at work, their maps are found by the program in the shared block,
//! which the kernel's traffic control names ([`Options::at_work`]), and taken over in the same way (`src/recovery.rs`).
//!
//! Where the kernel has no tcx ([`has_tcx`]), the last two are attached as classifiers by the caller, too, with
//! [`uplink_program`](Datapath::uplink_program) and [`overlay_program`](Datapath::overlay_program), and noted by
//! [`note_uplinks`](Datapath::note_uplinks) and [`note_overlay`](Datapath::note_overlay): their pins are then not of
//! links, but of programs.

mod counters;
mod datapath;
mod error;
mod layout;
mod limits;
mod links;
mod look;
mod model;
mod nodes;
mod pins;
mod ports;
mod recovery;
mod routes;
mod takeover;

pub use counters::{Reason, reasons};
pub use datapath::{Datapath, FROM_UPLINK, MOST_ENTRIES, Program};
pub use error::{Error, Result};
pub use limits::{Limit, Limits, Shaper};
pub use links::has_tcx;
pub use model::{Counter, Fate, NodeConfig, Options, Port, Role, Route};
pub use pins::remove_pins;
