//! The CNI plugin `midonet-kube-cni`, which under the name `midonet-kube-ipam` is its allocator alone.

use std::io::Write;
use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;
use midonet_kube_cni::{Output, Role, run};

/// For a program that ends after milliseconds: musl's own gives every page back to the kernel at once.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let Output { stdout, stderr, failed } =
        run(Role::of_program(std::env::args_os().next().as_deref()), variable);
    let written = std::io::stdout().write_all(stdout.as_bytes());
    let mut complaints = std::io::stderr();
    let _ = complaints.write_all(stderr.as_bytes());
    if let Err(error) = &written {
        let _ = writeln!(complaints, "midonet-kube-cni: cannot write the result to standard output: {error}");
    }
    if failed || written.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
