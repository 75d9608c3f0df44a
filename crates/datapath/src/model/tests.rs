//! What is refused, and why.

use super::*;

fn config() -> NodeConfig {
    NodeConfig {
        gateways: vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        gateway_mac: [2; 6],
        overlay_mac: [4; 6],
        node_ifindex: 1,
        node_mac: [6; 6],
        mido_ifindex: 2,
        overlay_ifindex: 3,
        vni: 1,
        overlay_mtu: 1450,
        tunnel_port: 4789,
        shaper: Some(Shaper { entry: 8, exit: 9 }),
        tunnel_address4: Some("192.0.2.1".parse().unwrap()),
        tunnel_address6: Some("2001:db8::1".parse().unwrap()),
        direct: true,
        node_address4: Some("192.0.2.1".parse().unwrap()),
        node_address6: Some("2001:db8::1".parse().unwrap()),
        source_ports: 20_000..=29_999,
        services: true,
    }
}

#[test]
fn a_configuration_is_written_as_it_is() {
    let written = layout::Config::try_from(&config()).unwrap();
    assert_eq!(IpAddr::from(written.gateway4), config().gateways[0]);
    assert_eq!(IpAddr::from(written.gateway6), config().gateways[1]);
    assert_eq!((written.node_ifindex, written.mido_ifindex, written.overlay_ifindex), (1, 2, 3));
    assert_eq!((written.gateway_mac, written.overlay_mac, written.node_mac), ([2; 6], [4; 6], [6; 6]));
    assert_eq!((written.vni, written.overlay_mtu), (1, 1450));
    assert_eq!((written.shaper_ifindex, written.shaped_ifindex), (8, 9));
    assert_eq!((written.tunnel_address4, written.tunnel_port), ([192, 0, 2, 1], [0x12, 0xb5]));
    assert_eq!(IpAddr::from(written.tunnel_address6), "2001:db8::1".parse::<IpAddr>().unwrap());
    assert_eq!(written.direct, 1);
    let none = NodeConfig { tunnel_address4: None, tunnel_address6: None, direct: false, ..config() };
    let written = layout::Config::try_from(&none).unwrap();
    assert_eq!((written.tunnel_address4, written.direct), ([0; 4], 0));
    assert_eq!(written.tunnel_address6, layout::Address::default());

    let only6 = NodeConfig { gateways: vec!["fd00::1".parse().unwrap()], ..config() };
    assert_eq!(layout::Config::try_from(&only6).unwrap().gateway4, layout::Address::default());
}

#[test]
fn a_configuration_that_cannot_be_right_is_refused() {
    let gateways = |list: &[&str]| NodeConfig {
        gateways: list.iter().map(|text| text.parse().unwrap()).collect(),
        ..config()
    };
    for (config, word) in [
        (gateways(&[]), "no gateway"),
        (gateways(&["10.1.0.1", "10.2.0.1"]), "two gateways"),
        (gateways(&["224.0.0.1"]), "unicast"),
        (NodeConfig { node_ifindex: 0, ..config() }, "midokube-node"),
        (NodeConfig { mido_ifindex: 0, ..config() }, "midokube-mido"),
        (NodeConfig { overlay_ifindex: 0, ..config() }, "midokube-vxlan"),
        (NodeConfig { gateway_mac: [0; 6], ..config() }, "gateway's MAC"),
        (NodeConfig { node_mac: [1, 0, 0, 0, 0, 0], ..config() }, "node's MAC"),
        (NodeConfig { vni: 1 << 24, ..config() }, "24 bits"),
        (NodeConfig { overlay_mtu: 1279, ..config() }, "1280"),
        (NodeConfig { overlay_mtu: 70_000, ..config() }, "65535"),
        (NodeConfig { shaper: Some(Shaper { entry: 8, exit: 0 }), ..config() }, "end of the shaper"),
        (NodeConfig { tunnel_port: 0, ..config() }, "UDP port"),
        (NodeConfig { tunnel_address4: Some("224.0.0.1".parse().unwrap()), ..config() }, "224.0.0.1"),
        (NodeConfig { tunnel_address6: Some("ff02::1".parse().unwrap()), ..config() }, "ff02::1"),
        (NodeConfig { tunnel_address4: None, ..config() }, "no own end"),
    ] {
        let error = layout::Config::try_from(&config).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let small = NodeConfig { overlay_mtu: 600, ..gateways(&["10.1.0.1"]) };
    assert!(layout::Config::try_from(&small).is_ok(), "IPv4 alone gets along with less");
}

fn port(addresses: &[&str]) -> Port {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Port { ifindex: 7, mac: [2; 6], addresses, role: Role::Pod, limits: Limits::default(), set: 0 }
}

#[test]
fn a_port_comes_back() {
    for role in [Role::Pod, Role::Node] {
        let port = Port { role, ..port(&["10.1.0.3", "fd00::3"]) };
        assert_eq!(
            layout::Port::try_from(&port).unwrap().to_port(7, layout::Limit::default(), 0).unwrap(),
            port
        );
    }
    let twice = layout::Port::try_from(&port(&["10.1.0.3", "10.1.0.3"])).unwrap();
    assert_eq!(twice.to_port(7, layout::Limit::default(), 0).unwrap(), port(&["10.1.0.3"]));
    let foreign = layout::Port { role: 9, ..twice };
    assert!(
        foreign
            .to_port(7, layout::Limit::default(), 0)
            .unwrap_err()
            .to_string()
            .contains("role 9 of interface 7")
    );
}

#[test]
fn a_port_can_lose_an_address() {
    let both = layout::Port::try_from(&port(&["10.1.0.3", "fd00::3"])).unwrap();
    let less = both.without(both.addresses()[0]);
    assert_eq!(less.to_port(7, layout::Limit::default(), 0).unwrap(), port(&["fd00::3"]));
    assert_eq!(less.without(less.addresses()[0]).count, 0);
    assert_eq!(both.without(layout::Address::default()), both);
}

#[test]
fn a_port_that_cannot_be_right_is_refused() {
    for (port, word) in [
        (port(&[]), "no address"),
        (port(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]), "5 addresses, and 4"),
        (port(&["0.0.0.0"]), "0.0.0.0"),
        (port(&["255.255.255.255"]), "255.255.255.255"),
        (port(&["::"]), "::"),
        (port(&["ff02::1"]), "ff02::1"),
        (port(&["127.0.0.1"]), "127.0.0.1"),
        (Port { ifindex: 0, ..port(&["10.0.0.1"]) }, "never 0"),
        (Port { mac: [0xff; 6], ..port(&["10.0.0.1"]) }, "MAC"),
        (
            Port { limits: Limits { class: 7, ..Limits::default() }, ..port(&["10.0.0.1"]) },
            "a class go together",
        ),
    ] {
        let error = layout::Port::try_from(&port).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
