//! Taking over what an agent with another map layout, or with other sizes of the maps, left at work.
//!
//! Its programs go on with its maps until the new ones are attached, so nothing is interrupted; and as
//! there is one agent at a time, nothing changes there any more.

use std::path::Path;

use aya::maps::{Map, MapData};

use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::layout::WRITTEN_BY_PROGRAMS;
use crate::nodes::Nodes;
use crate::pins::{Pins, remove_if_there};
use crate::ports::Ports;
use crate::routes::Routes;

/// Pins what only the programs write in the new layout's directory, too: what the former programs record before
/// they are replaced is not lost. A former version may have no such map.
pub(crate) fn share(old: &Path, pins: &Pins) -> Result<()> {
    for name in WRITTEN_BY_PROGRAMS {
        let theirs = old.join("maps").join(name);
        if theirs.exists() {
            let map = MapData::from_pin(&theirs).map_err(|error| unusable(old, &error))?;
            let own = pins.map(name);
            remove_if_there(&own)?;
            map.pin(&own).map_err(|error| unusable(old, &error))?;
        }
    }
    Ok(())
}

/// Makes the maps of a new layout hold what those in another layout's directory do.
pub(crate) fn take_over(
    old: &Path,
    ports: &mut Ports,
    routes: &mut Routes,
    nodes: &mut Nodes,
    counters: &mut Counters,
) -> Result<()> {
    let open = |name: &str, kind: fn(MapData) -> Map| -> Result<Map> {
        let pin = old.join("maps").join(name);
        MapData::from_pin(&pin).map(kind).map_err(|error| unusable(old, &error))
    };
    let inside = |error| match error {
        Error::Map { source, .. } => unusable(old, &source),
        other => other,
    };
    let (by_interface, by_address) = (open("ports", Map::HashMap)?, open("endpoints", Map::HashMap)?);
    let limits = old.join("maps/limits").exists().then(|| open("limits", Map::HashMap)).transpose()?;
    ports.become_like(&Ports::new(by_interface, by_address, limits, 0).map_err(inside)?)?;
    let trie = open("routes", Map::LpmTrie)?;
    routes.become_like(&Routes::new(trie, 0).map_err(inside)?)?;
    // Former versions have no such map: the agent fills it before the programs that read it are attached.
    if old.join("maps/nodes").exists() {
        nodes.become_like(&Nodes::new(open("nodes", Map::HashMap)?, 0).map_err(inside)?)?;
    }
    let counted = open("counters", Map::PerCpuArray)?;
    counters.become_like(&Counters::new(counted).map_err(inside)?)?;
    tracing::info!(from = %old.display(), ports = ports.all()?.len(), "took over another datapath's maps");
    Ok(())
}

fn unusable(old: &Path, error: &dyn std::error::Error) -> Error {
    Error::Takeover { path: old.to_owned(), reason: crate::error::chain(error) }
}
