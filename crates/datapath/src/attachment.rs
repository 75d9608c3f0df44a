//! Programs at the ingress and egress of the node's fixed devices: they stay while no agent runs. A pin says that a
//! device has its program: the pinned tcx link, or, where a clsact filter holds the program, the program itself.

use std::collections::BTreeSet;

use aya::programs::ProgramError;
use aya::programs::links::{FdLink, LinkOrder, LinkType, PinnedLink};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType};
use nix::errno::Errno;

use crate::error::{Error, Result, chain};
use crate::legacy::find_link;
use crate::pins::{Pins, UPLINK, file, list, remove_if_there, replace_pin, uplink, uplink_egress};
use crate::programs::{FROM_UPLINK, TO_UPLINK};

/// The index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

/// Whether this kernel has tcx (Linux 6.6 with CONFIG_NET_XGRESS): asks it for the programs of an interface.
///
/// # Errors
///
/// If the kernel does not say yes or no.
pub fn has_tcx() -> Result<bool> {
    match SchedClassifier::query_tcx(&interface_name(LOOPBACK)?, TcAttachType::Ingress) {
        Ok(_) => Ok(true),
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(Errno::EINVAL as i32) =>
        {
            Ok(false)
        }
        Err(error) => {
            Err(Error::Attach { action: "ask the kernel for tcx".to_owned(), reason: chain(&error) })
        }
    }
}

/// What a program is called, which packets it meets, and how its pin at an interface is called.
type UplinkProgram = (&'static str, TcAttachType, fn(u32) -> String);

/// The programs of an uplink.
pub(crate) const UPLINK_PROGRAMS: [UplinkProgram; 2] =
    [(FROM_UPLINK, TcAttachType::Ingress, uplink), (TO_UPLINK, TcAttachType::Egress, uplink_egress)];

/// Makes `program` the one at one end of an interface.
///
/// A link that is there already gets the new program in one step, whichever build made it: no packet passes without a
/// program or through two.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    ifindex: u32,
    end: TcAttachType,
    pins: &Pins,
    link: &str,
) -> Result<()> {
    let name = interface_name(ifindex)?;
    let failed = |action: &str, error: &dyn std::error::Error| Error::Attach {
        action: format!("{action} interface {name} (index {ifindex})"),
        reason: chain(error),
    };
    let pin = pins.link(link);
    let found = match find_link(pins, link)? {
        // A build before this one had one uplink, whose link had another name.
        None if end == TcAttachType::Ingress && link.starts_with(UPLINK) => find_link(pins, UPLINK)?,
        found => found,
    };
    if let Some(old) = found {
        let link = PinnedLink::from_pin(&old).map_err(|error| failed("open the pinned link of", &error))?;
        let link = FdLink::from(link);
        if is_on(&link, &name, end).map_err(|error| failed("list the programs of", &error))? {
            let link =
                SchedClassifierLink::try_from(link).map_err(|error| failed("use the link of", &error))?;
            let id =
                program.attach_to_link(link).map_err(|error| failed("replace the program of", &error))?;
            // The pin keeps it; this end of it can go.
            drop(program.take_link(id).map_err(|error| failed("keep the link of", &error))?);
            return if old == pin {
                Ok(())
            } else {
                std::fs::rename(&old, &pin).map_err(file("move the link to", &pin))
            };
        }
        // Of a device that is gone, or of another one: the programs of two nodes never meet in one place. Or a program.
        remove_if_there(&old)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(&name, end, options)
        .map_err(|error| failed("attach a program to", &error))?;
    let link = program.take_link(id).map_err(|error| failed("keep the link of", &error))?;
    let link = FdLink::try_from(link).map_err(|error| failed("use the link of", &error))?;
    link.pin(&pin).map_err(|error| failed("pin the link of", &error))?;
    Ok(())
}

/// Notes that `program` is at the device, held by a classifier; a link that held one there goes.
pub(crate) fn note(program: &mut SchedClassifier, pins: &Pins, link: &str) -> Result<()> {
    let pin = pins.link(link);
    let old = find_link(pins, link)?;
    replace_pin(program, &pin)?;
    old.filter(|old| *old != pin).map_or(Ok(()), |old| remove_if_there(&old))
}

/// Takes the uplinks' programs away from all interfaces but these; the kernel does so a moment later. What a build before
/// this one left goes with its other pins.
pub(crate) fn leave_other_uplinks(pins: &Pins, uplinks: &BTreeSet<u32>) -> Result<()> {
    let names = |ifindex: &u32| UPLINK_PROGRAMS.map(|(_, _, pin)| pin(*ifindex));
    let kept: BTreeSet<String> = uplinks.iter().flat_map(names).collect();
    for pin in list(&pins.links())? {
        let name = pin.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(UPLINK) && !kept.contains(name.as_ref()) {
            remove_if_there(&pin)?;
        }
    }
    Ok(())
}

/// aya attaches by name.
pub(crate) fn interface_name(ifindex: u32) -> Result<String> {
    let none = |error: Errno| Error::NoInterface { ifindex, source: error.into() };
    let name = nix::net::if_::if_indextoname(ifindex).map_err(none)?;
    // nix takes the null pointer of a failure for success and returns an empty name.
    if name.is_empty() { Err(none(Errno::ENXIO)) } else { Ok(name.to_string_lossy().into_owned()) }
}

/// Whether the link's program is one of those at that end of the interface.
fn is_on(link: &FdLink, name: &str, end: TcAttachType) -> Result<bool, ProgramError> {
    // It may be no link, but a program.
    let Some(info) = link.info().ok().filter(|info| matches!(info.link_type(), Ok(LinkType::Tcx))) else {
        return Ok(false);
    };
    let (_, programs) = SchedClassifier::query_tcx(name, end)?;
    Ok(programs.iter().any(|program| program.id() == info.program_id()))
}
