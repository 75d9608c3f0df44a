//! Moving the entries of a map at work into one of another version or size while traffic runs.
//!
//! 1. The new map is created beside the old one and filled from it; programs go on with the old one. Maps whose version
//!    and size are right are used on and not touched.
//! 2. The caller attaches programs that use the new map; at the last moment before, connections that began since are
//!    copied, too.
//! 3. What programs themselves wrote to the old map meanwhile is moved, too; then the new map's pin takes the old one's
//!    place.
//!
//! An agent that dies in between leaves the old map where it was, and the next one does it all again.

mod drops;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, MapInfo, MapType};

use crate::error::{Error, Result, chain};
use crate::layout::connections::{CONNECTION_TICK_SHIFT, Connection};
use crate::maps::{MapSpec, Shape, Writer};
use crate::pins::{Pins, remove_if_there};
use crate::sys::{self, Bytes, RawMap};

/// What is to become of a map.
pub(crate) struct Plan {
    pub(crate) spec: MapSpec,
    /// Where it is pinned, or will be.
    pub(crate) pin: PathBuf,
    /// The map at work, if that is another one.
    old: Option<Old>,
}

struct Old {
    pin: PathBuf,
    migrate: fn(Bytes) -> Option<Bytes>,
}

/// Compares the pinned map with what this build needs.
pub(crate) fn plan(pins: &Pins, spec: MapSpec) -> Result<Plan> {
    let own = pins.map(spec.name, spec.version);
    let versions = pins.versions(spec.name)?;
    // Others than this build's version wait for their removal.
    let at_work = versions.iter().find(|pin| pin.path == own).or_else(|| versions.first());
    let Some(at_work) = at_work else { return Ok(Plan { spec, pin: own, old: None }) };
    if at_work.version == spec.version {
        let info = info(&own, &spec)?;
        check(&own, &spec, &info)?;
        if info.max_entries() == spec.max_entries {
            return Ok(Plan { spec, pin: own, old: None });
        }
    }
    let migrate = spec.migrate_from(at_work.version).ok_or_else(|| Error::Migrate {
        path: at_work.path.clone(),
        reason: format!("its version is {}, and this build knows {}", at_work.version, spec.version),
    })?;
    let new = pins.new_map(spec.name, spec.version);
    // Left by an agent that died, perhaps with other sizes.
    let is_right = |found: &MapInfo| {
        shape(found).is_ok_and(|shape| shape == spec.shape) && found.max_entries() == spec.max_entries
    };
    if new.exists() && !MapInfo::from_pin(&new).is_ok_and(|found| is_right(&found)) {
        remove_if_there(&new)?;
    }
    Ok(Plan { spec, pin: new, old: Some(Old { pin: at_work.path.clone(), migrate }) })
}

fn info(pin: &Path, spec: &MapSpec) -> Result<MapInfo> {
    let error = |error| Error::map("open pinned", spec.name, &error);
    MapInfo::from_pin(pin).map_err(error)
}

/// What the kernel says of a map.
pub(crate) fn shape(info: &MapInfo) -> Result<Shape, aya::maps::MapError> {
    let bytes = |size| usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Shape {
        kind: info.map_type()?,
        key: bytes(info.key_size()),
        value: bytes(info.value_size()),
        flags: info.map_flags(),
    })
}

/// Refuses a map that is not what its pin's name says: aya uses it by its name alone.
fn check(pin: &Path, spec: &MapSpec, info: &MapInfo) -> Result<()> {
    let found = shape(info).map_err(|error| Error::map("open pinned", spec.name, &error))?;
    if found == spec.shape {
        return Ok(());
    }
    let text = |shape: Shape| {
        format!("{:?}, key {}, value {}, flags {:#x}", shape.kind, shape.key, shape.value, shape.flags)
    };
    Err(Error::Shape { path: pin.to_owned(), found: text(found), wanted: text(spec.shape) })
}

/// A map that takes another one's place.
pub(crate) struct Migration {
    spec: MapSpec,
    pin: PathBuf,
    old_pin: PathBuf,
    old: RawMap,
    new: RawMap,
    migrate: fn(Bytes) -> Option<Bytes>,
    /// What the new map was given of the old one's counts.
    counted: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Migration {
    /// The migration of a map that was just created as planned, if there is one.
    pub(crate) fn new(plan: &Plan) -> Result<Option<Self>> {
        let Plan { spec, pin, old: Some(Old { pin: old_pin, migrate }) } = plan else { return Ok(None) };
        let open = |path: &PathBuf| {
            let unusable = |error| Error::Migrate { path: path.clone(), reason: chain(&error) };
            MapData::from_pin(path).and_then(RawMap::new).map_err(unusable)
        };
        let (old, new) = (open(old_pin)?, open(pin)?);
        let counted = BTreeMap::new();
        Ok(Some(Self {
            spec: *spec,
            pin: pin.clone(),
            old_pin: old_pin.clone(),
            old,
            new,
            migrate: *migrate,
            counted,
        }))
    }

    pub(crate) fn spec(&self) -> &MapSpec {
        &self.spec
    }

    pub(crate) fn pin(&self) -> &Path {
        &self.pin
    }

    /// Fills the new map, which no program uses yet.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let entries = self.old_entries()?;
        let count = entries.len();
        match self.spec.writer {
            Writer::Agent => self.replace(entries)?,
            Writer::Programs => self.add(&entries)?,
            Writer::Connections => self.each(&entries, latest)?,
            Writer::Bits => self.set_bits(&entries)?,
            Writer::Drops => {
                self.each(&entries, drops::largest)?;
                self.counted = entries.into_iter().collect();
            }
            Writer::Counters => {
                // An agent before this one may have died when programs already counted here.
                self.each(&entries, largest)?;
                self.counted = entries.into_iter().collect();
            }
        }
        tracing::info!(
            map = self.spec.name, version = self.spec.version, entries = count, from = %self.old_pin.display(),
            "migrated a map"
        );
        Ok(())
    }

    /// Moves the connections that programs recorded in the old map since.
    fn follow(&self) -> Result<()> {
        match self.spec.writer {
            Writer::Connections => self.each(&self.old_entries()?, latest),
            _ => Ok(()),
        }
    }

    /// Moves what programs wrote to the old map since, now that the new one is used.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self.spec.writer {
            Writer::Agent => Ok(()),
            Writer::Programs => self.add(&self.old_entries()?),
            Writer::Connections => self.each(&self.old_entries()?, latest),
            Writer::Bits => self.set_bits(&self.old_entries()?),
            Writer::Drops => {
                let entries = self.old_entries()?;
                let counted = std::mem::take(&mut self.counted);
                let since = entries.iter().filter_map(|(key, row)| {
                    let since = drops::since(row, counted.get(key).map(Vec::as_slice))?;
                    Some((key.clone(), since))
                });
                let since: Vec<_> = since.collect();
                self.counted = entries.into_iter().collect();
                self.each(&since, drops::sum)
            }
            Writer::Counters => {
                let entries = self.old_entries()?;
                let counted = std::mem::take(&mut self.counted);
                let since = entries.iter().map(|(key, value)| {
                    let before = counted.get(key).map_or(&[][..], Vec::as_slice);
                    (key.clone(), each_word(value, before, u64::wrapping_sub))
                });
                let since: Vec<_> = since.filter(|(_, value)| value.iter().any(|byte| *byte != 0)).collect();
                self.counted = entries.into_iter().collect();
                self.each(&since, |value, now| each_word(value, now, u64::wrapping_add))
            }
        }
    }

    fn old_entries(&self) -> Result<Vec<Bytes>> {
        let entries = self
            .old
            .entries()
            .map_err(|error| Error::Migrate { path: self.old_pin.clone(), reason: error.to_string() })?;
        Ok(entries.into_iter().filter_map(self.migrate).collect())
    }

    /// Makes the new map hold these entries and no others.
    fn replace(&self, entries: Vec<Bytes>) -> Result<()> {
        let entries: BTreeMap<_, _> = entries.into_iter().collect();
        // An array has them all, always.
        if self.spec.shape.kind != MapType::Array {
            let surplus = self.new.entries().map_err(|error| self.failed("read", &error))?;
            for (key, _) in surplus.iter().filter(|(key, _)| !entries.contains_key(key)) {
                self.new.remove(key).map_err(|error| self.failed("write", &error))?;
            }
        }
        let count = entries.len();
        let (keys, values): (Vec<_>, Vec<_>) =
            entries.into_iter().filter(|(key, value)| self.is_needed(key, value)).unzip();
        let written = self.new.set_all(&keys.concat(), &values.concat());
        written.map_err(|error| self.not_written(&error, count))
    }

    /// Whether an entry has to be in the new map: a smaller array has no space for what is zero.
    fn is_needed(&self, key: &[u8], value: &[u8]) -> bool {
        self.has_index(key) || value.iter().any(|byte| *byte != 0)
    }

    /// Whether the new map can have an entry with this key: an array has as many as its size says.
    fn has_index(&self, key: &[u8]) -> bool {
        let index = || key.try_into().map_or(u32::MAX, u32::from_ne_bytes);
        self.spec.shape.kind != MapType::Array || index() < self.spec.max_entries
    }

    fn add(&self, entries: &[Bytes]) -> Result<()> {
        entries.iter().try_for_each(|(key, value)| {
            self.new.add(key, value).map_err(|error| self.not_written(&error, entries.len()))
        })
    }

    fn set_bits(&self, entries: &[Bytes]) -> Result<()> {
        self.each(entries, |value, now| value.iter().zip(now).map(|(a, b)| a | b).collect())
    }

    /// Gives entries the value that follows from theirs and what is there; those where it is the same are not written,
    /// since programs may write at the same moment.
    fn each(&self, entries: &[Bytes], value: impl Fn(&[u8], &[u8]) -> Vec<u8>) -> Result<()> {
        // Counts of what the new map has no index for are nobody's.
        for (key, theirs) in entries.iter().filter(|(key, _)| self.has_index(key)) {
            let found = self.new.get(key).map_err(|error| self.failed("read", &error))?;
            let is_new = found.is_none();
            let now = found.unwrap_or_else(|| vec![0; theirs.len()]);
            let wanted = value(theirs, &now);
            if is_new || wanted != now {
                self.new.set(key, &wanted).map_err(|error| self.not_written(&error, entries.len()))?;
            }
        }
        Ok(())
    }

    fn not_written(&self, error: &std::io::Error, entries: usize) -> Error {
        match self.spec.setting.filter(|_| is_full(error)) {
            Some(setting) => Error::Full {
                what: format!("the {entries} entries of map {} that are at work", self.spec.name),
                limit: self.spec.max_entries,
                setting,
            },
            None => self.failed("write", error),
        }
    }

    fn failed(&self, action: &'static str, error: &std::io::Error) -> Error {
        Error::map(action, self.spec.name, error)
    }
}

/// Moves the connections that programs recorded in old maps since the new ones were filled. Whoever attaches the programs
/// calls it at the last moment: until [`finish`], a connection that only the old map has is unknown.
pub(crate) fn follow(migrations: &[Migration]) -> Result<()> {
    migrations.iter().try_for_each(Migration::follow)
}

/// Moves what is left to be moved of all maps, and retires all maps but those of this build.
pub(crate) fn finish(migrations: &mut Vec<Migration>, specs: &[MapSpec], pins: &Pins) -> Result<()> {
    // Connections at once, and again when all have been recorded.
    follow(migrations)?;
    if migrations.iter().any(|migration| migration.spec.writer != Writer::Agent) {
        sys::wait_for_replaced_programs();
    }
    migrations.iter_mut().try_for_each(Migration::finish)?;
    for spec in specs {
        let is_new = migrations.iter().any(|migration| migration.spec.name == spec.name);
        pins.retire_others(spec, is_new)?;
    }
    migrations.clear();
    Ok(())
}

/// The kernel's words for "no space" of a hash table and of a trie.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC))
}

/// Of two states of a connection the one that was seen last; of two of the same moment, all that was seen.
fn latest(old: &[u8], new: &[u8]) -> Vec<u8> {
    let read = |bytes: &[u8]| bytemuck::try_pod_read_unaligned::<Connection>(bytes).ok();
    let (Some(theirs), Some(ours)) = (read(old), read(new)) else { return old.to_vec() };
    match theirs.seen.cmp(&ours.seen) {
        Ordering::Less => new.to_vec(),
        Ordering::Greater => old.to_vec(),
        Ordering::Equal => {
            // Above is no state, but when the packets were attended to.
            let state = theirs.state | ours.state & ((1 << CONNECTION_TICK_SHIFT) - 1);
            let both = Connection { state, ..theirs };
            bytemuck::bytes_of(&both).to_vec()
        }
    }
}

fn largest(a: &[u8], b: &[u8]) -> Vec<u8> {
    each_word(a, b, u64::max)
}

/// Numbers of 64 bits side by side; what is missing of the second is zero.
fn each_word(a: &[u8], b: &[u8], operation: impl Fn(u64, u64) -> u64) -> Vec<u8> {
    let words = |bytes: &[u8]| {
        bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).collect::<Vec<_>>()
    };
    let (a, b) = (words(a), words(b));
    let b = b.into_iter().chain(std::iter::repeat(0));
    a.into_iter().zip(b).flat_map(|(a, b)| operation(a, b).to_ne_bytes()).collect()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;
