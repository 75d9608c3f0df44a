//! What an executed IPAM plugin answers to ADD: the input's first byte is its exit status. The first answer,
//! and of the others every 1,000th, really comes from a program.

#![no_main]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cni::json::Element;
use cni::{Call, CniResult, document};
use ipam::Ipam;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use midonet_kube_cni::request::Request;
use midonet_kube_fuzz::{CONFIGURATIONS, check_error, check_plan, edit, environment};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match data.split_first_mut() {
        Some((_, answer)) if size > 1 => 1 + edit::mutate(answer, size - 1, max_size - 1, seed),
        _ => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
});

fuzz_target!(|data: &[u8]| {
    let Some((how, answer)) = data.split_first() else { return };
    let value = serde_json::from_slice(answer);
    let read = value.ok().and_then(|value| CniResult::read(&Element::root(&value)).ok());
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
        check_execution(*how == 0, answer, read.as_ref());
    }
    if let Some(allocation) = read {
        for configuration in CONFIGURATIONS {
            let configuration = document(configuration.into()).expect("it is JSON");
            let request = Request::read(environment("ADD"), configuration);
            check_plan(&request.expect("the configuration is good"), allocation.clone());
        }
    }
});

fn check_execution(succeeds: bool, answer: &[u8], read: Option<&CniResult>) {
    let plugins = plugins();
    fs::write(plugins.join("answer"), answer).expect("write the answer");
    let name = if succeeds { "succeeds" } else { "fails" };
    let call = Call {
        container_id: "c1",
        netns: None,
        ifname: "eth0",
        args: "",
        path: plugins.to_str().expect("a path"),
        config: &document(CONFIGURATIONS[0].into()).expect("it is JSON"),
    };
    match Ipam::of_type(name).add(&call) {
        Ok(allocation) => assert_eq!((name, Some(&allocation)), ("succeeds", read)),
        Err(error) => check_error(&error.into()),
    }
}

/// Where two programs are that answer what the file beside them holds.
fn plugins() -> &'static PathBuf {
    static PLUGINS: OnceLock<PathBuf> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        // The fuzzer ends without unwinding: in a place that a boot or the next run clears.
        let directory = std::env::temp_dir().join(format!("midonet-kube-fuzz-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("make a directory for plugins");
        for (name, status) in [("succeeds", 0), ("fails", 1)] {
            let program = directory.join(name);
            fs::write(&program, format!("#!/bin/sh\ncat ${{0%/*}}/answer\nexit {status}\n"))
                .expect("write a plugin");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("let it be run");
        }
        directory
    })
}
