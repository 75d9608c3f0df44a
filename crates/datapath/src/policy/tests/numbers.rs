//! Numbers, sizes and counts.

use std::sync::Arc;

use super::*;
use crate::Error;
use crate::support::policy::{Draft, Table, all, allow, counts, deny};

#[test]
fn a_full_table_says_how_much_is_needed() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&small(bpffs)).unwrap();
        let addresses = (0..9).map(|host| ([10, 0, 0, host].into(), Some(1))).collect();
        let change = Change { replace: true, classes: addresses, ..Change::default() };
        let error = datapath.apply_policy(&change).unwrap_err();
        let Error::PolicyFull { table, needed, limit, setting } = error else { panic!("{error}") };
        assert_eq!((table, needed, limit, setting), ("classes", 9, 8, "--max-policy-addresses"));
        let said = error.to_string();
        for word in ["9 entries", "classes", "--max-policy-addresses"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        assert_eq!(datapath.policy_usage()[0].used, 0);
        // One less, and it fits, with what did not fit before.
        let less = Change { classes: vec![([10, 0, 0, 0].into(), None)], ..Change::default() };
        datapath.apply_policy(&less).unwrap();
        let usage = datapath.policy_usage()[0];
        assert_eq!((usage.name, usage.used, usage.limit), ("classes", 8, 8));
    });
}

#[test]
fn numbers_are_known_after_a_restart() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let mut datapath = Datapath::open(&options).unwrap();
        datapath.bind(&port(7, &["10.0.0.7"])).unwrap();
        assert_eq!(datapath.policy_state(), State::default());
        let list = |rule| Arc::new(all(allow(rule)));
        let entry = |direction, class, list| Entry { key: EntryKey { set: 30, direction, class }, list };
        let change = Change {
            replace: true,
            rules: vec![50, 51],
            lists: vec![(40, list(50)), (41, list(51))],
            entries: vec![
                entry(Direction::Ingress, None, 40),
                entry(Direction::Egress, None, 41),
                entry(Direction::Egress, Some(60), 41),
            ],
            classes: vec![([10, 0, 0, 1].into(), Some(61))],
            sets: vec![(7, 30)],
            ..Change::default()
        };
        datapath.apply_policy(&change).unwrap();
        let state = State { generation: 1, class: 61, set: 30, list: 41, rule: 51 };
        assert_eq!(datapath.policy_state(), state);
        drop(datapath);
        let mut datapath = Datapath::open(&options).unwrap();
        // A list without ports is in no table: it is never looked up by its number.
        assert_eq!(datapath.policy_state(), State { list: 0, ..state });
        assert_eq!(datapath.ports().unwrap()[0].set, 30);
        datapath.policy_off().unwrap();
        drop(datapath);
        let mut datapath = Datapath::open(&options).unwrap();
        assert_eq!(datapath.policy_state().generation, 0);
        datapath.apply_policy(&Change { replace: true, ..Change::default() }).unwrap();
        assert_eq!(datapath.policy_state().generation, 2, "no connection was judged by that one");
    });
}

#[test]
fn counts_outlive_the_agent_and_larger_tables() {
    sandbox(|bpffs| {
        let options = options(bpffs);
        let mut datapath = Datapath::open(&options).unwrap();
        datapath.bind(&port(7, &["10.0.0.7"])).unwrap();
        Draft::new().pod(7, Table(all(deny(3)), vec![]), Table(all(allow(4)), vec![])).apply(&mut datapath);
        let map =
            RawMap::new(MapData::from_pin(map_pin(&options.pin_dir.join("maps"), "policy_counts")).unwrap())
                .unwrap();
        let (_, size) = map.sizes();
        let one: Vec<u8> = [7u64, 8, 9].iter().flat_map(|count| count.to_ne_bytes()).collect();
        map.set(&3u32.to_ne_bytes(), &one.repeat(size / 24)).unwrap();
        let cpus = (size / 24) as u64;
        assert_eq!(counts(&datapath, 3), [7 * cpus, 8 * cpus, 9 * cpus]);
        drop(datapath);
        let larger = Options { policy: Sizes { rules: 20_000, ..options.policy }, ..options };
        let mut datapath = Datapath::open(&larger).unwrap();
        datapath.retire_old_maps().unwrap();
        assert_eq!(counts(&datapath, 3), [7 * cpus, 8 * cpus, 9 * cpus]);
        assert!(datapath.policy_counts().unwrap().contains_key(&4), "one that never decided is there, too");
    });
}
