//! Programs that the kernel runs when another eBPF program begins or returns (`BPF_PROG_TYPE_TRACING`): aya attaches them to the
//! kernel's own functions alone.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::bpf_insn;

use super::{Info, bpf, descriptor};

/// Commands of bpf(2) (linux/bpf.h).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_BTF_GET_FD_BY_ID: libc::c_int = 19;

const BPF_PROG_TYPE_TRACING: u32 = 26;

/// When a program is run: the values of `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// `BPF_TRACE_FENTRY`
    Begins = 24,
    /// `BPF_TRACE_FEXIT`
    Returns = 25,
}

/// What the kernel says of a program that it refuses, at most: the end has the reason.
const LOG: usize = 64 << 10;

/// The argument of `BPF_PROG_LOAD`, up to the program that is traced.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instructions: u32,
    first: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_size: u32,
    lines: u64,
    line_count: u32,
    attach_function: u32,
    attach_program: u32,
    relocation_count: u32,
}

/// Loads a program that is run when a function of another one, a type in that one's BTF, begins or returns.
///
/// # Errors
/// The kernel's, and the last lines that it says of the program.
pub(crate) fn load_tracing(
    when: When,
    instructions: &[bpf_insn],
    license: &CStr,
    program: BorrowedFd<'_>,
    function: u32,
) -> Result<OwnedFd, (io::Error, String)> {
    let mut log = vec![0u8; LOG];
    let mut load = Load {
        program_type: BPF_PROG_TYPE_TRACING,
        instructions: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        first: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        attach_type: when as u32,
        attach_function: function,
        attach_program: descriptor(&program),
        ..Load::default()
    };
    let loaded = bpf(BPF_PROG_LOAD, &load).or_else(|_| {
        (load.log_level, load.log_size, load.log) =
            (1, u32::try_from(LOG).unwrap_or(0), log.as_mut_ptr() as u64);
        bpf(BPF_PROG_LOAD, &load)
    });
    match loaded {
        // SAFETY: the kernel just gave this descriptor to us alone.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) => {
            let said = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
            let lines: Vec<_> = said.lines().collect();
            let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join("\n");
            Err((error, last))
        }
    }
}

/// Has a program run from now on, for as long as what is returned is open.
///
/// # Errors
/// The kernel's.
pub(crate) fn attach_tracing(program: &OwnedFd) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Open {
        name: u64,
        program: u32,
        pad: u32,
    }
    let fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &Open { name: 0, program: descriptor(program), pad: 0 })?;
    // SAFETY: the kernel just gave this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// BTF that is in the kernel.
///
/// # Errors
/// The kernel's: CAP_SYS_ADMIN is needed.
pub(crate) fn btf(id: u32) -> io::Result<Vec<u8>> {
    #[repr(C)]
    struct Id {
        id: u32,
        pad: [u32; 2],
    }
    #[repr(C)]
    #[derive(Default)]
    struct BtfInfo {
        data: u64,
        size: u32,
        id: u32,
    }
    let fd = bpf(BPF_BTF_GET_FD_BY_ID, &Id { id, pad: [0; 2] })?;
    // SAFETY: the kernel just gave this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = BtfInfo::default();
    let read = |info: &mut BtfInfo| {
        let size = u32::try_from(size_of::<BtfInfo>()).unwrap_or(0);
        let fd = u32::try_from(fd.as_fd().as_raw_fd()).unwrap_or(u32::MAX);
        bpf(BPF_OBJ_GET_INFO_BY_FD, &Info { fd, size, info: (&raw mut *info) as u64 })
    };
    read(&mut info)?;
    let mut data = vec![0u8; usize::try_from(info.size).unwrap_or(0)];
    info.data = data.as_mut_ptr() as u64;
    read(&mut info)?;
    Ok(data)
}
