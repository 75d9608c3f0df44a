//! What holds a program at an interface: a tcx link, or a filter, which the agent makes and here tc(8) does.

use std::path::Path;
use std::time::{Duration, Instant};

use aya::programs::tc::{SchedClassifier, TcAttachType};
use datapath::{Datapath, Program, Result};

use super::{ifindex, run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Tcx,
    Clsact,
}

impl Hook {
    /// Those that this kernel has, the agent's choice first.
    pub fn all() -> Vec<Self> {
        if datapath::has_tcx().unwrap() { vec![Self::Tcx, Self::Clsact] } else { vec![Self::Clsact] }
    }

    pub fn attach_overlay(self, bpffs: &Path, datapath: &mut Datapath, interface: &str) -> Result<()> {
        if self == Self::Tcx {
            return datapath.attach_overlay(ifindex(interface));
        }
        put(bpffs, datapath.overlay_program()?, interface, "ingress");
        datapath.note_overlay()
    }

    pub fn attach_uplinks(self, bpffs: &Path, datapath: &mut Datapath, interfaces: &[&str]) -> Result<()> {
        let ifindexes: Vec<u32> = interfaces.iter().map(|interface| ifindex(interface)).collect();
        if self == Self::Tcx {
            return datapath.attach_uplinks(&ifindexes);
        }
        for interface in interfaces {
            put(bpffs, datapath.uplink_program()?, interface, "ingress");
            put(bpffs, datapath.uplink_egress_program()?, interface, "egress");
        }
        datapath.note_uplinks(&ifindexes)
    }

    /// The datapath left an interface: no program stays. A link without a pin is freed by a worker of the kernel's;
    /// a filter is removed by whoever put it there.
    pub fn leaves(self, interface: &str) {
        if self == Self::Clsact {
            run("tc", &format!("filter del dev {interface} ingress"));
            run("tc", &format!("filter del dev {interface} egress"));
        }
        let end = Instant::now() + Duration::from_secs(60);
        while !self.attached(interface).is_empty() || !self.attached_egress(interface).is_empty() {
            assert!(Instant::now() < end, "a program stays at {interface}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The programs at an interface's ingress.
    pub fn attached(self, interface: &str) -> Vec<u32> {
        self.at(interface, TcAttachType::Ingress, "ingress")
    }

    /// The programs at an interface's egress.
    pub fn attached_egress(self, interface: &str) -> Vec<u32> {
        self.at(interface, TcAttachType::Egress, "egress")
    }

    fn at(self, interface: &str, end: TcAttachType, name: &str) -> Vec<u32> {
        if self == Self::Tcx {
            let (_, programs) = SchedClassifier::query_tcx(interface, end).unwrap();
            return programs.iter().map(|program| program.id()).collect();
        }
        let filters = run("tc", &format!("filter show dev {interface} {name}"));
        filters.split(" id ").skip(1).map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
    }
}

/// Puts a program at one end of an interface as a filter, in the place of another one.
pub fn put(bpffs: &Path, program: Program<'_>, interface: &str, end: &str) {
    let pin = bpffs.join(format!("filter-{}", program.id));
    run("bpftool", &format!("prog pin id {} {}", program.id, pin.display()));
    if !run("tc", &format!("qdisc show dev {interface}")).contains("clsact") {
        run("tc", &format!("qdisc add dev {interface} clsact"));
    }
    let filter = format!("filter replace dev {interface} {end} prio 1 handle 1 bpf direct-action");
    run("tc", &format!("{filter} object-pinned {}", pin.display()));
    std::fs::remove_file(pin).unwrap();
}
