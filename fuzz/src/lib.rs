//! What the fuzz targets share: changes of JSON documents, a file system of their own, and what holds of
//! every answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fault ends a fuzz target by panicking"
)]

pub mod edit;
pub mod sandbox;

use cni::{CniResult, Environment, Error, Version, code};
use midonet_kube_cni::plan::{Plan, veth_pair};
use midonet_kube_cni::request::Request;
use naming::pod_host_interface;
use serde_json::Value;

/// Network configurations to begin with.
pub const CONFIGURATIONS: [&str; 4] = [
    include_str!("../seeds/config/dual-1.1.0"),
    include_str!("../seeds/config/chained-1.0.0"),
    include_str!("../seeds/config/legacy-0.4.0"),
    include_str!("../seeds/config/gc-1.1.0"),
];

/// The variables of a usual call.
pub fn environment(command: &str) -> Environment {
    let variable = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => command,
            "CNI_CONTAINERID" => "c1",
            "CNI_NETNS" => "/var/run/netns/pod",
            "CNI_IFNAME" => "eth0",
            "CNI_ARGS" => "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
            "CNI_PATH" => "/opt/cni/bin",
            _ => "",
        };
        Some(value.to_owned())
    };
    Environment::read(variable).ok().flatten().expect("the variables are good")
}

/// An error that goes to a runtime says something, under a code that the specification knows or leaves
/// to plugins, and becomes JSON.
pub fn check_error(error: &Error) {
    assert!(error.code != 0 && error.code != code::INTERNAL && !error.msg.is_empty(), "{error:?}");
    assert_eq!(error.to_json(Version::NEWEST)["code"], error.code);
}

/// What becomes of an ADD that got these addresses: a plan whose parts fit, and a result in every version.
pub fn check_plan(request: &Request, allocation: CniResult) {
    let plan = match veth_pair(request).and_then(|pair| Plan::new(request, pair, allocation)) {
        Ok(plan) => plan,
        Err(error) => return check_error(&error),
    };
    let bind = plan.bind_request(7);
    assert!(bind.host_ifname.len() <= 15 && bind.host_ifname == pod_host_interface(&request.pod), "{bind:?}");
    assert!(bind.mac.parse::<naming::Mac>().is_ok(), "{bind:?}");
    assert!(!bind.addresses.is_empty(), "{bind:?}");
    for address in &bind.addresses {
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{bind:?}");
    }
    let result = plan.result("/var/run/netns/pod", request.conf.prev_result.as_ref());
    check_result(&result);
    // CHECK finds in that result what ADD put there.
    let own = plan.result("/var/run/netns/pod", None);
    if let Err(error) = Plan::of_result(request, &own) {
        panic!("CHECK does not know what ADD made: {error}: {own:?}");
    }
}

/// What a version writes is read as what it is and written as the same.
pub fn check_result(result: &CniResult) {
    for version in Version::ALL {
        let written = result.to_json(version);
        let text = written.to_string();
        let read: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let read = CniResult::read(&cni::json::Element::root(&read));
        let read = read.unwrap_or_else(|error| panic!("{text}: {error}"));
        if version >= Version::V1_0_0 {
            assert_eq!(read, *result, "{version}");
        }
        assert_eq!(read.to_json(version), written, "{version}");
    }
}
