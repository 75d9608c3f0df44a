//! The commands of bpf(2) that aya does not have: entries of maps as bytes, whatever their types are, and links by id.

mod batch;
mod probes;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use aya::maps::{MapData, MapError, MapType};

pub(crate) use batch::Cursor;
pub(crate) use probes::{When, attach_tracing, btf, load_tracing};

/// Commands of bpf(2) (linux/bpf.h).
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;

/// A flag of an update: only if there is no entry.
const BPF_NOEXIST: u64 = 1;

/// `struct bpf_link_info` up to the interface of a tcx link.
const LINK_INFO: usize = 6;
const LINK_INFO_SIZE: u32 = 24; // in bytes
const LINK_INFO_IFINDEX: usize = 4;

/// The argument of the commands for one entry of a map.
#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct LinkId {
    link: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    size: u32,
    info: u64,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// The key and the value of an entry.
pub(crate) type Bytes = (Vec<u8>, Vec<u8>);

/// A map whose entries are bytes.
#[derive(Debug)]
pub(crate) struct RawMap {
    map: MapData,
    key: usize,
    /// Of all CPUs together, in a map with a value for each.
    value: usize,
    max_entries: u32,
}

impl RawMap {
    pub(crate) fn new(map: MapData) -> Result<Self, MapError> {
        let info = map.info()?;
        let value = bytes(info.value_size());
        let value = match info.map_type()? {
            MapType::PerCpuArray | MapType::PerCpuHash => value.next_multiple_of(8) * cpus()?,
            _ => value,
        };
        Ok(Self { key: bytes(info.key_size()), value, max_entries: info.max_entries(), map })
    }

    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    pub(crate) fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// The value of a key; `None` if there is no entry.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.check(key, None)?;
        let mut value = vec![0; self.value];
        let found = self.element(BPF_MAP_LOOKUP_ELEM, key.as_ptr(), value.as_mut_ptr(), 0);
        Ok(if_there(found)?.then_some(value))
    }

    /// Adds or replaces an entry.
    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, Some(value))?;
        self.element(BPF_MAP_UPDATE_ELEM, key.as_ptr(), value.as_ptr().cast_mut(), 0)
    }

    /// Adds an entry, if there is none with this key.
    pub(crate) fn add(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check(key, Some(value))?;
        let added = self.element(BPF_MAP_UPDATE_ELEM, key.as_ptr(), value.as_ptr().cast_mut(), BPF_NOEXIST);
        match added {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes an entry; one that is not there is gone already.
    pub(crate) fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.check(key, None)?;
        let none = std::ptr::null_mut();
        if_there(self.element(BPF_MAP_DELETE_ELEM, key.as_ptr(), none, 0)).map(|_| ())
    }

    /// The kernel reads and writes as many bytes as the map's keys and values have.
    fn check(&self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let is_whole = key.len() == self.key && value.is_none_or(|value| value.len() == self.value);
        if is_whole { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn element(&self, command: libc::c_int, key: *const u8, value: *mut u8, flags: u64) -> io::Result<()> {
        let map = descriptor(&self.map.fd().as_fd());
        bpf(command, &Element { map, pad: 0, key: key as u64, value: value as u64, flags }).map(|_| ())
    }
}

/// Pins a tcx link in a directory, under the name that its interface gives it.
pub(crate) fn pin_link(id: u32, directory: &Path, name: impl FnOnce(u32) -> String) -> io::Result<()> {
    let fd = bpf(BPF_LINK_GET_FD_BY_ID, &LinkId { link: id, next: 0, flags: 0 })?;
    // SAFETY: the kernel just gave this descriptor to us alone.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let path = directory.join(name(link_ifindex(&link)?));
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let pinned = bpf(BPF_OBJ_PIN, &Pin { path: path.as_ptr() as u64, fd: descriptor(&link), flags: 0 });
    match pinned {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

fn link_ifindex(link: &OwnedFd) -> io::Result<u32> {
    let mut info = [0u32; LINK_INFO];
    let argument = Info { fd: descriptor(link), size: LINK_INFO_SIZE, info: info.as_mut_ptr() as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &argument)?;
    Ok(info[LINK_INFO_IFINDEX])
}

/// Returns when no CPU runs a program any more that was replaced before the call. The kernel may refuse this (full
/// dynticks); what such a program does in its last microseconds is then not waited for.
pub(crate) fn wait_for_replaced_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1; // synchronize_rcu()
    // SAFETY: plain integers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "cannot wait for the end of replaced programs");
    }
}

/// CLOCK_MONOTONIC in nanoseconds, as bpf_ktime_get_ns() has it.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME in nanoseconds, as bpf_ktime_get_boot_ns() has it.
pub(crate) fn boot_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// How long ago the node booted, time in suspension included: the clock of drops and records.
pub fn uptime() -> Duration {
    Duration::from_nanos(boot_ns())
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes to the structure, which lives here.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}

/// The node's memory, in bytes; 0 if the kernel does not tell.
pub(crate) fn memory() -> u64 {
    // SAFETY: plain integers.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
}

/// Whether there is such an entry.
fn if_there(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many values the kernel gives of a map with one for each CPU.
fn cpus() -> Result<usize, MapError> {
    aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))
}

fn bytes(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn descriptor(fd: &impl AsRawFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

fn bpf<T>(command: libc::c_int, argument: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads the argument, and reads and writes what its pointers lead to, which the callers borrow
    // for this long: keys and values of the map's sizes, a path, the beginning of a link's information.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, argument, size_of::<T>()) };
    match libc::c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
