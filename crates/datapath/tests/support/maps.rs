//! Maps as other builds made them.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use aya::maps::MapType;

/// Where a map is pinned, whatever its version is.
pub fn map_pin(directory: &Path, name: &str) -> PathBuf {
    let pins = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |pin: &PathBuf| {
        let version = pin.file_name().unwrap().to_str().unwrap().strip_prefix(name).map(str::to_owned);
        version.is_some_and(|rest| rest.strip_prefix("-v").is_some_and(|v| v.parse::<u32>().is_ok()))
    };
    let found: Vec<_> = pins.filter(is_it).collect();
    assert_eq!(found.len(), 1, "pins of map {name}");
    found.into_iter().next().unwrap()
}

/// Makes a map (`union bpf_attr` of linux/bpf.h) and pins it.
pub fn create_map(pin: &Path, name: &str, kind: MapType, [key, value, max_entries]: [usize; 3]) {
    #[repr(C)]
    struct Create {
        kind: u32,
        key: u32,
        value: u32,
        max_entries: u32,
        flags: u32,
        inner: u32,
        numa: u32,
        name: [u8; 16],
    }
    #[repr(C)]
    struct Pin {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    let create = Create {
        kind: kind as u32,
        key: key as u32,
        value: value as u32,
        max_entries: max_entries as u32,
        flags: 0,
        inner: 0,
        numa: 0,
        name: bytes,
    };
    // SAFETY: the kernel reads the argument, which is as long as it is told.
    let map = unsafe { libc::syscall(libc::SYS_bpf, 0, &raw const create, size_of::<Create>()) };
    assert!(map >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel just gave this descriptor to us alone.
    let map = unsafe { OwnedFd::from_raw_fd(map as i32) };
    let path = std::ffi::CString::new(pin.as_os_str().as_encoded_bytes()).unwrap();
    let argument = Pin { path: path.as_ptr() as u64, fd: map.as_raw_fd().cast_unsigned(), flags: 0 };
    // SAFETY: the kernel reads the argument and the path, which live here.
    let pinned = unsafe { libc::syscall(libc::SYS_bpf, 6, &raw const argument, size_of::<Pin>()) };
    assert_eq!(pinned, 0, "{}", std::io::Error::last_os_error());
}
