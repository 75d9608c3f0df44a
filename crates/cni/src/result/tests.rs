use super::*;

fn result() -> CniResult {
    let interface = |name: &str, sandbox: &str| Interface {
        name: name.into(),
        mac: "02:00:00:00:00:01".into(),
        mtu: Some(1450),
        sandbox: sandbox.into(),
        ..Interface::default()
    };
    let ip = |address: &str, gateway: &str| Ip {
        interface: Some(1),
        address: address.parse().unwrap(),
        gateway: Some(gateway.parse().unwrap()),
    };
    CniResult {
        interfaces: vec![interface("mido0", ""), interface("eth0", "/run/netns/x")],
        ips: vec![ip("10.0.0.5/24", "10.0.0.1"), ip("fd00::5/64", "fd00::1")],
        routes: vec![Route::to("0.0.0.0/0".parse().unwrap())],
        dns: Dns::default(),
    }
}

fn every_field(dst: &str, gw: &str) -> Route {
    Route {
        gw: gw.parse().ok(),
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(7),
        table: Some(0),
        scope: Some(0),
        ..Route::to(dst.parse().unwrap())
    }
}

#[test]
fn the_shape_of_every_version() {
    let new = json!({
        "interfaces": [
            {"name": "mido0", "mac": "02:00:00:00:00:01", "mtu": 1450},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1450, "sandbox": "/run/netns/x"},
        ],
        "ips": [
            {"interface": 1, "address": "10.0.0.5/24", "gateway": "10.0.0.1"},
            {"interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let old = json!({
        "interfaces": [
            {"name": "mido0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/x"},
        ],
        "ips": [
            {"version": "4", "interface": 1, "address": "10.0.0.5/24", "gateway": "10.0.0.1"},
            {"version": "6", "interface": 1, "address": "fd00::5/64", "gateway": "fd00::1"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    });
    for (version, shape) in [
        (Version::V0_3_0, &old),
        (Version::V0_3_1, &old),
        (Version::V0_4_0, &old),
        (Version::V1_0_0, &new),
        (Version::V1_1_0, &new),
    ] {
        let mut want = shape.clone();
        want["cniVersion"] = json!(version.as_str());
        let got = result().to_json(version);
        assert_eq!(got, want, "{version}");
        let mut back = CniResult::read(&Element::root(&got)).unwrap();
        back.interfaces.iter_mut().for_each(|i| i.mtu = Some(1450));
        assert_eq!(back, result(), "{version}");
    }
}

#[test]
fn before_0_3_0_there_is_one_address_of_each_family() {
    let mut result = result();
    let third = Ip { interface: None, address: "10.1.0.5/24".parse().unwrap(), gateway: None };
    result.ips.push(third);
    result.routes = vec![every_field("10.2.0.0/16", "10.0.0.9"), every_field("::/0", "")];
    result.dns.search.push("a.test".into());
    let v4 = json!({
        "ip": "10.0.0.5/24", "gateway": "10.0.0.1", "routes": [{"dst": "10.2.0.0/16", "gw": "10.0.0.9"}],
    });
    let v6 = json!({"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]});
    let dns = json!({"search": ["a.test"]});
    for version in [Version::V0_1_0, Version::V0_2_0] {
        let got = result.to_json(version);
        assert_eq!(got, json!({"cniVersion": version.as_str(), "ip4": v4, "ip6": v6, "dns": dns}));
        // Interfaces, more addresses and what routes have beside a next hop: none of that is kept.
        let mut back = CniResult {
            interfaces: vec![],
            routes: result.routes.iter().map(|r| Route { gw: r.gw, ..Route::to(r.dst) }).collect(),
            ..result.clone()
        };
        back.ips.truncate(2);
        back.ips.iter_mut().for_each(|ip| ip.interface = None);
        assert_eq!(CniResult::read(&Element::root(&got)), Ok(back));
    }
    result.ips.remove(0);
    result.ips.truncate(1);
    let got = result.to_json(Version::V0_2_0);
    assert_eq!(got, json!({"cniVersion": "0.2.0", "ip6": v6, "dns": dns}), "IPv6 alone");
}

#[test]
fn since_0_3_0_routes_keep_all_they_have() {
    let result = CniResult { routes: vec![every_field("10.2.0.0/16", "10.0.0.9")], ..result() };
    let want = json!([{
        "dst": "10.2.0.0/16", "gw": "10.0.0.9", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 0, "scope": 0,
    }]);
    for version in Version::ALL.into_iter().filter(|version| *version >= Version::V0_3_0) {
        let got = result.to_json(version);
        assert_eq!(got["routes"], want, "{version}");
        assert_eq!(CniResult::read(&Element::root(&got)).unwrap().routes, result.routes);
    }
}

#[test]
fn an_ipam_result_has_no_interfaces() {
    let mut result = result();
    result.interfaces.clear();
    result.ips.truncate(1);
    result.ips[0].interface = None;
    result.dns.nameservers.push("10.0.0.53".into());
    assert_eq!(
        result.to_json(Version::V1_1_0),
        json!({
            "cniVersion": "1.1.0",
            "ips": [{"address": "10.0.0.5/24", "gateway": "10.0.0.1"}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.0.0.53"]},
        })
    );
}

#[test]
fn the_two_forms_of_a_result_mean_the_same() {
    let dns = json!({"nameservers": ["10.0.0.53"]});
    let old = json!({
        "cniVersion": "0.2.0",
        "ip4": {"ip": "10.0.0.2/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
        "ip6": {"ip": "fd00::2/64", "routes": [{"dst": "fd01::/64", "gw": "fd00::9"}]},
        "dns": dns,
    });
    let new = json!({
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::2/64"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "fd01::/64", "gw": "fd00::9"}],
        "dns": dns,
    });
    let read = |value: &Value| CniResult::read(&Element::root(value));
    assert_eq!(read(&old), read(&new));
    assert_eq!(read(&old).unwrap().ips.len(), 2);
    assert_eq!(read(&json!({"ip6": null, "ip4": null})), Ok(CniResult::default()));
    for (value, want) in [
        (json!({"ip4": {"gateway": "10.0.0.1"}}), "ip4.ip: missing"),
        (json!({"ip6": {"ip": "fd00::2/129"}}), "ip6.ip: \"fd00::2/129\""),
        (json!({"ips": [{"address": 1}]}), "ips[0].address: must be a string"),
    ] {
        let error = read(&value).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}
