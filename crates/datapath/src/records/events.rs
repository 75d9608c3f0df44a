//! Events about records, as the programs of this load send them.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use aya::maps::{MapData, RingBuf};

use super::types::{Clock, Record};
use crate::error::{Error, Result};
use crate::layout::records::{RECORD_END, RECORD_GOES_ON, RECORD_NEW, RecordBudget, RecordEvent};
use crate::sys::RawMap;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A connection began.
    New,
    /// A connection goes on: told every ten seconds at most.
    GoesOn,
    /// TCP: a connection ended.
    End,
}

impl What {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::New, Self::GoesOn, Self::End];

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::GoesOn => "goes-on",
            Self::End => "end",
        }
    }
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// The record as it was then.
    pub record: Record,
}

/// How many events there were since the programs were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub made: u64,
    /// Those that were too many for their second: not sent.
    pub over: u64,
    /// Those for which there was no space, since nobody had read the ones before: not sent.
    pub full: u64,
}

impl Totals {
    /// How many were not sent.
    pub fn lost(&self) -> u64 {
        self.over.saturating_add(self.full)
    }
}

/// The events that programs sent and nobody has read yet.
pub struct Events {
    ring: RingBuf<MapData>,
    budget: RawMap,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    pub(crate) fn open(ring: RingBuf<MapData>, budget: MapData) -> Result<Self> {
        let budget = RawMap::new(budget).map_err(|error| Error::map("open", "record_budget", &error))?;
        Ok(Self { ring, budget })
    }

    /// The oldest event; `None`: there is none now.
    ///
    /// # Errors
    ///
    /// If it is not what the programs of this build send.
    pub fn read(&mut self) -> Result<Option<Event>> {
        self.next(Clock::now())
    }

    /// Adds the oldest events to those that are there, until there are so many, or no more now.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read).
    pub fn read_some(&mut self, events: &mut Vec<Event>, most: usize) -> Result<()> {
        let clock = Clock::now();
        while events.len() < most
            && let Some(event) = self.next(clock)?
        {
            events.push(event);
        }
        Ok(())
    }

    fn next(&mut self, clock: Clock) -> Result<Option<Event>> {
        let Some(item) = self.ring.next() else { return Ok(None) };
        let foreign = |value: String| Error::Foreign { map: "record_ring", value };
        let raw: RecordEvent = bytemuck::try_pod_read_unaligned(&item)
            .map_err(|_| foreign(format!("an event of {} bytes", item.len())))?;
        let what = match raw.what {
            RECORD_NEW => What::New,
            RECORD_GOES_ON => What::GoesOn,
            RECORD_END => What::End,
            other => return Err(foreign(format!("an event of kind {other}"))),
        };
        Ok(Some(Event { what, record: Record::new(raw.key, &raw.record, clock) }))
    }

    /// A descriptor that becomes readable with the first event after all were read.
    ///
    /// # Errors
    ///
    /// If there are too many open files.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the ring has this descriptor open for as long as it lives, which is longer than this call.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }.try_clone_to_owned()
    }

    /// How many events there were.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn totals(&self) -> Result<Totals> {
        let failed = |error: io::Error| Error::map("read", "record_budget", &error);
        let value = self.budget.get(&0u32.to_ne_bytes()).map_err(failed)?.unwrap_or_default();
        let foreign =
            |_| Error::Foreign { map: "record_budget", value: "an entry of another size".to_owned() };
        let RecordBudget { made, over, full, .. } =
            bytemuck::try_pod_read_unaligned(&value).map_err(foreign)?;
        Ok(Totals { made, over, full })
    }
}
