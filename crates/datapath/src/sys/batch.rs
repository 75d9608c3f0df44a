//! Entries of maps in batches: one call of the kernel for thousands of them (Linux 5.6, for tries 5.13).

use std::io;
use std::os::fd::AsFd as _;

use super::{Bytes, RawMap, descriptor};

/// Commands of bpf(2) (linux/bpf.h).
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// So many entries are read or written by one call.
pub(crate) const BATCH: usize = 4096;

/// The most bytes of a position: that in a hash table has four, in all other maps it is a key.
const POSITION: usize = 8;

/// The argument of the commands for batches.
#[repr(C)]
#[derive(Default)]
struct Argument {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// How far a map has been read.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    position: Option<Vec<u8>>,
    calls: usize,
    ended: bool,
}

/// Entries side by side.
#[derive(Debug)]
pub(crate) struct Batch {
    keys: Vec<u8>,
    values: Vec<u8>,
    key: usize,
    value: usize,
}

impl Batch {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.key).zip(self.values.chunks_exact(self.value))
    }
}

impl RawMap {
    /// The next entries; `None` at the end. Of a map that programs write to meanwhile, an entry may be missing that was
    /// not there all the time.
    pub(crate) fn batch(&self, cursor: &mut Cursor) -> io::Result<Option<Batch>> {
        // A trie is read from its beginning again if the last key was removed meanwhile.
        let most = self.max_entries as usize / BATCH * 4 + 64;
        let mut space = BATCH.min(self.max_entries.max(1) as usize);
        while !cursor.ended && cursor.calls < most {
            cursor.calls += 1;
            let mut keys = vec![0; self.key * space];
            let mut values = vec![0; self.value * space];
            let mut next = vec![0; self.key.max(POSITION)];
            let mut argument = Argument {
                from: cursor.position.as_ref().map_or(0, |position| position.as_ptr() as u64),
                to: next.as_mut_ptr() as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: u32::try_from(space).unwrap_or(u32::MAX),
                map: descriptor(&self.map.fd().as_fd()),
                ..Argument::default()
            };
            let count = match command(BPF_MAP_LOOKUP_BATCH, &mut argument) {
                Ok(()) => argument.count,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) => {
                        cursor.ended = true;
                        argument.count
                    }
                    // One bucket of a hash table has more.
                    Some(libc::ENOSPC) if space < self.max_entries as usize => {
                        space *= 4;
                        continue;
                    }
                    Some(libc::EINTR) => continue,
                    _ => return Err(error),
                },
            };
            cursor.position = Some(next);
            let count = count as usize;
            if count > 0 {
                keys.truncate(count * self.key);
                values.truncate(count * self.value);
                return Ok(Some(Batch { keys, values, key: self.key, value: self.value }));
            }
        }
        Ok(None)
    }

    /// Every entry, as by [`batch`](Self::batch).
    pub(crate) fn entries(&self) -> io::Result<Vec<Bytes>> {
        let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
        while let Some(batch) = self.batch(&mut cursor)? {
            entries.extend(batch.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        }
        Ok(entries)
    }

    /// Adds or replaces entries: their keys and values side by side.
    pub(crate) fn set_all(&self, keys: &[u8], values: &[u8]) -> io::Result<()> {
        if !keys.len().is_multiple_of(self.key) || keys.len() / self.key * self.value != values.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (keys, values) in keys.chunks(self.key * BATCH).zip(values.chunks(self.value * BATCH)) {
            let mut argument = Argument {
                keys: keys.as_ptr() as u64,
                values: values.as_ptr() as u64,
                count: u32::try_from(keys.len() / self.key).unwrap_or(u32::MAX),
                map: descriptor(&self.map.fd().as_fd()),
                ..Argument::default()
            };
            command(BPF_MAP_UPDATE_BATCH, &mut argument)?;
        }
        Ok(())
    }

    /// Removes entries: their keys side by side. Those that are not there are gone already. Goes on if the kernel refuses one;
    /// returns the last of such errors.
    pub(crate) fn remove_all(&self, keys: &[u8]) -> io::Result<()> {
        if !keys.len().is_multiple_of(self.key) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut result = Ok(());
        for keys in keys.chunks(self.key * BATCH) {
            let mut argument = Argument {
                keys: keys.as_ptr() as u64,
                count: u32::try_from(keys.len() / self.key).unwrap_or(u32::MAX),
                map: descriptor(&self.map.fd().as_fd()),
                ..Argument::default()
            };
            if keys.len() > self.key && command(BPF_MAP_DELETE_BATCH, &mut argument).is_ok() {
                continue;
            }
            // It stops at the first that is not there.
            for key in keys.chunks_exact(self.key) {
                if let Err(error) = self.remove(key) {
                    result = Err(error);
                }
            }
        }
        result
    }
}

fn command(command: libc::c_int, argument: &mut Argument) -> io::Result<()> {
    let size = size_of::<Argument>();
    // SAFETY: the kernel reads and writes the argument, and as many keys and values as it says, which the callers
    // made of that size and hold for this long; a position has the size of a key, or of four bytes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *argument, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
