//! Reading the counters, with the names that `bpf/reasons.def` gives them.

use aya::maps::{Map, MapData, PerCpuArray};

use crate::error::{Error, Result};
use crate::layout;
use crate::model::{Counter, Fate};

/// A way in which a packet can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A word for it.
    pub name: &'static str,
    /// What becomes of the packet.
    pub fate: Fate,
    /// What it means.
    pub help: &'static str,
}

/// Every reason, in the order of the counters.
pub fn reasons() -> &'static [Reason] {
    include!(concat!(env!("OUT_DIR"), "/reasons.rs"))
}

/// The map of counters, one set for each CPU.
pub(crate) struct Counters(PerCpuArray<MapData, layout::Counter>);

impl Counters {
    const MAP: &'static str = "counters";

    pub(crate) fn new(map: Map) -> Result<Self> {
        let error = |source| Error::Map { action: "open", map: Self::MAP, source };
        map.try_into().map(Self).map_err(error)
    }

    /// Makes these counters go on where others are.
    pub(crate) fn become_like(&mut self, other: &Self) -> Result<()> {
        for index in 0..layout::REASON_ROOM {
            let error = |action| move |source| Error::Map { action, map: Self::MAP, source };
            let theirs = other.0.get(&index, 0).map_err(error("read"))?;
            self.0.set(index, theirs, 0).map_err(error("write"))?;
        }
        Ok(())
    }

    pub(crate) fn read(&self) -> Result<Vec<Counter>> {
        (0u32..)
            .zip(reasons())
            .map(|(index, reason)| {
                let error = |source| Error::Map { action: "read", map: Self::MAP, source };
                let per_cpu = self.0.get(&index, 0).map_err(error)?;
                let (packets, bytes) = per_cpu.iter().fold((0u64, 0u64), |(packets, bytes), cpu| {
                    (packets.wrapping_add(cpu.packets), bytes.wrapping_add(cpu.bytes))
                });
                Ok(Counter { name: reason.name, help: reason.help, fate: reason.fate, packets, bytes })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_can_be_told_apart() {
        let names: BTreeSet<_> = reasons().iter().map(|reason| reason.name).collect();
        assert_eq!(names.len(), reasons().len(), "a name twice");
        assert!(reasons().len() <= usize::try_from(layout::REASON_ROOM).unwrap());
        for Reason { name, help, .. } in reasons() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
    }
}
