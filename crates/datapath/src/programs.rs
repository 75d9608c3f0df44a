//! Loading the programs.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Ebpf;
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier};

use crate::error::{Error, Result, chain};

pub(crate) const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/midokube.bpf.o"));
pub(crate) const FROM_ENDPOINT: &str = "from_endpoint";
pub(crate) const FROM_OVERLAY: &str = "from_overlay";
/// The name of the program at an uplink's ingress: it removes VXLAN headers, and takes what is for a Service.
pub const FROM_UPLINK: &str = "from_uplink";
/// The name of the program at an uplink's egress: it translates back what this node's processes answer.
pub const TO_UPLINK: &str = "to_uplink";
pub(crate) const PROGRAMS: [&str; 4] = [FROM_ENDPOINT, FROM_OVERLAY, FROM_UPLINK, TO_UPLINK];

/// How often a program is loaded whose verification a signal interrupted. As often as libbpf does.
const LOADS: usize = 5;

/// A program for a classifier.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'static str,
    /// The kernel's id of it, which the classifier tells, too.
    pub id: u32,
    /// The program.
    pub fd: BorrowedFd<'a>,
}

/// A program as a classifier takes it.
pub(crate) fn classifier<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<Program<'a>> {
    let fd = program(ebpf, name)?.fd().map_err(|error| load_error(name, &error))?.as_fd();
    Ok(Program { name, id: info(ebpf, name)?.id(), fd })
}

/// What the kernel says of a program.
pub(crate) fn info(ebpf: &Ebpf, name: &'static str) -> Result<ProgramInfo> {
    program(ebpf, name)?.info().map_err(|error| load_error(name, &error))
}

fn program<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a SchedClassifier> {
    let program = ebpf.program(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| load_error(name, &error))
}

pub(crate) fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| load_error(name, &error))
}

/// Loads a program. A signal in the middle of its verification makes the kernel give up (EAGAIN): it is asked again.
pub(crate) fn load<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier> {
    let program = program_mut(ebpf, name)?;
    let mut loaded = program.load();
    for _ in 1..LOADS {
        let interrupted = matches!(&loaded, Err(ProgramError::LoadError { io_error, .. })
            if io_error.raw_os_error() == Some(libc::EAGAIN));
        if !interrupted {
            break;
        }
        loaded = program.load();
    }
    loaded.map_err(|error| load_error(name, &error))?;
    Ok(program)
}

fn missing(what: &'static str) -> Error {
    Error::Load { what, reason: "it is missing".into() }
}

fn load_error(what: &'static str, error: &dyn std::error::Error) -> Error {
    let reason = chain(error);
    tracing::debug!(what, reason, "the kernel refused a program");
    // The verifier's log is thousands of lines; what it stumbled over stands at the end.
    let lines: Vec<_> = reason.lines().collect();
    let reason = match lines.as_slice() {
        [first, .., a, b, c, d, e, f] => [*first, "...", a, b, c, d, e, f].join("\n"),
        _ => reason,
    };
    Error::Load { what, reason }
}
