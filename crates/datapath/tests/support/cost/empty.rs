//! A program that does nothing.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::programs::SchedClassifier;

/// `return 0`, written out: no source is needed for that.
pub fn empty(bpffs: &Path) -> SchedClassifier {
    const PROG_LOAD: libc::c_int = 5;
    const OBJ_PIN: libc::c_int = 6;
    const SCHED_CLS: u32 = 3;
    /// `r0 = 0; exit`
    const CODE: [u64; 2] = [0xb7, 0x95];

    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: *const u64,
        license: *const libc::c_char,
    }

    #[repr(C)]
    struct Pin {
        path: *const libc::c_char,
        fd: i32,
        flags: u32,
    }

    fn bpf<T>(command: libc::c_int, attributes: &T) -> i32 {
        // SAFETY: the beginning of the kernel's union for this command, and its length.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
        assert!(result >= 0, "bpf({command}): {}", io::Error::last_os_error());
        result as i32
    }

    let load = Load { kind: SCHED_CLS, count: 2, code: CODE.as_ptr(), license: c"GPL".as_ptr() };
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(bpf(PROG_LOAD, &load)) };
    let path = bpffs.join("empty");
    let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    bpf(OBJ_PIN, &Pin { path: text.as_ptr(), fd: File::from(program).as_raw_fd(), flags: 0 });
    SchedClassifier::from_pin(path).unwrap()
}
