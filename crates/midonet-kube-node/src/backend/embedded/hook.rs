//! How the datapath's programs get to the ingress of the overlay device, and to ingress and egress of the uplinks: by tcx
//! links, or, where the kernel has none (before Linux 6.6), as clsact filters. With either they run before everybody
//! else's.

use std::fmt;

use anyhow::{Result, ensure};
use datapath::{Datapath, Program};
use plumbing::tc::{self, Direction};

use crate::config;

/// What holds a program at an interface. A node changes it when it boots another kernel, or by a setting:
/// the new one is there before the old one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// A pinned tcx link.
    Tcx,
    /// A filter below a clsact qdisc.
    Clsact,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx links",
            Self::Clsact => "clsact filters",
        })
    }
}

impl Hook {
    /// What is asked for, if the kernel has it.
    ///
    /// # Errors
    /// It has not, or does not tell.
    pub fn choose(wanted: config::Hook) -> Result<Self> {
        let has_tcx = datapath::has_tcx()?;
        ensure!(has_tcx || wanted != config::Hook::Tcx, "this kernel has no tcx: leave --hook at auto");
        Ok(if has_tcx && wanted != config::Hook::Clsact { Self::Tcx } else { Self::Clsact })
    }

    /// Puts the overlay's program at the ingress of an interface, in the place of any that was there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach_overlay(self, datapath: &mut Datapath, ifindex: u32) -> Result<()> {
        match self {
            Self::Tcx => datapath.attach_overlay(ifindex)?,
            Self::Clsact => {
                let Program { name, fd, .. } = datapath.overlay_program()?;
                tc::attach(Direction::Ingress, ifindex, fd, name)?;
                datapath.note_overlay()?;
            }
        }
        self.leave_others(&[(Direction::Ingress, datapath.overlay_program()?)], &[ifindex])
    }

    /// The same for the uplinks' programs at ingress and egress; they are taken away from all other interfaces.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach_uplinks(self, datapath: &mut Datapath, ifindexes: &[u32]) -> Result<()> {
        match self {
            Self::Tcx => datapath.attach_uplinks(ifindexes)?,
            Self::Clsact => {
                for ifindex in ifindexes {
                    for (direction, Program { name, fd, .. }) in uplink_programs(datapath)? {
                        tc::attach(direction, *ifindex, fd, name)?;
                    }
                }
                datapath.note_uplinks(ifindexes)?;
            }
        }
        self.leave_others(&uplink_programs(datapath)?, ifindexes)
    }

    /// Whether the overlay's program is at the ingress of an interface.
    ///
    /// # Errors
    /// There is no such interface, or the kernel does not tell.
    pub fn has_overlay(self, datapath: &Datapath, ifindex: u32) -> Result<bool> {
        match self {
            Self::Tcx => Ok(datapath.has_overlay(ifindex)?),
            Self::Clsact => is_at(Direction::Ingress, ifindex, datapath.overlay_program()?),
        }
    }

    /// Whether the uplinks' programs are at ingress and egress of an interface.
    ///
    /// # Errors
    /// There is no such interface, or the kernel does not tell.
    pub fn has_uplink(self, datapath: &Datapath, ifindex: u32) -> Result<bool> {
        match self {
            Self::Tcx => Ok(datapath.has_uplink(ifindex)?),
            Self::Clsact => uplink_programs(datapath)?
                .into_iter()
                .try_fold(true, |all, (direction, program)| Ok(all && is_at(direction, ifindex, program)?)),
        }
    }

    /// Filters of an interface that was the one before, or of an agent with the other hook. A link is only one.
    fn leave_others(self, programs: &[(Direction, Program<'_>)], ifindexes: &[u32]) -> Result<()> {
        let names: Vec<_> = programs.iter().map(|(direction, program)| (*direction, program.name)).collect();
        tc::detach(&names, if self == Self::Clsact { ifindexes } else { &[] })?;
        Ok(())
    }
}

fn uplink_programs(datapath: &Datapath) -> Result<[(Direction, Program<'_>); 2]> {
    let (ingress, egress) = (datapath.uplink_program()?, datapath.uplink_egress_program()?);
    Ok([(Direction::Ingress, ingress), (Direction::Egress, egress)])
}

fn is_at(direction: Direction, ifindex: u32, program: Program<'_>) -> Result<bool> {
    Ok(tc::attached_program(direction, ifindex, program.name)? == Some(program.id))
}
