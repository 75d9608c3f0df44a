//! Finding the maps at work again when all their pins are gone: another network's clean-up removed them, or somebody
//! mounted another BPF file system over them. Attached programs keep their maps, and packets go on.
//!
//! The maps of the program in the shared block are pinned in a directory like those of other layouts, with the tcx links
//! of programs that use them. Everything then goes on as with what an agent of another version left.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapType};
use aya::programs::links::LinkType;
use aya::programs::{ProgramInfo, loaded_links, loaded_programs};

use crate::datapath::{FROM_ENDPOINT, FROM_OVERLAY, FROM_UPLINK};
use crate::error::{Error, Result, chain};
use crate::layout;
use crate::links;
use crate::pins::{Pins, file};

/// Commands of bpf(2), and the size of its argument with all members that they have (linux/bpf.h).
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const ATTRIBUTES: usize = 32;

/// The numbers at the beginning of `struct bpf_link_info` up to those of a tcx link, and where its interface is.
const LINK_INFO: usize = 6;
const LINK_INFO_SIZE: u32 = 24; // in bytes
const LINK_INFO_IFINDEX: usize = 4;

/// The directory with the pins of what the program with this number uses: one that is there, or a new one. `None` if
/// the program is not ours.
pub(crate) fn find(pins: &Pins, program: u32) -> Result<Option<PathBuf>> {
    let Some(info) = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program) else {
        return Ok(None);
    };
    let maps = maps(&info)?;
    let Some(ports) = maps.iter().find(|(name, _)| name == "ports") else { return Ok(None) };
    if !is_ours(&info, FROM_ENDPOINT) {
        return Ok(None);
    }
    if let Some(directory) = pins.with_map("ports", ports.1.info().map_err(look)?.id())? {
        return Ok(Some(directory));
    }
    let directory = pins.make_recovered()?;
    for (name, map) in &maps {
        let path = directory.join("maps").join(name);
        map.pin(&path).map_err(|error| Error::Attach {
            action: format!("pin map {name} at {}", path.display()),
            reason: chain(&error),
        })?;
    }
    pin_links(&maps, &directory)?;
    tracing::warn!(
        program, maps = maps.len(), directory = %directory.display(),
        "the pins of the datapath at work were gone: found its maps by the program that is attached"
    );
    Ok(Some(directory))
}

/// Pins the tcx links whose programs use these maps.
fn pin_links(maps: &[(String, MapData)], directory: &Path) -> Result<()> {
    let ids: BTreeSet<u32> = maps.iter().filter_map(|(_, map)| Some(map.info().ok()?.id())).collect();
    let attached = loaded_links().filter_map(Result::ok);
    for link in attached.filter(|link| matches!(link.link_type(), Ok(LinkType::Tcx))) {
        let Some(info) = loaded_programs().filter_map(Result::ok).find(|info| info.id() == link.program_id())
        else {
            continue;
        };
        let uses_them =
            || info.map_ids().ok().flatten().is_some_and(|used| used.iter().any(|id| ids.contains(id)));
        for program in [FROM_OVERLAY, FROM_UPLINK] {
            if is_ours(&info, program) && uses_them() {
                let directory = directory.join("links");
                pin_link(link.id(), program, &directory).map_err(file("pin a tcx link in", &directory))?;
            }
        }
    }
    Ok(())
}

/// A classifier of that name, loaded by root.
fn is_ours(info: &ProgramInfo, name: &str) -> bool {
    info.name_as_str() == Some(name) && info.created_by_uid().is_none_or(|uid| uid == 0)
}

/// Those of a program's maps that have the names and kinds of ours. The sizes may be another version's.
fn maps(info: &ProgramInfo) -> Result<Vec<(String, MapData)>> {
    let ids = info.map_ids().map_err(|error| Error::Load { what: FROM_ENDPOINT, reason: chain(&error) })?;
    let mut maps = Vec::new();
    for id in ids.unwrap_or_default() {
        let map = MapData::from_id(id).map_err(look)?;
        let info = map.info().map_err(look)?;
        let kind: Option<MapType> = info.map_type().ok();
        let shapes = layout::map_shapes(&crate::look::SOME_SIZES);
        let known = |shape: &&layout::MapShape| {
            info.name_as_str() == Some(shape.name)
                && Some(shape.kind) == kind
                && info.key_size() as usize == shape.key
        };
        if let Some(shape) = shapes.iter().find(known) {
            maps.push((shape.name.to_owned(), map));
        }
    }
    Ok(maps)
}

fn look(source: aya::maps::MapError) -> Error {
    Error::Map { action: "look at", map: "of the attached program", source }
}

/// Pins a link by its number, which aya does not do.
fn pin_link(id: u32, program: &str, directory: &Path) -> std::io::Result<()> {
    let mut attributes = [0u8; ATTRIBUTES];
    attributes[..4].copy_from_slice(&id.to_ne_bytes());
    let fd = bpf(BPF_LINK_GET_FD_BY_ID, &attributes)?;
    // SAFETY: the kernel just gave this descriptor to us alone.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    // There may be several uplinks.
    let name =
        if program == FROM_UPLINK { links::uplink(ifindex(&link)?) } else { links::OVERLAY.to_owned() };
    let path = std::ffi::CString::new(directory.join(name).as_os_str().as_encoded_bytes())?;
    let mut attributes = [0u8; ATTRIBUTES];
    attributes[..8].copy_from_slice(&(path.as_ptr() as u64).to_ne_bytes());
    attributes[8..12].copy_from_slice(&link.as_raw_fd().to_ne_bytes());
    bpf(BPF_OBJ_PIN, &attributes).map(|_| ())
}

/// The interface of a tcx link, which aya does not tell.
fn ifindex(link: &OwnedFd) -> std::io::Result<u32> {
    let mut info = [0u32; LINK_INFO];
    let mut attributes = [0u8; ATTRIBUTES];
    attributes[..4].copy_from_slice(&link.as_raw_fd().to_ne_bytes());
    attributes[4..8].copy_from_slice(&LINK_INFO_SIZE.to_ne_bytes());
    attributes[8..16].copy_from_slice(&(info.as_mut_ptr() as u64).to_ne_bytes());
    bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes)?;
    Ok(info[LINK_INFO_IFINDEX])
}

fn bpf(command: libc::c_int, attributes: &[u8; ATTRIBUTES]) -> std::io::Result<libc::c_int> {
    // SAFETY: the kernel reads so many bytes, and writes for one of these commands to what its caller lent it; what they
    // point to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), ATTRIBUTES) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(std::io::Error::last_os_error()),
    }
}
