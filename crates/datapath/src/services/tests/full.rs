//! Tables without space.

use super::*;
use crate::Error;

#[test]
fn a_row_without_space_leaves_the_former_one_in_force() {
    sandbox(|bpffs| {
        let options = crate::Options { max_services: 4, max_backends: 16, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let mut rows = BTreeMap::new();
        let small = key("small", Protocol::Tcp, Family::V4);
        rows.insert(small.clone(), cluster_ip(Family::V4, 1, backends(Family::V4, 0..10)));
        services.set(&small, &rows[&small]).unwrap();
        let larger = cluster_ip(Family::V4, 1, backends(Family::V4, 0..8));
        let said = services.set(&small, &larger).unwrap_err().to_string();
        for word in ["default/small/TCP (IPv4)", "table backends", "16", "--max-backends"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        check(&read, services, &rows);
        // A table has no space, and the slots are not lost by that.
        let others: Vec<_> =
            (2..=4).map(|host| (key(&host.to_string(), Protocol::Tcp, Family::V4), host)).collect();
        for (key, host) in &others {
            rows.insert(key.clone(), cluster_ip(Family::V4, *host, backends(Family::V4, [*host])));
            services.set(key, &rows[key]).unwrap();
        }
        let fifth = key("5", Protocol::Tcp, Family::V4);
        let said = services.set(&fifth, &cluster_ip(Family::V4, 5, Arc::default())).unwrap_err().to_string();
        for word in ["default/5/TCP (IPv4)", "table service_counts", "--max-services"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        let many =
            (0..20).map(|host| frontend(FrontendKind::ExternalIp, Some(address(Family::V4, 60 + host)), 80));
        let many = ServicePort { frontends: many.collect(), ..rows[&small].clone() };
        let said = services.set(&small, &many).unwrap_err().to_string();
        assert!(said.contains("table services") && said.contains("--max-services"), "{said}");
        let ranges: Vec<ipnet::IpNet> = (0..9).map(|host| address(Family::V4, host).into()).collect();
        let limited = ServicePort {
            frontends: vec![frontend(FrontendKind::LoadBalancer, Some(address(Family::V4, 1)), 80)],
            source_ranges: Some(ranges.into()),
            ..rows[&small].clone()
        };
        let said = services.set(&small, &limited).unwrap_err().to_string();
        assert!(said.contains("table source_ranges") && said.contains("--max-services"), "{said}");
        check(&read, services, &rows);

        // Once another one is gone, there will be space.
        let large = cluster_ip(Family::V4, 1, backends(Family::V4, 0..3));
        services.set(&small, &large).unwrap();
        rows.insert(small.clone(), larger.clone());
        let Error::Busy { after, .. } = services.set(&small, &larger).unwrap_err() else { panic!() };
        assert!(after <= GRACE);
        settle(services);
        services.set(&small, &larger).unwrap();
        check(&read, services, &rows);
    });
}

/// Where there is no space for the right table a shorter one serves, and without any the slots are not lost.
#[test]
fn a_table_without_space_is_shorter_or_told() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 260, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let [a, b] = ["a", "b"].map(|name| key(name, Protocol::Tcp, Family::V6));
        let long = |host: u32| cluster_ip(Family::V6, host, backends(Family::V6, host..host + 33));
        services.set(&a, &long(1)).unwrap();
        for _ in 0..3 {
            let said = services.set(&b, &long(2)).unwrap_err().to_string();
            assert!(said.contains("table choices") && said.contains("--max-backends"), "{said}");
            assert_eq!(services.number(&b), None);
        }
        let blocks = maglev::blocks(4_099) as usize;
        assert_eq!(read.used(), [33, blocks, 0]);
        let fitting = cluster_ip(Family::V6, 2, backends(Family::V6, 0..32));
        services.set(&b, &fitting).unwrap();
        check(&read, services, &BTreeMap::from([(a, long(1)), (b, fitting)]));
        assert_eq!(read.used(), [65, blocks, 0]);
    });
}

/// A row waits for a table that another row of the same call releases, and not for what others released of other tables.
#[test]
fn a_row_waits_only_for_what_it_needs() {
    sandbox(|bpffs| {
        let options = crate::Options { max_backends: 260, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let services = datapath.services();
        let [a, b] = ["a", "b"].map(|name| key(name, Protocol::Tcp, Family::V4));
        let row = |host: u32, count: u32| cluster_ip(Family::V4, host, backends(Family::V4, 0..count));
        services.set(&a, &row(1, 33)).unwrap();
        services.set(&b, &row(2, 5)).unwrap();
        services.set(&b, &row(2, 6)).unwrap();
        let error = services.set(&b, &row(2, 34)).unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error}");
        let failed = services.set_all([(&a, &row(1, 1)), (&b, &row(2, 34))]);
        let [(key, Error::Busy { after, .. })] = &failed[..] else { panic!("{failed:?}") };
        assert!(*key == b && *after <= GRACE);
    });
}

/// The kernel refuses an entry, since others that nobody here knows take the map's space: the other rows are served.
#[test]
fn an_entry_that_the_kernel_refuses_costs_other_rows_nothing() {
    sandbox(|bpffs| {
        let options = crate::Options { max_services: 4, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        let (read, services) = (Read::new(bpffs), datapath.services());
        let map = read.map("services");
        let foreign = |port: u16| ServiceKey { port: port.to_be_bytes(), scope: 7, ..ServiceKey::default() };
        // A row has two entries.
        for port in 0..u16::try_from(map.max_entries()).unwrap() - 2 {
            map.set(bytemuck::bytes_of(&foreign(port)), bytemuck::bytes_of(&Service::default())).unwrap();
        }
        let of = |host: u32, count| {
            let row = cluster_ip(Family::V4, host, backends(Family::V4, 0..count));
            (key(&host.to_string(), Protocol::Tcp, Family::V4), row)
        };
        let rows = [of(1, 1), of(2, 1)];
        let failed = services.set_all(rows.iter().map(|(key, row)| (key, row)));
        let [(refused, Error::Service { reason, .. })] = &failed[..] else { panic!("{failed:?}") };
        assert!(*refused == rows[1].0 && reason.contains("services"), "{failed:?}");
        // The one that is served can change meanwhile.
        let changed = of(1, 3);
        services.set(&changed.0, &changed.1).unwrap();
        assert!(services.is_whole(&changed.0).unwrap() && !services.is_whole(refused).unwrap());
        for port in 0..2 {
            map.remove(bytemuck::bytes_of(&foreign(port))).unwrap();
        }
        assert!(services.set_all(rows[1..].iter().map(|(key, row)| (key, row))).is_empty());
        for port in 2..u16::try_from(map.max_entries()).unwrap() - 2 {
            map.remove(bytemuck::bytes_of(&foreign(port))).unwrap();
        }
        check(&read, services, &BTreeMap::from([changed, rows[1].clone()]));
        settle(services);
        assert_eq!(read.used(), [4, 0, 0]);
    });
}
