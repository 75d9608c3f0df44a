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
        let mut back = CniResult::read(&Node::root(&got)).unwrap();
        back.interfaces.iter_mut().for_each(|i| i.mtu = Some(1450));
        assert_eq!(back, result(), "{version}");
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
