//! What the kernel's verifier goes through for each program.

use crate::support;
use aya::programs::SchedClassifier;
use datapath::records::Recording;
use datapath::{Datapath, Options};

/// The kernel refuses a program at a million. Other kernels and compilers need other numbers: the limit leaves space for that.
const MOST: u32 = 250_000;

#[test]
fn the_verifier_is_far_from_its_limit() {
    support::sandbox(|bpffs| {
        // With all that can be asked for, and with the least.
        for recording in [Some(Recording { most: 16, events: 100 }), None] {
            let options = Options { recording, ..support::options(bpffs) };
            let _datapath = Datapath::open(&options).unwrap();
            for name in ["from_endpoint", "from_overlay", "from_uplink", "to_uplink"] {
                let program = SchedClassifier::from_pin(options.pin_dir.join("programs").join(name)).unwrap();
                let verified =
                    program.info().unwrap().verified_instruction_count().expect("Linux 5.16 or later");
                println!("{name}: {verified} instructions verified, {recording:?}");
                assert!(verified < MOST, "{name}: {verified} instructions verified");
            }
        }
    });
}
