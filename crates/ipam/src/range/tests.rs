use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn range(value: &Value) -> Result<Range, Invalid> {
    Range::read(&Element::root(value))
}

fn set(values: &[Value]) -> RangeSet {
    RangeSet::new(values.iter().map(|v| range(v).unwrap()).collect()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_absent_is_filled_in() {
    for (subnet, start, end, gateway) in [
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.254", "192.0.2.1"),
        ("192.0.2.128/25", "192.0.2.129", "192.0.2.254", "192.0.2.129"),
        ("192.0.2.0/30", "192.0.2.1", "192.0.2.2", "192.0.2.1"),
        ("2001:db8:1::/64", "2001:db8:1::1", "2001:db8:1::ffff:ffff:ffff:ffff", "2001:db8:1::1"),
    ] {
        let got = range(&json!({"subnet": subnet, "gateway": "", "rangeEnd": null})).unwrap();
        let want =
            Range { subnet: subnet.parse().unwrap(), start: ip(start), end: ip(end), gateway: ip(gateway) };
        assert_eq!(got, want);
    }
}

#[test]
fn refusals_in_the_words_of_host_local() {
    for (value, want) in [
        (json!({"subnet": "192.0.2.0/31"}), "Network 192.0.2.0/31 too small to allocate from"),
        (json!({"subnet": "fd00::/127"}), "Network fd00::/127 too small to allocate from"),
        (
            json!({"subnet": "192.0.2.12/24"}),
            "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0",
        ),
        (
            json!({"subnet": "192.0.2.0/24", "rangeStart": "192.0.3.0"}),
            "RangeStart 192.0.3.0 not in network 192.0.2.0/24",
        ),
        (
            json!({"subnet": "192.0.2.0/24", "rangeEnd": "192.0.4.0"}),
            "RangeEnd 192.0.4.0 not in network 192.0.2.0/24",
        ),
        (
            json!({"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.50", "rangeEnd": "192.0.2.40"}),
            "RangeStart 192.0.2.50 not in network 192.0.2.0/24",
        ),
        (
            json!({"subnet": "192.0.2.0/24", "rangeEnd": "192.0.2.0"}),
            "RangeEnd 192.0.2.0 not in network 192.0.2.0/24",
        ),
        (
            json!({"subnet": "192.0.2.0/24", "rangeStart": "fd00::1"}),
            "RangeStart fd00::1 not in network 192.0.2.0/24",
        ),
        (json!({}), "subnet: missing"),
        (json!({"subnet": "::ffff:10.0.0.0/104", "gateway": 1}), "gateway: must be a string, is a number"),
    ] {
        let error = range(&value).unwrap_err().to_string();
        assert!(error.ends_with(want), "{value}: {error}");
    }
}

#[test]
fn sets_have_one_family_and_no_overlaps() {
    let read = |subnets: &[&str]| {
        RangeSet::new(subnets.iter().map(|s| range(&json!({"subnet": s})).unwrap()).collect())
    };
    assert_eq!(read(&[]).unwrap_err(), "empty range set");
    assert_eq!(read(&["10.0.0.0/24", "fd00::/64"]).unwrap_err(), "mixed address families");
    assert_eq!(
        read(&["10.1.0.0/22", "10.1.2.0/24"]).unwrap_err(),
        "subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap"
    );
    assert_eq!(read(&["10.1.0.0/24", "10.1.2.0/24"]).unwrap().capacity(), 506);
}

#[test]
fn goes_around_the_set_and_offers_the_last_one_last() {
    let set =
        set(&[json!({"subnet": "10.0.0.0/29"}), json!({"subnet": "10.0.1.0/29", "gateway": "10.0.9.1"})]);
    let order = |last: Option<&str>| -> Vec<String> {
        set.candidates(last.map(ip)).map(|(a, _)| a.to_string().replace("10.0.", "")).collect()
    };
    let all = ["0.2", "0.3", "0.4", "0.5", "0.6", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"];
    assert_eq!(order(None), all);
    assert_eq!(order(Some("10.7.7.7")), all);
    assert_eq!(order(Some("10.0.1.6")), all);
    let from = ["0.6", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "0.2", "0.3", "0.4", "0.5"];
    assert_eq!(order(Some("10.0.0.5")), from);
    let from = ["1.2", "1.3", "1.4", "1.5", "1.6", "0.2", "0.3", "0.4", "0.5", "0.6", "1.1"];
    assert_eq!(order(Some("10.0.1.1")), from);
}

#[test]
fn a_set_of_the_whole_address_space_is_iterated_lazily() {
    let set = set(&[json!({"subnet": "::/0"})]);
    assert_eq!(
        set.candidates(Some(ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))).next().unwrap().0,
        ip("::2")
    );
    assert_eq!(set.capacity(), u128::MAX - 1);
}

proptest! {
    /// Against the simple model: the set as a ring of addresses, turned to the one after the last.
    #[test]
    fn candidates_are_the_ring_turned(
        sizes in proptest::collection::vec((0u32..12, 3u32..14), 1..4),
        start in 0usize..40,
        gateway in 0u32..64,
        unknown: bool,
    ) {
        let mut ranges = Vec::new();
        let mut ring = Vec::new();
        for (i, (skip, length)) in sizes.into_iter().enumerate() {
            let base = 0x0a00_0000 + (u32::try_from(i).unwrap() << 8);
            let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(base + n));
            ranges.push(range(&json!({
                "subnet": format!("10.0.{i}.0/24"), "gateway": address(gateway),
                "rangeStart": address(1 + skip), "rangeEnd": address(skip + length),
            })).unwrap());
            ring.extend((1 + skip..=skip + length).map(|n| (address(n), n == gateway)));
        }
        let set = RangeSet::new(ranges).unwrap();
        let turn = start % ring.len();
        let last = ring[turn].0;
        if !unknown {
            ring.rotate_left(turn + 1);
        }
        let want: Vec<IpAddr> = ring.into_iter().filter(|(_, gateway)| !gateway).map(|(a, _)| a).collect();
        let got: Vec<IpAddr> = set.candidates((!unknown).then_some(last)).map(|(a, _)| a).collect();
        prop_assert_eq!(&got, &want);
        prop_assert_eq!(set.capacity(), want.len() as u128);
        prop_assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len());
    }
}
