//! A result of any version, as a configuration's prevResult or a plugin's answer has it.

#![no_main]

use cni::CniResult;
use cni::json::Element;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use midonet_kube_fuzz::{check_result, edit};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let Ok(value) = serde_json::from_slice(data) else { return };
    match CniResult::read(&Element::root(&value)) {
        Ok(result) => check_result(&result),
        Err(invalid) => assert!(!invalid.key.is_empty() && !invalid.what.is_empty(), "{invalid:?}"),
    }
});
