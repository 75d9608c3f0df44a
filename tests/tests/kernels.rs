//! The core of `make test-kernels` as a test: the product under Debian's kernels.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_core_works_on_the_oldest_kernel_and_on_a_newer_one() {
    testkit::require_root();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/run");
    let tests = std::env::var("KERNEL_TESTS").unwrap_or_else(|_| "core".into());
    let status = Command::new(script).env("KERNEL_TESTS", tests).status().unwrap();
    assert!(status.success(), "tests/kernels/run ended with {status}: what failed is told above");
}
