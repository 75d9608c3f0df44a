//! What an agent before this one left.

use super::*;

#[test]
fn an_agent_that_starts_takes_over_and_removes_only_when_told() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let mut rows = BTreeMap::new();
        for (family, host) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, 2), (Family::V6, 3)] {
            let port = ServicePort {
                frontends: vec![
                    frontend(FrontendKind::ClusterIp, Some(address(family, host)), 80),
                    frontend(FrontendKind::LoadBalancer, Some(address(family, 50 + host)), 80),
                ],
                source_ranges: Some([ipnet::IpNet::from(address(family, host))].into()),
                ..cluster_ip(family, host, backends(family, 0..host + 2))
            };
            rows.insert(key(&host.to_string(), Protocol::Udp, family), port);
        }
        assert!(datapath.services().set_all(&rows).is_empty());
        let (before, used) = (read.services(), read.used());
        let numbers: Vec<_> = rows.keys().map(|key| datapath.services().number(key)).collect();
        let served: BTreeMap<u32, u64> = read.all("served_ports");
        drop(datapath);

        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        // One is gone, one is new, one has another list; in another order.
        let gone = key("2", Protocol::Udp, Family::V4);
        let new = key("new", Protocol::Udp, Family::V4);
        let mut wanted = rows.clone();
        wanted.remove(&gone);
        wanted.insert(new.clone(), cluster_ip(Family::V4, 9, backends(Family::V4, 7..9)));
        let changed = key("3", Protocol::Udp, Family::V6);
        wanted.get_mut(&changed).unwrap().cluster = backends(Family::V6, 1..4);
        for (key, port) in wanted.iter().rev() {
            services.set(key, port).unwrap();
        }
        for (key, number) in rows.keys().zip(&numbers).filter(|(key, _)| **key != gone) {
            assert_eq!(services.number(key), *number, "{key}");
        }
        let after = read.services();
        let of = |raw: &ServiceKey| IpAddr::from(raw.address);
        for (raw, value) in &before {
            let is_changed =
                [address(Family::V6, 3), address(Family::V6, 53)].contains(&of(raw)) && raw.protocol > 0;
            assert_eq!(after.get(raw) != Some(value), is_changed, "{raw:?}");
        }
        assert_eq!(read.all::<u32, u64>("served_ports"), served);
        let first = after.values().map(|value| value.number).collect::<BTreeSet<_>>();
        assert_eq!(first.len(), 6, "numbers are not given twice, and addresses have none");
        let numbers = rows.keys().zip(numbers).filter(|(key, _)| **key == gone);
        let number: Vec<_> = numbers.filter_map(|(_, number)| number).collect();
        assert_eq!(services.prune().unwrap().into_iter().collect::<Vec<_>>(), number);
        check(&read, services, &wanted);
        settle(services);
        assert_eq!(read.used(), [used[0] + 2 - 4 - 5 + 3, 0, 3]);
        check(&read, services, &wanted);
    });
}

/// A killed agent wrote lists that nothing points to yet.
#[test]
fn leftovers_are_removed_at_the_start() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let read = Read::new(bpffs);
        let row = cluster_ip(Family::V4, 1, backends(Family::V4, 0..3));
        let key = key("kept", Protocol::Tcp, Family::V4);
        datapath.services().set(&key, &row).unwrap();
        drop(datapath);
        let slot = hash::raw(address(Family::V4, 5).into(), 80);
        read.map("backends").set(&77u32.to_ne_bytes(), bytemuck::bytes_of(&slot)).unwrap();
        let range = RangeKey { prefix_length: 128, ranges: 1, ..RangeKey::default() };
        read.map("source_ranges").set(bytemuck::bytes_of(&range), &[1, 0, 0, 0]).unwrap();
        let mut datapath = Datapath::open(&options(bpffs)).unwrap();
        let services = datapath.services();
        services.set(&key, &row).unwrap();
        let limited = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V4, 1)), 81)],
            source_ranges: Some(Arc::default()),
            ..row.clone()
        };
        let other = ServicePortKey { port: "other".into(), ..key.clone() };
        services.set(&other, &limited).unwrap();
        services.prune().unwrap();
        assert_eq!(read.used(), [6, 0, 0]);
        check(&read, services, &BTreeMap::from([(key, row), (other, limited)]));
    });
}
