use serde_json::{Value, json};

use super::*;

fn parse(value: &Value, args: &str) -> Result<Config, Error> {
    Config::read(&Document::parse(value.to_string().into()).unwrap(), args)
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

#[test]
fn all_sources_of_ranges_in_host_locals_order() {
    let config = parse(
        &json!({
            "cniVersion": "1.1.0", "name": "net", "type": "x",
            "runtimeConfig": {"ipRanges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.0.1.0/24"}]], "ips": null},
            "ipam": {
                "type": "host-local", "SUBNET": "10.0.2.0/24", "rangestart": "10.0.2.9", "dataDir": "",
                "ranges": [[{"subnet": "fd00::/64", "rangeEnd": "fd00::9"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::7", "priority": 5}],
            },
        }),
        "",
    )
    .unwrap();
    let want = ["10.0.0.1-10.0.0.254,10.0.1.1-10.0.1.254", "10.0.2.9-10.0.2.254", "fd00::1-fd00::9"];
    assert_eq!(texts(&config.ranges), want);
    assert_eq!(config.directory, PathBuf::from("/var/lib/cni/networks/net"));
    let mut route = Route::to("fd01::/64".parse().unwrap());
    route.gw = Some("fd00::7".parse().unwrap());
    route.priority = Some(5);
    assert_eq!(config.routes, [Route::to("0.0.0.0/0".parse().unwrap()), route]);
}

#[test]
fn all_sources_of_requested_addresses() {
    let config = parse(
        &json!({
            "cniVersion": "1.0.0", "name": "net",
            "args": {"cni": {"ips": ["10.0.0.6/24", "fd00::6"]}},
            "runtimeConfig": {"ips": ["10.0.0.7/24", "10.0.0.5", "::ffff:10.0.0.8"]},
            "ipam": {"subnet": "10.0.0.0/24", "dataDir": "/run/x"},
        }),
        "IP=10.0.0.5",
    )
    .unwrap();
    assert_eq!(texts(&config.requested), ["10.0.0.5", "10.0.0.6", "fd00::6", "10.0.0.7", "10.0.0.8"]);
    assert_eq!(config.directory, PathBuf::from("/run/x/net"));
}

#[test]
fn refusals() {
    let ipam = |ipam: Value| json!({"cniVersion": "1.0.0", "name": "net", "ipam": ipam});
    let good = json!({"subnet": "10.0.0.0/24"});
    for (value, args, code, want) in [
        (json!({"name": "net"}), "", 7, "ipam: missing"),
        (ipam(json!("x")), "", 7, "ipam: must be an object, is a string"),
        (ipam(json!({})), "", 7, "no IP ranges specified"),
        (ipam(json!({"ranges": [[]]})), "", 7, "invalid range set 0: empty range set"),
        (ipam(json!({"ranges": [{"subnet": "10.0.0.0/24"}]})), "", 7, "ipam.ranges[0]: must be a list"),
        (
            ipam(json!({"subnet": "10.0.0.0/24", "ranges": [[{"subnet": "10.0.0.0/16"}]]})),
            "",
            7,
            "range set 0 overlaps with 1",
        ),
        (
            ipam(json!({"ranges": [[{"subnet": "10.0.0.0/99"}]]})),
            "",
            7,
            "invalid range set 0: ipam.ranges[0][0].subnet: \"10.0.0.0/99\"",
        ),
        (json!({"name": "../up", "ipam": good}), "", 7, "name: must be a network's name"),
        (ipam(good.clone()), "IP=10.0.0", 4, "CNI_ARGS: IP: \"10.0.0\" is no IP address"),
        (ipam(good.clone()), "FOO=1", 4, "unknown args FOO"),
        (
            json!({"cniVersion": "0.2.0", "name": "net",
                "ipam": {"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.1.0/24"}]]}}),
            "",
            7,
            "CNI version 0.2.0 does not support more than 1 address per family",
        ),
    ] {
        let error = parse(&value, args).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(want), "{error}");
    }
}
