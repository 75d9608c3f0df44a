//! The environment of a call, `CNI_ARGS` above all: lines of NAME=value.

#![no_main]

use cni::{CniResult, Environment, Ip, document};
use libfuzzer_sys::fuzz_target;
use midonet_kube_cni::plan::{Plan, veth_pair};
use midonet_kube_cni::request::Request;
use midonet_kube_fuzz::{CONFIGURATIONS, check_error};
use naming::alias::PortAlias;

fuzz_target!(|data: &[u8]| {
    // As the plugin's main reads its environment.
    let text = String::from_utf8_lossy(data);
    let variables: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.replace('\0', ""))
    };
    let env = match Environment::read(variable) {
        Ok(Some(env)) => env,
        Ok(None) => return,
        Err(error) => return check_error(&error),
    };
    let configuration = document(CONFIGURATIONS[0].into()).expect("it is JSON");
    if let Err(error) = ipam::Config::read(&configuration, &env.args) {
        check_error(&error.into());
    }
    match Request::read(env, configuration) {
        Ok(request) if request.env.command.has_attachment() => check(&request),
        Ok(_) => {}
        Err(error) => check_error(&error),
    }
});

/// No part of an attachment's name leads out of where it is used, and the kernel's record of it is read as
/// it was written.
fn check(request: &Request) {
    let env = &request.env;
    for word in [&env.container_id, &env.ifname, &request.pod.namespace, &request.pod.name] {
        assert!(!word.is_empty() && !word.contains('/') && word != "..", "{word:?}");
    }
    assert!(env.ifname.len() <= 15, "{:?}", env.ifname);
    let ips =
        vec![Ip { interface: None, address: "10.0.0.3/29".parse().expect("an address"), gateway: None }];
    let allocation = CniResult { ips, ..CniResult::default() };
    if let Err(error) = veth_pair(request).and_then(|pair| Plan::new(request, pair, allocation)) {
        return check_error(&error);
    }
    let (alias, text) = (request.alias(), request.alias().encode());
    let read = PortAlias::parse(&text).unwrap_or_else(|| panic!("{text:?} is not read: {alias:?}"));
    assert_eq!((&read.container_id, &read.ifname), (&alias.container_id, &alias.ifname));
    if read.is_whole() && !alias.pod.name.ends_with('~') {
        assert_eq!(read.pod, alias.pod);
    }
}
