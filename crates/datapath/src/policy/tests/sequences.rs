//! Any sequence of changes, in tables that are full again and again.

use testkit::Random;

use super::model::{Model, address};
use super::*;
use crate::{Error, Role};

const PORTS: [u32; 3] = [101, 102, 103];
const NODE: u32 = 200;

fn bound(datapath: &mut Datapath) {
    for ifindex in PORTS {
        datapath.bind(&port(ifindex, &[&format!("10.9.0.{ifindex}"), &format!("fd09::{ifindex}")])).unwrap();
    }
    let node = crate::Port { role: Role::Node, ..port(NODE, &["10.9.0.2"]) };
    datapath.bind(&node).unwrap();
}

/// What the programs find is what the model says.
fn check_classes(datapath: &Datapath, model: &Model, random: &mut Random) {
    for _ in 0..30 {
        let other = address(random);
        let question = Question {
            pod: format!("10.9.0.{}", PORTS[random.index(3)]).parse().unwrap(),
            direction: Direction::Ingress,
            other,
            port: None,
        };
        let found = datapath.find_verdict(&question).unwrap().unwrap();
        assert_eq!(found.class, model.class(other), "{other}");
    }
}

#[test]
fn what_is_in_force_is_all_of_what_fits_or_what_was() {
    for seed in 1..=3 {
        sandbox(|bpffs| {
            let mut random = Random::new(seed);
            let mut datapath = Datapath::open(&small(bpffs)).unwrap();
            bound(&mut datapath);
            let mut wanted = Model { sets: PORTS.map(|ifindex| (ifindex, OPEN)).into(), ..Model::default() };
            datapath.apply_policy(&wanted.whole()).unwrap();
            let mut in_force = wanted.clone();
            let [mut full, mut fitted] = [0, 0];
            for step in 0..150 {
                let before = wanted.clone();
                for _ in 0..=random.below(3) {
                    wanted.mutate(&mut random, &PORTS);
                }
                // What never fits again would test little.
                if random.percent(3) {
                    wanted = Model { sets: wanted.sets, next: wanted.next, ..Model::default() };
                    wanted.sets.values_mut().for_each(|set| *set = CLOSED);
                }
                let generation = datapath.policy_state().generation;
                let change = match random.below(100) {
                    0 | 1 => {
                        // Another agent: what was in force stays until all is known.
                        drop(datapath);
                        datapath = Datapath::open(&small(bpffs)).unwrap();
                        assert_eq!(datapath.policy_state().generation, generation);
                        assert_eq!(Kernel::read(bpffs, &datapath), in_force.kernel(NODE), "{seed} {step}");
                        in_force.forget_what_is_not_found();
                        wanted.renumber(&datapath.policy_state());
                        wanted.whole()
                    }
                    2 => {
                        datapath.policy_off().unwrap();
                        let kernel = Kernel::read(bpffs, &datapath);
                        assert!(
                            kernel.classes.is_empty() && kernel.blocks.is_empty() && kernel.rules.is_empty()
                        );
                        assert!(kernel.entries.is_empty() && kernel.ports.is_empty());
                        assert_eq!(datapath.policy_state().generation, 0);
                        in_force =
                            Model { sets: PORTS.map(|ifindex| (ifindex, OPEN)).into(), ..Model::default() };
                        wanted.whole()
                    }
                    3..10 => wanted.whole(),
                    _ => wanted.since(&before),
                };
                let was_off = datapath.policy_state().generation == 0;
                match datapath.apply_policy(&change) {
                    Ok(()) => {
                        assert!(wanted.fits(), "{seed} {step}");
                        in_force = wanted.clone();
                        fitted += 1;
                        let now = datapath.policy_state().generation;
                        assert!(now > generation && !datapath.is_policy_pending());
                    }
                    Err(Error::PolicyFull { needed, limit, .. }) => {
                        assert!(!wanted.fits() && needed > u64::from(limit), "{seed} {step}");
                        assert!(datapath.is_policy_pending());
                        full += 1;
                    }
                    Err(error) => panic!("{seed} {step}: {error}"),
                }
                if was_off && datapath.is_policy_pending() {
                    // Without anything in force there is not even the block that is always there.
                    assert!(Kernel::read(bpffs, &datapath).blocks.is_empty());
                    continue;
                }
                assert_eq!(Kernel::read(bpffs, &datapath), in_force.kernel(NODE), "{seed} {step}");
                check_classes(&datapath, &in_force, &mut random);
                assert!(!datapath.check_policy(5).unwrap(), "{seed} {step}");
            }
            assert!(full > 10 && fitted > 20, "{full} {fitted}");
        });
    }
}

#[test]
fn a_port_gets_its_set_when_that_is_in_force() {
    sandbox(|bpffs| {
        let mut datapath = Datapath::open(&small(bpffs)).unwrap();
        bound(&mut datapath);
        let mut random = Random::new(9);
        let mut model = Model { sets: PORTS.map(|ifindex| (ifindex, CLOSED)).into(), ..Model::default() };
        datapath.apply_policy(&model.whole()).unwrap();
        // A set that is not there yet: a new Pod is closed, another one keeps what it has.
        let mut later = model.clone();
        while later.sets[&101] == CLOSED || later.sets[&101] == OPEN {
            later.mutate(&mut random, &[101]);
        }
        let set = later.sets[&101];
        let new = crate::Port { set, ..port(110, &["10.9.0.110"]) };
        let old = crate::Port { set, ..port(102, &["10.9.0.102", "fd09::102"]) };
        datapath.bind(&new).unwrap();
        datapath.bind(&old).unwrap();
        let sets = |datapath: &Datapath| {
            let ports = datapath.ports().unwrap();
            let set = |ifindex| ports.iter().find(|port| port.ifindex == ifindex).map(|port| port.set);
            [set(110), set(102)]
        };
        assert_eq!(sets(&datapath), [Some(CLOSED), Some(CLOSED)]);
        assert!(datapath.is_policy_pending());
        datapath.apply_policy(&later.since(&model)).unwrap();
        assert_eq!(sets(&datapath), [Some(set), Some(set)]);
        assert!(!datapath.is_policy_pending());
        // Bound again with what is in force, it stays so; and one that is gone is not waited for.
        datapath.bind(&new).unwrap();
        datapath.bind(&crate::Port { set: 77, ..new.clone() }).unwrap();
        assert_eq!(sets(&datapath), [Some(set), Some(set)]);
        datapath.release(110).unwrap();
        model = later.clone();
        model.classes.insert("10.0.0.1".parse().unwrap(), 1);
        datapath.apply_policy(&model.since(&later)).unwrap();
        assert_eq!(sets(&datapath), [None, Some(set)]);
        assert!(!datapath.is_policy_pending());
        // The node itself is never judged.
        datapath.bind(&crate::Port { role: Role::Node, set, ..port(NODE, &["10.9.0.2"]) }).unwrap();
        let ports = datapath.ports().unwrap();
        assert!(ports.iter().any(|port| port.ifindex == NODE && port.set == OPEN));
    });
}
