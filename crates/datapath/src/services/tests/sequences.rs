//! Any sequence of changes and restarts.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::Error;

#[derive(Clone, Debug)]
enum Step {
    Set { name: u8, host: u8, first: u8, count: u8, policy: bool, kinds: u8 },
    Remove { name: u8 },
    Restart,
    Prune,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..5, 0u8..3, 0u8..4, 0u8..40, any::<bool>(), 1u8..8).prop_map(|(name, host, first, count, policy, kinds)| {
            Step::Set { name, host, first, count, policy, kinds }
        }),
        2 => (0u8..5).prop_map(|name| Step::Remove { name }),
        1 => Just(Step::Restart),
        1 => Just(Step::Prune),
    ]
}

/// Rows come, change and go, and agents restart: after each step the maps say what the rows say.
#[test]
fn the_maps_follow_any_sequence_of_changes() {
    sandbox(|bpffs| {
        let read = Read::new(bpffs);
        let mut runner =
            TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
        let sequence = prop::collection::vec(step(), 1..30);
        let result = runner.run(&sequence, |steps| {
            let options = crate::Options { max_backends: 65_536, ..options(bpffs) };
            let mut datapath = Datapath::open(&options).unwrap();
            let mut rows: BTreeMap<ServicePortKey, ServicePort> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set { name, host, first, count, policy, kinds } => {
                        let family = if name % 2 == 0 { Family::V4 } else { Family::V6 };
                        let key = key(&name.to_string(), Protocol::ALL[usize::from(name % 3)], family);
                        let hosts = u32::from(first)..u32::from(first) + u32::from(count);
                        // No two rows want one frontend.
                        let at = u32::from(name) * 16 + u32::from(host);
                        let kind = |bit: u8, kind, address, port| {
                            (kinds & bit != 0).then(|| Frontend {
                                outside: if policy { Policy::Local } else { Policy::Cluster },
                                ..frontend(kind, address, port)
                            })
                        };
                        let frontends = [
                            kind(1, FrontendKind::ClusterIp, Some(address(family, at)), 80),
                            kind(2, FrontendKind::NodePort, None, 30_000 + at as u16),
                            kind(4, FrontendKind::LoadBalancer, Some(address(family, 300 + at)), 80),
                        ];
                        let ranges: Arc<[ipnet::IpNet]> = [address(family, at).into()].into();
                        let row = ServicePort {
                            frontends: frontends.into_iter().flatten().collect(),
                            local: backends(family, hosts.clone().take(usize::from(host))),
                            affinity: policy.then_some(5),
                            source_ranges: (host > 0).then_some(ranges),
                            ..cluster_ip(family, at, backends(family, hosts))
                        };
                        match datapath.services().set(&key, &row) {
                            Ok(()) => drop(rows.insert(key, row)),
                            // Too many changes within a moment.
                            Err(Error::Busy { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Step::Remove { name } => {
                        let family = if name % 2 == 0 { Family::V4 } else { Family::V6 };
                        let key = key(&name.to_string(), Protocol::ALL[usize::from(name % 3)], family);
                        datapath.services().remove(&key).unwrap();
                        rows.remove(&key);
                    }
                    Step::Restart => {
                        datapath = Datapath::open(&options).unwrap();
                        assert!(datapath.services().set_all(&rows).is_empty());
                    }
                    Step::Prune => drop(datapath.services().prune().unwrap()),
                }
                check(&read, datapath.services(), &rows);
            }
            rows.keys().for_each(|key| datapath.services().remove(key).unwrap());
            prop_assert_eq!(read.services(), BTreeMap::new());
            // The next case begins with what this one has not freed yet.
            drop(Datapath::open(&options).unwrap());
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("{error}"));
        let options = crate::Options { max_backends: 65_536, ..options(bpffs) };
        let mut datapath = Datapath::open(&options).unwrap();
        datapath.services().prune().unwrap();
        assert_eq!(read.used(), [0; 3], "nothing leaks");
    });
}
