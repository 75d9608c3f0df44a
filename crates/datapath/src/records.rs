//! Records of connections, for people: one row for each connection, which the programs count, and events about them.

mod events;
mod types;

use std::time::Duration;

use aya::maps::MapData;

use crate::connections::{timeout_of, tuple};
use crate::error::{Error, Result};
use crate::layout::connections::Tuple;
use crate::layout::records::Record as RawRecord;
use crate::sys::{Cursor, RawMap, uptime};

pub use events::{Event, Events, Totals, What};
pub(crate) use types::Clock;
pub use types::{Direction, Record, Sent};

/// What is recorded of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// How many connections can have a record at once. When there are more, those lose theirs that were not seen for longest.
    pub most: u32,
    /// How many events there may be in a second; at least one.
    pub events: u32,
}

/// The table of records. It can be read and swept without holding the datapath.
#[derive(Debug)]
pub struct Records(RawMap);

/// How far the table has been read.
#[derive(Debug, Default)]
pub struct Place(Cursor);

impl Records {
    const MAP: &'static str = "records";

    pub(crate) fn open(map: MapData) -> Result<Self> {
        RawMap::new(map).map(Self).map_err(|error| Error::map("open", Self::MAP, &error))
    }

    /// How many rows fit in.
    pub fn size(&self) -> u32 {
        self.0.max_entries()
    }

    /// The next rows, some thousands; `None` at the end. One that was added or evicted meanwhile may be missing.
    ///
    /// # Errors
    ///
    /// If the map cannot be read.
    pub fn next(&self, place: &mut Place) -> Result<Option<Vec<Record>>> {
        let batch = self.0.batch(&mut place.0).map_err(|error| Error::map("read", Self::MAP, &error))?;
        let Some(batch) = batch else { return Ok(None) };
        let clock = Clock::now();
        let rows = batch.iter().map(|(key, value)| read(key, value, clock));
        rows.collect::<Result<Vec<_>>>().map(Some)
    }

    /// Removes the row of a connection that is over: no packet came for as long as its connection goes on without.
    /// Returns the row as it was last; `None`: it goes on, or is gone.
    ///
    /// # Errors
    ///
    /// If the map cannot be read or written.
    pub fn remove_if_over(&self, record: &Record) -> Result<Option<Record>> {
        if !is_over(record, uptime()) {
            return Ok(None);
        }
        // Its source got a port that no other connection of the tuple has: there is one variant.
        let key = tuple(record.source, record.backend, record.protocol, false);
        let key = bytemuck::bytes_of(&key);
        let found = self.0.get(key).map_err(|error| Error::map("read", Self::MAP, &error))?;
        let Some(value) = found else { return Ok(None) };
        let last = read(key, &value, Clock::now())?;
        if !is_over(&last, uptime()) {
            return Ok(None);
        }
        self.0.remove(key).map_err(|error| Error::map("write", Self::MAP, &error))?;
        Ok(Some(last))
    }
}

/// Whether a connection goes on no more: it was closed, or nobody sent anything for so long that it is forgotten.
fn is_over(record: &Record, now: Duration) -> bool {
    let has_port = record.source.port() != record.client.port();
    now.saturating_sub(record.last) > timeout_of(record.protocol, record.state, has_port)
}

fn read(key: &[u8], value: &[u8], clock: Clock) -> Result<Record> {
    let foreign = |_| Error::Foreign { map: Records::MAP, value: "an entry of another size".to_owned() };
    let key: Tuple = bytemuck::try_pod_read_unaligned(key).map_err(foreign)?;
    let value: RawRecord = bytemuck::try_pod_read_unaligned(value).map_err(foreign)?;
    Ok(Record::new(key, &value, clock))
}
