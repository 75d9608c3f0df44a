//! The allocator against a model of host-local's allocator.go: the same calls give the same addresses,
//! the same refusals and the same files, whoever of the two does them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod allocator;
#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use allocator::{Model, Range, plus};
use cni::{Attachment, Call, Document};
use ipam::{Error, Ipam};
use proptest::prelude::*;
use serde_json::{Value, json};

/// One call. Numbers choose who and what.
#[derive(Debug, Clone)]
enum Verb {
    Add { owner: usize, requested: Vec<(usize, u32)> },
    Del { owner: usize },
    Check { owner: usize },
    Gc { valid: Vec<usize> },
}

/// Where a requested address is written.
const PLACES: usize = 3;

fn owner(n: usize) -> Attachment {
    Attachment {
        container_id: ["a", "a", "b", "c"][n].into(),
        ifname: ["eth0", "eth1", "eth0", "eth0"][n].into(),
    }
}

/// A range of a few addresses; its place comes from its number.
fn range(v6: bool) -> impl Strategy<Value = Range> {
    let size = if v6 { 122u8..=126 } else { 26u8..=30 };
    (size, any::<[Option<u16>; 3]>(), any::<bool>()).prop_map(
        move |(prefix, [start, end, gateway], outside)| {
            let size = 1u32 << (if v6 { 128 } else { 32 } - prefix);
            let usable = size - u32::from(!v6);
            let start = start.map(|n| u32::from(n) % usable);
            let from = start.unwrap_or(1);
            let end = end.map(|n| from + u32::from(n) % 6).filter(|end| *end < usable);
            let gateway = gateway.map(|n| u32::from(n) % size + if outside { size } else { 0 });
            let base =
                if v6 { IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 0]) } else { IpAddr::from([10, 0, 0, 0]) };
            Range { base, prefix, start, end, gateway }
        },
    )
}

fn sets() -> impl Strategy<Value = Vec<Vec<Range>>> {
    let set = any::<bool>().prop_flat_map(|v6| proptest::collection::vec(range(v6), 1..4));
    proptest::collection::vec(set, 1..4).prop_map(|mut sets| {
        for (number, range) in sets.iter_mut().flatten().enumerate() {
            range.base = plus(range.base, u32::try_from(number).unwrap() << 8);
        }
        sets
    })
}

fn verb() -> impl Strategy<Value = Verb> {
    let requested = prop_oneof![
        3 => Just(Vec::new()),
        1 => proptest::collection::vec((0usize..4, 0u32..20), 1..3),
    ];
    prop_oneof![
        6 => (0usize..4, requested).prop_map(|(owner, requested)| Verb::Add { owner, requested }),
        4 => (0usize..4).prop_map(|owner| Verb::Del { owner }),
        1 => (0usize..4).prop_map(|owner| Verb::Check { owner }),
        1 => proptest::collection::vec(0usize..4, 0..4).prop_map(|valid| Verb::Gc { valid }),
    ]
}

/// Does the calls on a fresh directory; `theirs` says which of them host-local does.
fn run(
    sets: Vec<Vec<Range>>,
    calls: &[(Verb, usize, bool)],
    path: Option<&str>,
) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let ranges: Vec<Vec<Value>> = sets.iter().map(|set| set.iter().map(Range::json).collect()).collect();
    let base = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "x",
        "ipam": {"type": "host-local", "dataDir": directory.path(), "ranges": ranges},
    });
    let mut model = Model { sets, reserved: BTreeMap::new(), last: BTreeMap::new() };
    for (verb, place, theirs) in calls {
        let ipam = if *theirs && path.is_some() { Ipam::of_type("host-local") } else { Ipam::InProcess };
        let (n, wanted) = match verb {
            Verb::Add { owner, requested } => (*owner, wanted(&model, requested)),
            Verb::Del { owner } | Verb::Check { owner } => (*owner, Vec::new()),
            Verb::Gc { .. } => (0, Vec::new()),
        };
        let (config, args) = request(&base, &wanted, *place);
        let owner_ = owner(n);
        let call = Call {
            container_id: &owner_.container_id,
            netns: Some("/nonexistent/netns"),
            ifname: &owner_.ifname,
            args: &args,
            path: path.unwrap_or_default(),
            config: &config,
        };
        match verb {
            Verb::Add { .. } => {
                let want = model.add(&owner_, wanted);
                match (ipam.add(&call), want) {
                    (Ok(got), Ok(want)) => {
                        let got: Vec<IpAddr> = got.ips.iter().map(|ip| ip.address.addr()).collect();
                        prop_assert_eq!(got, want);
                    }
                    (Err(got), Err(want)) => {
                        let text = got.to_string();
                        prop_assert!(want.split("  ").all(|part| text.contains(part)), "{} / {}", text, want);
                        // Its caller sends DEL after it.
                        if matches!(got, Error::Delegate { .. }) {
                            model.reserved.retain(|_, o| *o != owner_);
                        }
                    }
                    (got, want) => prop_assert!(false, "{:?} / {:?}", got, want),
                }
            }
            Verb::Del { .. } => {
                ipam.del(&call).unwrap();
                model.reserved.retain(|_, o| *o != owner_);
            }
            Verb::Check { .. } => {
                prop_assert_eq!(ipam.check(&call).is_ok(), model.reserved.values().any(|o| *o == owner_));
            }
            Verb::Gc { valid } => {
                let valid: Vec<Attachment> = valid.iter().map(|n| owner(*n)).collect();
                Ipam::InProcess.gc(&call, &valid).unwrap();
                model.reserved.retain(|_, o| valid.contains(o));
            }
        }
        prop_assert_eq!(common::files(&directory.path().join("net")), model.files());
        let full = (0..model.sets.len()).any(|set| model.next_free(set).is_none());
        prop_assert_eq!(Ipam::InProcess.status(&call).is_err(), full);
    }
    Ok(())
}

/// The addresses that are asked for: of a set, or of none.
fn wanted(model: &Model, requested: &[(usize, u32)]) -> Vec<IpAddr> {
    let mut sets: Vec<(usize, u32)> = requested.to_vec();
    sets.dedup_by_key(|(set, _)| *set);
    let address = |(set, n): (usize, u32)| match model.sets.get(set) {
        Some(ranges) => {
            let all: Vec<IpAddr> = ranges.iter().flat_map(Range::addresses).collect();
            all[usize::try_from(n).unwrap() % all.len()]
        }
        None => IpAddr::from([192, 0, 2, 1]),
    };
    sets.into_iter().map(address).collect()
}

/// The configuration and `CNI_ARGS` that ask for them, in one of the places for that.
fn request(base: &Value, wanted: &[IpAddr], place: usize) -> (Document, String) {
    let mut config = base.clone();
    let mut args = "IgnoreUnknown=1".to_owned();
    for (n, address) in wanted.iter().enumerate() {
        match (n + place) % PLACES {
            0 => args = format!("IgnoreUnknown=1;IP={address}"),
            1 => config["args"] = json!({"cni": {"ips": [address]}}),
            _ => config["runtimeConfig"] = json!({"ips": [format!("{address}/24")]}),
        }
    }
    (Document::parse(config.to_string().into()).unwrap(), args)
}

fn calls(number: usize) -> impl Strategy<Value = Vec<(Verb, usize, bool)>> {
    proptest::collection::vec((verb(), 0..PLACES, any::<bool>()), 1..number)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ours_does_what_the_model_does(sets in sets(), calls in calls(40)) {
        run(sets, &calls, None)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ours_and_host_local_in_turn_do_what_the_model_does(sets in sets(), calls in calls(24)) {
        run(sets, &calls, Some(&common::plugins()))?;
    }
}
