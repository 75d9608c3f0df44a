//! Programs at the ingress of the node's fixed devices, held by pinned links: they stay while no agent runs.

use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType};
use nix::errno::Errno;

use crate::error::{Error, Result, chain};
use crate::pins::{Pins, file, remove_if_there};

/// The pin of the link of `midokube-vxlan`.
pub(crate) const OVERLAY: &str = "overlay";
/// The pin of the link of the interface that carries the tunnels.
pub(crate) const UPLINK: &str = "uplink";

/// Makes `program` the one at the ingress of an interface.
///
/// A link that is there already gets the new program in one step, also if an agent with another
/// layout made it: no packet passes unjudged or twice.
pub(crate) fn attach(program: &mut SchedClassifier, ifindex: u32, pins: &Pins, link: &str) -> Result<()> {
    let name = interface_name(ifindex)?;
    let failed = |action: &str, error: &dyn std::error::Error| Error::Attach {
        action: format!("{action} interface {name} (index {ifindex})"),
        reason: chain(error),
    };
    let pin = pins.link(link);
    if let Some(old) = pins.find_link(link)? {
        let link = PinnedLink::from_pin(&old).map_err(|error| failed("open the pinned link of", &error))?;
        let link = FdLink::from(link);
        if is_on(&link, &name).map_err(|error| failed("list the programs of", &error))? {
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
        // Of a device that is gone, or of another one: the programs of two nodes never meet in one place.
        remove_if_there(&old)?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id = program
        .attach_with_options(&name, TcAttachType::Ingress, options)
        .map_err(|error| failed("attach a program to", &error))?;
    let link = program.take_link(id).map_err(|error| failed("keep the link of", &error))?;
    let link = FdLink::try_from(link).map_err(|error| failed("use the link of", &error))?;
    link.pin(&pin).map_err(|error| failed("pin the link of", &error))?;
    Ok(())
}

/// Takes the program away from wherever the link is, if it is anywhere; the kernel does so a moment later.
pub(crate) fn detach(pins: &Pins, link: &str) -> Result<()> {
    pins.find_link(link)?.map_or(Ok(()), |pin| remove_if_there(&pin))
}

/// aya attaches by name.
pub(crate) fn interface_name(ifindex: u32) -> Result<String> {
    let none = |error: Errno| Error::NoInterface { ifindex, source: error.into() };
    let name = nix::net::if_::if_indextoname(ifindex).map_err(none)?;
    // nix takes the null pointer of a failure for success and returns an empty name.
    if name.is_empty() { Err(none(Errno::ENXIO)) } else { Ok(name.to_string_lossy().into_owned()) }
}

/// Whether the link's program is one of those at the interface's ingress.
fn is_on(link: &FdLink, name: &str) -> Result<bool, aya::programs::ProgramError> {
    let Ok(info) = link.info() else {
        return Ok(false);
    };
    let (_, programs) = SchedClassifier::query_tcx(name, TcAttachType::Ingress)?;
    Ok(programs.iter().any(|program| program.id() == info.program_id()))
}
