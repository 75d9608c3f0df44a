//! Reading the counters, with the names that `bpf/reasons.def` gives them.

use aya::maps::MapData;

use crate::error::{Error, Result};
use crate::layout;
use crate::model::{Counter, Fate};
use crate::sys::RawMap;

/// What a packet can end as.
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
pub(crate) struct Counters(RawMap);

impl Counters {
    const MAP: &'static str = "counters";

    pub(crate) fn open(map: MapData) -> Result<Self> {
        RawMap::new(map).map(Self).map_err(|error| Error::map("open", Self::MAP, &error))
    }

    pub(crate) fn read(&self) -> Result<Vec<Counter>> {
        (0u32..)
            .zip(reasons())
            .map(|(index, reason)| {
                let per_cpu = self.0.get(&index.to_ne_bytes());
                let per_cpu = per_cpu.map_err(|error| Error::map("read", Self::MAP, &error))?;
                let per_cpu = per_cpu.unwrap_or_default();
                let values = per_cpu.chunks_exact(size_of::<layout::Counter>());
                let values = values.map(bytemuck::pod_read_unaligned::<layout::Counter>);
                let (packets, bytes) = values.fold((0u64, 0u64), |(packets, bytes), cpu| {
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
        assert!(reasons().len() <= usize::try_from(layout::REASONS_MAX).unwrap());
        for Reason { name, help, .. } in reasons() {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
    }
}
