//! Tracing packets: the second load of the datapath's programs, while somebody traces.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use datapath::trace::{Entrance, Packet, State, Traced, Tracer};

use super::tables::Tables;

/// The tracer, and when it was last needed.
#[derive(Debug, Default)]
pub(super) struct Tracing(Mutex<Option<(Tracer, Instant)>>);

impl Tracing {
    fn lock(&self) -> MutexGuard<'_, Option<(Tracer, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of a packet. The first one takes as long as the kernel needs to verify a program. The datapath is held
    /// only to learn its maps.
    pub(super) fn trace(
        &self,
        tables: &Tables,
        entrance: Entrance,
        packet: &Packet,
        state: &State,
    ) -> Result<Traced> {
        let source = tables.lock().datapath.trace_source()?;
        let mut held = self.lock();
        let mut tracer = match held.take() {
            Some((tracer, _)) if tracer.is_of(&source) => tracer,
            _ => Tracer::open(source)?,
        };
        let traced = tracer.trace(entrance, packet, state);
        *held = Some((tracer, Instant::now()));
        Ok(traced?)
    }

    /// Gives back what it takes, if nobody traced for that long.
    pub(super) fn rest(&self, idle: Duration) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|(_, used)| used.elapsed() >= idle) {
            *held = None;
        }
    }
}
