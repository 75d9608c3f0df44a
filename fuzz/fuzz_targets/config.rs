//! The network configuration on stdin, for every command, up to what would be made of it.

#![no_main]

use cni::{CniResult, Ip, NetworkConfig, document};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use midonet_kube_cni::plan::Plan;
use midonet_kube_cni::request::Request;
use midonet_kube_fuzz::{check_error, check_plan, check_result, edit, environment};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    edit::mutate(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let configuration = match document(data.to_vec()) {
        Ok(configuration) => configuration,
        Err(error) => return check_error(&error),
    };
    for command in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
        let env = environment(command);
        if let Err(error) = NetworkConfig::parse(&configuration, env.command) {
            check_error(&error);
        }
        let request = match Request::read(env, configuration.clone()) {
            Ok(request) => request,
            Err(error) => {
                check_error(&error);
                continue;
            }
        };
        if let Some(previous) = &request.conf.prev_result {
            check_result(previous);
            if let Err(error) = Plan::of_result(&request, previous) {
                check_error(&error);
            }
        }
        let ip =
            |text: &str| Ip { interface: None, address: text.parse().expect("an address"), gateway: None };
        let ips = vec![ip("10.0.0.3/29"), ip("fd00::3/125")];
        check_plan(&request, CniResult { ips, ..CniResult::default() });
    }
    if let Err(error) = ipam::Config::read(&configuration, "") {
        check_error(&error.into());
    }
});
