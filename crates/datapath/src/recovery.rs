//! Finding the maps at work again when their pins are gone: another network's clean-up removed them, or somebody
//! mounted another BPF file system over them. Attached programs keep their maps, and packets go on.
//!
//! The maps of the program in the shared block are pinned again where they belong, with the tcx links of programs that
//! use them. A pin that says of another map that it is at work is an old one: a build before this one was at work meanwhile.

use std::collections::BTreeSet;

use aya::maps::{MapData, MapError, MapInfo};
use aya::programs::links::LinkType;
use aya::programs::{ProgramInfo, loaded_links, loaded_programs};

use crate::error::{Error, Result, chain};
use crate::legacy;
use crate::maps::MapSpec;
use crate::migration::shape;
use crate::pins::{self, OVERLAY, Pins, file, remove_if_there};
use crate::programs::{FROM_ENDPOINT, FROM_OVERLAY, FROM_UPLINK, TO_UPLINK};
use crate::sys;

/// Pins what the program with this id uses, if it is ours and that is not pinned.
pub(crate) fn restore(pins: &Pins, program: u32, specs: &[MapSpec]) -> Result<()> {
    let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program);
    let Some(info) = found.filter(|info| is_ours(info, FROM_ENDPOINT)) else { return Ok(()) };
    let maps = maps(&info, specs)?;
    if !maps.iter().any(|(spec, _)| spec.name == "ports") {
        return Ok(());
    }
    let mut restored = 0;
    for (spec, map) in &maps {
        restored += u32::from(restore_map(pins, spec, map)?);
    }
    if legacy::find_link(pins, OVERLAY)?.is_none() {
        pin_links(pins, &maps)?;
    }
    if restored > 0 {
        tracing::warn!(
            program, maps = restored, directory = %pins.base().display(),
            "pins of the maps at work were gone: found the maps by the program that is attached"
        );
    }
    Ok(())
}

/// Pins a map in the place of others of this name, unless it is pinned. Whether it was not.
fn restore_map(pins: &Pins, spec: &MapSpec, map: &MapData) -> Result<bool> {
    let info = map.info().map_err(|error| unreadable(&error))?;
    let (at_work, new) = (pins.versions(spec.name)?, pins.new_versions(spec.name)?);
    let known: Vec<_> = at_work.into_iter().chain(new).map(|pin| pin.path).collect();
    if known.iter().any(|pin| MapInfo::from_pin(pin).is_ok_and(|pinned| pinned.id() == info.id())) {
        return Ok(false);
    }
    let version = shape(&info).map_err(|error| unreadable(&error)).map(|shape| spec.version_of(shape))?;
    let version = version.ok_or_else(|| Error::Migrate {
        path: pins.map(spec.name, spec.version),
        reason: format!("the map {} at work is of a version that this build does not know", spec.name),
    })?;
    known.iter().try_for_each(|pin| remove_if_there(pin))?;
    let pin = pins.map(spec.name, version);
    map.pin(&pin).map_err(|error| Error::Attach {
        action: format!("pin map {} at {}", spec.name, pin.display()),
        reason: chain(&error),
    })?;
    Ok(true)
}

/// Pins the tcx links whose programs use these maps.
fn pin_links(pins: &Pins, maps: &[(MapSpec, MapData)]) -> Result<()> {
    let ids: BTreeSet<u32> = maps.iter().filter_map(|(_, map)| Some(map.info().ok()?.id())).collect();
    let attached = loaded_links().filter_map(Result::ok);
    for link in attached.filter(|link| matches!(link.link_type(), Ok(LinkType::Tcx))) {
        let Some(info) = loaded_programs().filter_map(Result::ok).find(|info| info.id() == link.program_id())
        else {
            continue;
        };
        let uses_them =
            || info.map_ids().ok().flatten().is_some_and(|used| used.iter().any(|id| ids.contains(id)));
        for program in [FROM_OVERLAY, FROM_UPLINK, TO_UPLINK] {
            if is_ours(&info, program) && uses_them() {
                let directory = pins.links();
                // There may be several uplinks.
                let name = |ifindex| match program {
                    FROM_UPLINK => pins::uplink(ifindex),
                    TO_UPLINK => pins::uplink_egress(ifindex),
                    _ => OVERLAY.to_owned(),
                };
                sys::pin_link(link.id(), &directory, name).map_err(file("pin a tcx link in", &directory))?;
            }
        }
    }
    Ok(())
}

/// A classifier of that name, loaded by root.
fn is_ours(info: &ProgramInfo, name: &str) -> bool {
    info.name_as_str() == Some(name) && info.created_by_uid().is_none_or(|uid| uid == 0)
}

/// Those of a program's maps that have the names of ours.
fn maps(info: &ProgramInfo, specs: &[MapSpec]) -> Result<Vec<(MapSpec, MapData)>> {
    let ids = info.map_ids().map_err(|error| Error::Load { what: FROM_ENDPOINT, reason: chain(&error) })?;
    let mut maps = Vec::new();
    for id in ids.unwrap_or_default() {
        let map = MapData::from_id(id).map_err(|error| unreadable(&error))?;
        let info = map.info().map_err(|error| unreadable(&error))?;
        if let Some(spec) = specs.iter().find(|spec| info.name_as_str() == Some(spec.name)) {
            maps.push((*spec, map));
        }
    }
    Ok(maps)
}

fn unreadable(error: &MapError) -> Error {
    Error::map("read", "of the attached program", error)
}
