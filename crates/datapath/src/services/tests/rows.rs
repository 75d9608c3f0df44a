//! Rows that come, change and go, and those that cannot be right.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::*;

#[test]
fn rows_are_in_the_maps_as_they_were_given() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let mut rows = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            for (protocol, host) in Protocol::ALL.into_iter().zip(1..) {
                let all = backends(family, [1, 2, 3]);
                let local =
                    Frontend { outside: Policy::Local, ..frontend(FrontendKind::NodePort, None, 30_000) };
                let port = ServicePort {
                    frontends: vec![
                        frontend(FrontendKind::ClusterIp, Some(address(family, host)), 80),
                        local,
                        frontend(FrontendKind::LoadBalancer, Some(address(family, 100 + host)), 80),
                        frontend(FrontendKind::ExternalIp, Some(address(family, 200 + host)), 8080),
                    ],
                    local: backends(family, [2]),
                    affinity: Some(10_800),
                    source_ranges: Some([ipnet::IpNet::from(address(family, 7))].into()),
                    ..cluster_ip(family, host, all)
                };
                rows.insert(key("all", protocol, family), port);
            }
        }
        let services = datapath.services();
        assert!(services.set_all(&rows).is_empty());
        check(&read, services, &rows);
        assert_eq!(read.used(), [6 * 4, 0, 6]);
        // Without changes nothing is written anywhere else.
        let before = read.services();
        assert!(services.set_all(&rows).is_empty());
        settle(services);
        assert_eq!(read.services(), before);
        // A change of what is no list writes no list.
        let one = rows.first_entry().unwrap().into_mut();
        one.affinity = None;
        one.refuse = true;
        let (lists, changed) = (read.used(), rows.first_key_value().unwrap());
        services.set(changed.0, changed.1).unwrap();
        let after = read.services();
        assert_eq!(after.iter().filter(|(key, value)| before[key] != **value).count(), 4);
        assert!(after.iter().all(|(key, value)| value.inside == before[key].inside));
        settle(services);
        assert_eq!(read.used(), lists);
        check(&read, services, &rows);
        for key in rows.keys() {
            services.remove(key).unwrap();
            services.remove(key).unwrap();
        }
        settle(services);
        assert_eq!((read.services(), read.used()), (BTreeMap::new(), [0; 3]));
        // Connections outlive their Service, and packets of those from outside are looked up at ports that have a bit.
        assert!(Protocol::ALL.into_iter().all(|protocol| read.is_served(protocol, 30_000)));
    });
}

/// One of two lists is read all the time while it changes: it is always one of the two.
#[test]
fn a_changing_list_is_never_half_of_it() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 16_384, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let read = Read::new(bpffs);
        for family in [Family::V4, Family::V6] {
            let key = key("changes", Protocol::Tcp, family);
            let lists = [backends(family, 0..10), backends(family, 5..12)];
            let rows = lists.clone().map(|list| cluster_ip(family, 1, list));
            let services = datapath.services();
            services.set(&key, &rows[0]).unwrap();
            // On a busy machine the reader is rarely fast enough: the list changes until it was often enough.
            let (seen, deadline) = (AtomicU32::new(0), Instant::now() + Duration::from_secs(60));
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for (number, row) in rows.iter().cycle().enumerate() {
                        services.set(&key, row).unwrap();
                        let enough = number >= 300 && seen.load(Relaxed) > 10;
                        if enough || Instant::now() > deadline {
                            break;
                        }
                    }
                });
                let (map, slots) = (read.map("services"), read.map("backends"));
                let contents = |list: List| {
                    let slot = |slot: u32| slots.get(&slot.to_ne_bytes()).unwrap().unwrap();
                    let slots = (list.first..list.first + list.count).map(slot);
                    slots.map(|slot| bytemuck::pod_read_unaligned(&slot)).collect::<Vec<RawBackend>>()
                };
                let lists = lists.map(|list| parts::to_raw(&list).collect::<Vec<_>>());
                let frontend = ServiceKey {
                    address: address(family, 1).into(),
                    port: 80u16.to_be_bytes(),
                    protocol: 6,
                    scope: 0,
                };
                while !writer.is_finished() {
                    let begun = Instant::now();
                    let value = map.get(bytemuck::bytes_of(&frontend)).unwrap().expect("never missing");
                    let list = contents(bytemuck::pod_read_unaligned::<Service>(&value).inside);
                    // A program is never so slow.
                    if begun.elapsed() < GRACE {
                        assert!(lists.contains(&list), "{list:?}");
                        seen.fetch_add(1, Relaxed);
                    }
                }
            });
            assert!(seen.load(Relaxed) > 10, "{seen:?}");
        }
    });
}

#[test]
fn rows_that_cannot_be_right_are_refused() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        let (v4, v6) = (key("wrong", Protocol::Tcp, Family::V4), key("wrong", Protocol::Tcp, Family::V6));
        let row = |one| ServicePort { frontends: vec![one], ..cluster_ip(Family::V4, 1, Arc::default()) };
        let of = |text: &str| Some(text.parse().unwrap());
        for (key, port, want) in [
            (&v4, row(frontend(FrontendKind::ClusterIp, of("10.0.0.1"), 0)), "port 0"),
            (&v4, row(frontend(FrontendKind::ClusterIp, None, 80)), "address None"),
            (&v4, row(frontend(FrontendKind::NodePort, of("10.0.0.1"), 80)), "address Some"),
            (&v4, row(frontend(FrontendKind::ClusterIp, of("fd00::1"), 80)), "fd00::1 cannot be an IPv4"),
            (&v6, row(frontend(FrontendKind::ClusterIp, of("10.0.0.1"), 80)), "10.0.0.1 cannot be an IPv6"),
            (&v4, row(frontend(FrontendKind::ClusterIp, of("0.0.0.0"), 80)), "0.0.0.0 cannot be"),
            (&v6, row(frontend(FrontendKind::LoadBalancer, of("ff02::1"), 80)), "ff02::1 cannot be"),
            (
                &v6,
                row(frontend(FrontendKind::ExternalIp, of("::ffff:10.0.0.1"), 80)),
                "10.0.0.1 cannot be an IPv6",
            ),
            (&v4, cluster_ip(Family::V4, 1, backends(Family::V6, [1])), "cannot be an IPv4 one"),
            (&v4, cluster_ip(Family::V4, 1, backends(Family::V4, 0..65_536)), "65536 backends"),
        ] {
            let said = services.set(key, &port).unwrap_err().to_string();
            assert!(said.contains(want) && said.contains("default/wrong/TCP ("), "{want} in {said}");
        }
        assert_eq!(Read::new(bpffs).services(), BTreeMap::new());
    });
}

/// A frontend that goes from one row to another, and host ports of two containers.
#[test]
fn who_wants_a_frontend_last_has_it_until_it_goes() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        for kind in [FrontendKind::NodePort, FrontendKind::HostPort] {
            let row = |host| ServicePort {
                frontends: vec![frontend(kind, None, 31_000)],
                ..cluster_ip(Family::V4, 1, backends(Family::V4, [host]))
            };
            let [a, b] = ["a", "b"].map(|name| key(name, Protocol::Udp, Family::V4));
            let served_by = |want: u32| {
                let found = read.services();
                let lists: Vec<_> = found.values().map(|value| read.list(value.inside)).collect();
                assert_eq!(lists, [backends(Family::V4, [want]).to_vec()]);
                assert!(read.is_served(Protocol::Udp, 31_000));
            };
            services.set(&a, &row(1)).unwrap();
            services.set(&b, &row(2)).unwrap();
            served_by(2);
            // The former one changes: it gets nothing by that.
            services.set(&a, &row(3)).unwrap();
            served_by(2);
            assert!(services.is_whole(&a).unwrap() && services.is_whole(&b).unwrap());
            services.remove(&b).unwrap();
            served_by(3);
            services.set(&b, &row(2)).unwrap();
            services.remove(&a).unwrap();
            served_by(2);
            services.remove(&b).unwrap();
            assert_eq!(read.services(), BTreeMap::new());
        }
    });
}
