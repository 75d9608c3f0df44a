//! An agent that dies in the middle of a change, and others' hands in the tables.

use std::net::IpAddr;

use testkit::Random;

use super::super::pending::Pending;
use super::super::plan::Plan;
use super::model::{Model, address};
use super::*;
use crate::Error;

const POD: u32 = 101;

/// What the kernel says of many packets to and from the Pod.
fn verdicts(datapath: &Datapath) -> Vec<(u32, u32, Option<Verdict>)> {
    let mut random = Random::new(5);
    let question = |random: &mut Random| Question {
        pod: "10.9.0.101".parse().unwrap(),
        direction: Direction::ALL[random.index(2)],
        other: address(random),
        port: Some((crate::Protocol::Udp, [80, 5, 1500, 9][random.index(4)])),
    };
    let found = (0..300).map(|_| datapath.find_verdict(&question(&mut random)).unwrap().unwrap());
    found.map(|found| (found.class, found.set, found.verdict)).collect()
}

/// Two states of policy, one in force.
fn scene(bpffs: &Path, seed: u64) -> (Datapath, Model, Model) {
    let mut random = Random::new(seed);
    let mut datapath = Datapath::open(&small(bpffs)).unwrap();
    datapath.bind(&port(POD, &["10.9.0.101"])).unwrap();
    let some = |model: &Model, random: &mut Random| {
        let mut model = model.clone();
        loop {
            let mut next = model.clone();
            next.mutate(random, &[POD]);
            if next.fits() {
                model = next;
            }
            let whole = model.classes.len() + model.blocks.len() > 6 && model.sets[&POD] != OPEN;
            if whole && model.sets[&POD] != CLOSED && random.percent(20) {
                return model;
            }
        }
    };
    let old = some(&Model { sets: [(POD, OPEN)].into(), ..Model::default() }, &mut random);
    let new = some(&old, &mut random);
    datapath.apply_policy(&old.whole()).unwrap();
    (datapath, old, new)
}

/// Does a change up to some step.
fn begin(datapath: &mut Datapath, change: &Change, switched: bool) {
    let Datapath { policies, ports, config, .. } = datapath;
    let mut pending = Pending::default();
    pending.add(change).unwrap();
    let plan: Plan = policies.plan(&mut pending).unwrap();
    policies.begin(&plan, &pending, ports, config, switched).unwrap();
}

#[test]
fn a_change_that_is_cut_short_is_not_there_or_is_there() {
    for seed in 1..=3 {
        for switched in [false, true] {
            sandbox(|bpffs| {
                let (mut datapath, old, mut new) = scene(bpffs, seed);
                let before = verdicts(&datapath);
                begin(&mut datapath, &new.since(&old), switched);
                let during = verdicts(&datapath);
                drop(datapath);
                let mut datapath = Datapath::open(&small(bpffs)).unwrap();
                let after = verdicts(&datapath);
                assert_eq!(after, during, "{seed}");
                assert_eq!(after == before, !switched, "{seed}");
                // The next agent says everything, with numbers of its own.
                new.renumber(&datapath.policy_state());
                datapath.apply_policy(&new.whole()).unwrap();
                let found = Kernel::read(bpffs, &datapath);
                let wanted = new.kernel(POD);
                assert_eq!(found, Kernel { sets: new.sets.clone(), ..wanted }, "{seed}");
            });
        }
    }
}

#[test]
fn what_others_change_is_noticed_and_written_again() {
    sandbox(|bpffs| {
        let (mut datapath, old, _) = scene(bpffs, 3);
        let whole = Kernel::read(bpffs, &datapath);
        assert!(!datapath.check_policy(100).unwrap());
        let maps = options(bpffs).pin_dir.join("maps");
        let map = |name| RawMap::new(MapData::from_pin(map_pin(&maps, name)).unwrap()).unwrap();
        let key: IpAddr = *old.classes.keys().next().unwrap();
        let key = Address::from(key);
        let foreign = Address::from(IpAddr::from([10, 0, 0, 99]));
        let first = |name| map(name).entries().unwrap()[0].0.clone();
        let changes: [(&str, &dyn Fn()); 4] = [
            ("an address", &|| map("classes").set(bytemuck::bytes_of(&key), &[9; 8]).unwrap()),
            ("another address", &|| {
                map("classes").set(bytemuck::bytes_of(&foreign), &[9; 8]).unwrap();
                map("classes").remove(bytemuck::bytes_of(&key)).unwrap();
            }),
            ("a block", &|| map("block_classes").remove(&first("block_classes")).unwrap()),
            ("a set", &|| map("policy_sets").remove(&first("policy_sets")).unwrap()),
        ];
        for (what, change) in changes {
            change();
            assert!(datapath.check_policy(100).unwrap(), "{what}");
            assert_eq!(Kernel::read(bpffs, &datapath), whole, "{what}");
            assert!(!datapath.check_policy(100).unwrap(), "{what}");
        }
    });
}

#[test]
fn what_cannot_be_right_changes_nothing() {
    sandbox(|bpffs| {
        let (mut datapath, old, _) = scene(bpffs, 4);
        let before = Kernel::read(bpffs, &datapath);
        let state = datapath.policy_state();
        let key = *old.entries.keys().next().unwrap();
        let verdict = Verdict { allow: true, audit: false, reject: false, origin: Origin::Nothing, rule: 0 };
        let list = |intervals: Vec<Interval>| List { others: verdict, intervals: intervals.into() }.into();
        let interval = |first, last| Interval { protocol: crate::Protocol::Tcp, first, last, verdict };
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let known = *old.lists.keys().next().unwrap();
        let entry = |set, list| Entry { key: EntryKey { set, ..key }, list };
        for (what, change) in [
            ("a list without a number", Change { lists: vec![(0, list(vec![]))], ..Change::default() }),
            ("ports", Change { lists: vec![(900, list(vec![interval(9, 8)]))], ..Change::default() }),
            ("a rule without a number", Change { rules: vec![0], ..Change::default() }),
            ("an open set", Change { entries: vec![entry(OPEN, known)], ..Change::default() }),
            ("a closed set", Change { entries: vec![entry(CLOSED, known)], ..Change::default() }),
            ("an unknown list", Change { entries: vec![entry(901, 902)], ..Change::default() }),
            (
                "another list",
                Change { lists: vec![(known, list(vec![interval(7, 9)]))], ..Change::default() },
            ),
            (
                "a class",
                Change { classes: vec![(IpAddr::from([10, 0, 0, 1]), Some(u32::MAX))], ..Change::default() },
            ),
            ("a mapped address", Change { classes: vec![(mapped, Some(1))], ..Change::default() }),
            (
                "a mapped block",
                Change { blocks: vec![("::ffff:0:0/96".parse().unwrap(), Some(1))], ..Change::default() },
            ),
        ] {
            let error = datapath.apply_policy(&change).unwrap_err();
            assert!(matches!(error, Error::Policy(_)), "{what}: {error}");
            assert!(!datapath.is_policy_pending(), "{what}");
            assert_eq!(
                (Kernel::read(bpffs, &datapath), datapath.policy_state()),
                (before_again(&before), state)
            );
        }
    });
}

fn before_again(kernel: &Kernel) -> Kernel {
    Kernel {
        classes: kernel.classes.clone(),
        blocks: kernel.blocks.clone(),
        entries: kernel.entries.clone(),
        ports: kernel.ports.clone(),
        rules: kernel.rules.clone(),
        sets: kernel.sets.clone(),
    }
}
