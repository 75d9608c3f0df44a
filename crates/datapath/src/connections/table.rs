//! The two maps of connections: those that the server has answered, and those that it has not.

use aya::maps::MapData;

use crate::error::{Error, Result};
use crate::layout::connections::{Connection as RawConnection, Tuple};
use crate::sys::{self, Cursor, RawMap};

use super::types::Connection;

/// The tables of connections. They can be read and swept without holding the datapath: programs write to them all the
/// time anyway.
#[derive(Debug)]
pub struct Connections {
    established: RawMap,
    new: RawMap,
}

/// How far the tables have been read.
#[derive(Debug, Default)]
pub struct Position {
    established: Cursor,
    new: Cursor,
    in_new: bool,
}

impl Connections {
    pub(crate) fn open(established: MapData, new: MapData) -> Result<Self> {
        let open = |map, name| RawMap::new(map).map_err(|error| Error::map("open", name, &error));
        Ok(Self { established: open(established, "connections")?, new: open(new, "new_connections")? })
    }

    /// How many entries fit into the tables of established and of new connections.
    pub fn sizes(&self) -> [u32; 2] {
        [self.established.max_entries(), self.new.max_entries()]
    }

    /// The next entries, some thousands; `None` at the end. An entry may be missing or come twice that was changed
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// If a map cannot be read.
    pub fn next(&self, position: &mut Position) -> Result<Option<Vec<Connection>>> {
        loop {
            let (map, cursor, name) = if position.in_new {
                (&self.new, &mut position.new, "new_connections")
            } else {
                (&self.established, &mut position.established, "connections")
            };
            let batch = map.batch(cursor).map_err(|error| Error::map("read", name, &error))?;
            if let Some(batch) = batch {
                let now = clock();
                let read = |(key, value): (&[u8], &[u8])| self.read(key, value, !position.in_new, now);
                return batch.iter().map(read).collect::<Result<Vec<_>>>().map(Some);
            }
            if position.in_new {
                return Ok(None);
            }
            position.in_new = true;
        }
    }

    /// The other entry of a translated connection, if it is there.
    ///
    /// # Errors
    ///
    /// If a map cannot be read.
    pub fn other(&self, connection: &Connection) -> Result<Option<Connection>> {
        connection.other().map_or(Ok(None), |key| self.find(&key))
    }

    /// Removes a connection, both entries of it. The next packet begins it anew.
    ///
    /// # Errors
    ///
    /// If a map cannot be written.
    pub fn remove(&self, connection: &Connection) -> Result<()> {
        for key in [Some(connection.key), connection.other()].into_iter().flatten() {
            for (map, name) in [(&self.established, "connections"), (&self.new, "new_connections")] {
                let removed = map.remove(bytemuck::bytes_of(&key));
                removed.map_err(|error| Error::map("write", name, &error))?;
            }
        }
        Ok(())
    }

    /// The entry as it is now.
    pub(super) fn again(&self, connection: &Connection) -> Result<Option<Connection>> {
        self.find(&connection.key)
    }

    fn find(&self, key: &Tuple) -> Result<Option<Connection>> {
        let bytes = bytemuck::bytes_of(key);
        for (map, name, established) in
            [(&self.established, "connections", true), (&self.new, "new_connections", false)]
        {
            let found = map.get(bytes).map_err(|error| Error::map("read", name, &error))?;
            if let Some(value) = found {
                return self.read(bytes, &value, established, clock()).map(Some);
            }
        }
        Ok(None)
    }

    fn read(&self, key: &[u8], value: &[u8], established: bool, now: u32) -> Result<Connection> {
        let foreign = || Error::Foreign {
            map: if established { "connections" } else { "new_connections" },
            value: "an entry of another size".to_owned(),
        };
        let key: Tuple = bytemuck::try_pod_read_unaligned(key).map_err(|_| foreign())?;
        let value: RawConnection = bytemuck::try_pod_read_unaligned(value).map_err(|_| foreign())?;
        Ok(Connection::new(key, &value, established, now))
    }
}

/// The maps' clock: CLOCK_MONOTONIC in 2^30 ns.
pub(super) fn clock() -> u32 {
    u32::try_from(sys::monotonic_ns() >> 30).unwrap_or(u32::MAX)
}
