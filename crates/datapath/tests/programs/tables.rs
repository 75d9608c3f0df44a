//! Ports, routes and nodes' addresses as the tables have them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::support::*;
use datapath::{Datapath, Error, Options, OwnAddress, Port, Route};
use testkit::packet;

#[test]
fn binding_replaces_and_releasing_removes() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let both = port(7, &["10.0.0.7", "fd00::7"]);
        datapath.bind(&both).unwrap();
        datapath.bind(&both).unwrap();
        assert_eq!(datapath.ports().unwrap(), std::slice::from_ref(&both));

        // The interface gets other addresses.
        datapath.bind(&port(7, &["10.0.0.8", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["10.0.0.8", "fd00::7"])]);
        // One address goes to another interface, then the other.
        datapath.bind(&port(9, &["10.0.0.8"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"]), port(9, &["10.0.0.8"])]);
        datapath.bind(&port(9, &["10.0.0.8", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(9, &["10.0.0.8", "fd00::7"])]);

        // The former owner's release takes nothing from the new one.
        datapath.release(7).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(9, &["10.0.0.8", "fd00::7"])]);
        datapath.release(9).unwrap();
        datapath.release(9).unwrap();
        assert_eq!(datapath.ports().unwrap(), []);
    });
}

#[test]
fn nobody_gets_the_gateways_address() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let before = node.datapath.ports().unwrap();
        for f in families() {
            let port = Port { mac: A_MAC, addresses: vec![f.a, f.gateway], ..port(node.a, &[]) };
            let error = node.datapath.bind(&port).unwrap_err().to_string();
            assert!(error.contains(&format!("{} is the gateway's", f.gateway)), "{error}");
        }
        assert_eq!(node.datapath.ports().unwrap(), before);
    });
}

/// A crash between the two maps: the record names an address that is not there, or is another's.
#[test]
fn half_a_port_is_not_read_back_as_a_whole_one() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        datapath.bind(&port(7, &["10.0.0.7", "fd00::7"])).unwrap();
        let maps = options(bpffs).pin_dir.join("maps");
        let endpoints = aya::maps::MapData::from_pin(maps::map_pin(&maps, "endpoints")).unwrap();
        let mut endpoints: aya::maps::HashMap<_, [u8; 16], [u8; 24]> =
            aya::maps::Map::HashMap(endpoints).try_into().unwrap();
        let key = "::ffff:10.0.0.7".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let mut stolen = endpoints.get(&key, 0).unwrap();
        stolen[..4].copy_from_slice(&9u32.to_ne_bytes());
        endpoints.insert(key, stolen, 0).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"])]);
        endpoints.remove(&key).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["fd00::7"])]);
        datapath.bind(&port(7, &["10.0.0.7", "fd00::7"])).unwrap();
        assert_eq!(datapath.ports().unwrap(), [port(7, &["10.0.0.7", "fd00::7"])]);
    });
}

/// The record alone would not show it: an address that was given away or released sends nothing.
#[test]
fn what_is_released_passes_no_more() {
    sandbox(|bpffs| {
        let mut node = Node::new(bpffs);
        let program = node.program("from_endpoint");
        for f in families() {
            let to_b = packet::udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
            assert_eq!(node.process(&program, node.a, 0, &to_b).reason, "local");
        }
        let a = Port { mac: A_MAC, addresses: vec![families()[1].a], ..port(node.a, &[]) };
        node.datapath.bind(&a).unwrap();
        let reasons = |node: &Node| {
            families().map(|f| {
                let frame = packet::udp(f.a, f.b, b"x").frame(GATEWAY_MAC, A_MAC);
                node.process(&program, node.a, 0, &frame).reason
            })
        };
        assert_eq!(reasons(&node), ["source_ip", "local"]);
        node.datapath.release(node.b).unwrap();
        assert_eq!(reasons(&node), ["source_ip", "no_endpoint"]);
        node.datapath.release(node.a).unwrap();
        assert_eq!(reasons(&node), ["port_not_bound", "port_not_bound"]);
    });
}

#[test]
fn full_maps_name_the_setting() {
    sandbox(|bpffs| {
        let options = Options { max_endpoints: 2, max_routes: 2, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let address = |n: u32, m: u32| format!("10.0.{n}.{m}");
        for n in 1..=2 {
            let all: Vec<_> = (1..=4).map(|m| address(n, m)).collect();
            datapath.bind(&port(n, &all.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        }
        let before = datapath.ports().unwrap();
        let error = datapath.bind(&port(3, &["10.0.3.1", "10.0.1.1"])).unwrap_err().to_string();
        assert!(error.contains("interface 3") && error.contains("--max-pods"), "{error}");
        assert_eq!(datapath.ports().unwrap(), before, "nothing is lost");

        let routes: Vec<ipnet::IpNet> = ["10.1.0.0/24", "10.2.0.0/24"].map(|p| p.parse().unwrap()).to_vec();
        for prefix in &routes {
            datapath.set_route(*prefix, Route::Local).unwrap();
        }
        datapath.set_route(routes[0], Route::Unreachable).unwrap();
        let error = datapath.set_route("10.3.0.0/24".parse().unwrap(), Route::Local).unwrap_err().to_string();
        assert!(error.contains("10.3.0.0/24") && error.contains("--max-nodes"), "{error}");
        datapath.remove_route(routes[0]).unwrap();
        datapath.remove_route(routes[0]).unwrap();
        assert_eq!(datapath.routes().unwrap(), BTreeMap::from([(routes[1], Route::Local)]));
    });
}

#[test]
fn routes_that_cannot_be_right_are_refused() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let mut refused =
            |prefix: &str, route| datapath.set_route(prefix.parse().unwrap(), route).unwrap_err().to_string();
        let end: IpAddr = "0.0.0.0".parse().unwrap();
        assert!(refused("10.1.0.0/24", Route::Tunnel(end)).contains("0.0.0.0"));
        assert!(refused("::/0", Route::Local).contains("IPv4"));
        assert_eq!(datapath.routes().unwrap(), BTreeMap::new());
    });
}

/// The agent hands it from thread to thread.
#[test]
fn it_can_be_sent() {
    fn send<T: Send>() {}
    send::<Datapath>();
}

/// One bad entry, or one too many, costs no other its place.
#[test]
fn each_entry_has_a_result_of_its_own() {
    sandbox(|bpffs| {
        let options = Options { max_routes: 2, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let [a, b, c] = ["10.1.0.0/24", "10.2.0.0/24", "fd00:3::/64"].map(|p| p.parse().unwrap());
        let end = |text: &str| Route::Tunnel(text.parse().unwrap());
        let results =
            [(a, end("0.0.0.0")), (b, end(PEER)), (c, Route::Local), (a, Route::Local), (b, end(PEER6))]
                .map(|(prefix, route)| datapath.set_route(prefix, route));
        let [Err(Error::Route { .. }), Ok(()), Ok(()), Err(Error::Full { .. }), Ok(())] = results else {
            panic!("{results:?}")
        };
        assert_eq!(datapath.routes().unwrap(), BTreeMap::from([(b, end(PEER6)), (c, Route::Local)]));

        let nodes: Vec<IpAddr> = (1..=5).map(|host| IpAddr::from([192, 0, 2, host])).collect();
        let results: Vec<_> = nodes.iter().map(|node| datapath.set_node(*node, Some(nodes[0]))).collect();
        let [Ok(()), Ok(()), Ok(()), Ok(()), Err(Error::Full { setting: "--max-nodes", .. })] = results[..]
        else {
            panic!("{results:?}")
        };
        datapath.remove_node(nodes[0]).unwrap();
        datapath.set_node(nodes[4], None).unwrap();
        assert!(datapath.has_node(nodes[4], None).unwrap());
        assert!(!datapath.has_node(nodes[0], Some(nodes[0])).unwrap());
    });
}

#[test]
fn this_nodes_own_addresses_are_kept_across_a_restart() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (served, own) = (OwnAddress { node_ports: true }, OwnAddress { node_ports: false });
        for (text, value) in
            [("192.0.2.1", served), ("2001:db8::1", served), ("198.51.100.1", own), ("2001:db8::2", own)]
        {
            datapath.set_address(address(text), value).unwrap();
        }
        datapath.set_address(address("2001:db8::2"), served).unwrap();
        datapath.remove_address(address("198.51.100.1")).unwrap();
        datapath.remove_address(address("198.51.100.1")).unwrap();
        for wrong in ["0.0.0.0", "::", "255.255.255.255", "ff02::1"] {
            let error = datapath.set_address(address(wrong), own).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("unicast"), "{error}");
        }
        drop(datapath);
        let left = Datapath::open(&options(bpffs)).unwrap().addresses().unwrap();
        let want = ["192.0.2.1", "2001:db8::1", "2001:db8::2"].map(|text| (address(text), served));
        assert_eq!(left, want.into());
    });
}
