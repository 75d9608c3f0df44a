//! What others change in the maps.

use super::*;

/// Whatever somebody else changes is noticed and put back where it was.
#[test]
fn what_others_change_is_noticed_and_restored() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let key = key("all", Protocol::Sctp, Family::V6);
        let row = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V6, 5)), 443)],
            source_ranges: Some([ipnet::IpNet::from(address(Family::V6, 7))].into()),
            ..cluster_ip(Family::V6, 1, backends(Family::V6, 0..35))
        };
        services.set(&key, &row).unwrap();
        for name in ["services", "backends", "choices", "source_ranges", "served_ports"] {
            let map = read.map(name);
            let (one, value) = map
                .entries()
                .unwrap()
                .into_iter()
                .find(|(_, value)| value.iter().any(|byte| *byte > 0))
                .unwrap();
            let other: Vec<u8> = value.iter().map(|byte| !byte).collect();
            assert!(services.is_whole(&key).unwrap(), "{name}");
            map.set(&one, &other).unwrap();
            assert!(!services.is_whole(&key).unwrap(), "{name}");
            services.restore(&key).unwrap();
            assert!(services.is_whole(&key).unwrap(), "{name}");
            assert_eq!(map.get(&one).unwrap(), Some(value), "{name}");
        }
    });
}
