use super::*;

fn uplink(ifindex: u32, mtu: u32) -> Uplink {
    Uplink { ifname: format!("eth{ifindex}"), ifindex, mtu, ethernet: true, loopback: false }
}

fn underlay(mtu: u32) -> Underlay {
    Underlay { uplinks: vec![uplink(1, mtu + 50)], mtu }
}

#[test]
fn a_path_carries_what_its_links_and_its_route_do_less_the_tunnels_headers() {
    let end = |text: &str| text.parse().unwrap();
    let path = |ifindexes: &[u32], mtu| Path { ifindexes: ifindexes.to_vec(), mtu };
    let uplinks = [uplink(1, 1500), uplink(2, 9000)];
    for (to, path, want) in [
        ("192.0.2.2", path(&[1], None), Some(1450)),
        ("2001:db8::2", path(&[1], None), Some(1430)),
        ("192.0.2.2", path(&[2], None), Some(8950)),
        ("192.0.2.2", path(&[1, 2], None), Some(1450)),
        ("192.0.2.2", path(&[2], Some(1400)), Some(1350)),
        ("192.0.2.2", path(&[1], Some(9000)), Some(1450)),
        ("2001:db8::2", path(&[1], Some(60)), Some(0)),
        ("192.0.2.2", path(&[7], None), None),
    ] {
        assert_eq!(carried(end(to), &path, &uplinks), want, "{to} {path:?}");
    }
}

#[test]
fn the_pods_mtu_is_what_every_path_carries_that_carries_enough() {
    for (paths, has_ipv6, want) in [
        (&[][..], true, None),
        (&[1450, 8950, 1350], true, Some(1350)),
        (&[1450, 1279], true, Some(1450)),
        (&[1450, 1279], false, Some(1279)),
        (&[1450, 0, 575], false, Some(1450)),
        (&[1100, 1200], true, Some(1200)),
    ] {
        assert_eq!(pods_mtu(paths, has_ipv6), want, "{paths:?} {has_ipv6}");
    }
}

#[test]
fn an_mtu_is_refused_only_below_what_the_pods_families_need() {
    for (mtu, has_ipv6, setting) in [
        (1450, true, None),
        (1280, true, None),
        (1230, false, None),
        (1450, true, Some(1450)),
        (1230, false, Some(600)),
    ] {
        assert_eq!(mtu_problem(&underlay(mtu), has_ipv6, setting), None, "{mtu} {has_ipv6} {setting:?}");
    }
    for (mtu, has_ipv6, setting, problem, remedy) in [
        (1230, true, None, "the least of 1280", "raise the MTU of eth1 by 50, or give Pods IPv4 alone"),
        (1230, true, Some(1230), "the least of 1280", "raise the MTU of eth1 by 50"),
        (500, false, None, "the least of 576", "raise the MTU of eth1 by 76"),
        (1450, true, Some(1451), "--mtu 1451 is too large: the uplink eth1", "at most 1450"),
    ] {
        let (found, helps) = mtu_problem(&underlay(mtu), has_ipv6, setting).unwrap();
        assert!(found.contains(problem) && helps.contains(remedy), "{found}; {helps}");
    }
}
