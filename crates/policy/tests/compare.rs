//! Comparisons against the naive evaluator, over random states.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a few")]

mod naive;

use std::net::IpAddr;
use std::sync::Arc;

use naive::random::{PORTS, Pool, Random};
use naive::{Change, Other, Outcome, World};
use objects::{Family, Key, Labels, Namespace, Pod, Protocol};
use policy::{Comparison, Decision, Direction, End, Judge, Ports, compare};

/// So many pairs of states.
const PAIRS: u64 = 600;
/// So many questions about each.
const QUESTIONS: u64 = 1500;

/// A state, as both have it.
#[derive(Clone)]
struct State {
    judge: Judge,
    world: World,
}

impl State {
    fn change(&mut self, change: &Change) {
        change.tell(&mut self.judge);
        self.world.apply(change);
    }

    /// The namespaces that a comparison makes up.
    fn complete(&mut self) {
        let names: Vec<String> = self.world.unknown_namespaces().into_iter().map(str::to_owned).collect();
        for name in names {
            let labels = Labels::from_iter([("kubernetes.io/metadata.name", &name)]);
            let key = Key::new(&name);
            let defects = Box::default();
            let namespace = Namespace { key, uid: None, labels, reject: false, audit: false, defects };
            self.world.apply(&Change::Namespace(Arc::new(namespace)));
        }
    }

    fn pod(&self, key: &Key) -> &Pod {
        self.world.pods().find(|pod| pod.key == *key).unwrap()
    }
}

/// Somebody who begins a connection, or to whom it leads.
#[derive(Debug, Clone)]
enum Who {
    Pod(Key),
    Address(IpAddr),
}

impl Who {
    fn is(&self, end: &End) -> bool {
        match (self, end) {
            (Self::Pod(key), End::Pod(known)) => key == known,
            (Self::Address(address), End::Block { block, except }) => {
                block.contains(address) && !except.iter().any(|except| except.contains(address))
            }
            _ => false,
        }
    }

    fn is_one_of(&self, ends: &[End]) -> bool {
        ends.iter().filter(|end| self.is(end)).count() == 1
    }

    fn other<'a>(&self, state: &'a State, family: Family) -> Other<'a> {
        match self {
            Self::Pod(key) => Other::Pod(state.pod(key), family),
            Self::Address(address) => Other::Address(*address),
        }
    }
}

/// A connection.
#[derive(Debug, Clone)]
struct Connection {
    source: Who,
    destination: Who,
    family: Family,
    port: Option<(Protocol, u16)>,
}

impl Connection {
    fn random(random: &mut Random, pods: &[Key], addresses: &[IpAddr]) -> Self {
        let pod = |random: &mut Random| Who::Pod(random.choose(pods).clone());
        let address = Who::Address(*random.choose(addresses));
        let family = match &address {
            Who::Address(address) => Family::of(*address),
            Who::Pod(_) => Family::V4,
        };
        let port = random.chance(90).then(|| {
            let port = random.pick(&PORTS).wrapping_add(random.below(3) as u16).wrapping_sub(1).max(1);
            (random.pick(&Protocol::ALL), port)
        });
        let (source, destination, family) = match random.below(4) {
            0 => (pod(random), address, family),
            1 => (address, pod(random), family),
            _ => (pod(random), pod(random), random.pick(&Family::ALL)),
        };
        Self { source, destination, family, port }
    }

    /// What is said of it: by the sender's end, and by the receiver's.
    fn judge(&self, state: &State) -> Vec<(Direction, Outcome)> {
        let mut said = Vec::new();
        let ends = [
            (&self.source, Direction::Egress, &self.destination),
            (&self.destination, Direction::Ingress, &self.source),
        ];
        for (subject, direction, other) in ends {
            if let Who::Pod(key) = subject {
                let other = other.other(state, self.family);
                let outcome = state.world.judge_pod(state.pod(key), direction, other, self.port);
                said.push((direction, outcome.unwrap()));
            }
        }
        said
    }

    fn has(&self, ports: &[Ports]) -> bool {
        let has = |ports: &&Ports| match (ports, self.port) {
            (Ports::None, None) => true,
            (Ports::Of(protocol, first, last), Some((of, port))) => {
                *protocol == of && (*first..=*last).contains(&port)
            }
            _ => false,
        };
        ports.iter().filter(has).count() == 1
    }

    fn is_in(&self, change: &policy::Change) -> bool {
        self.source.is_one_of(&change.sources)
            && self.destination.is_one_of(&change.destinations)
            && change.family.is_none_or(|family| family == self.family)
            && self.has(&change.ports)
    }
}

fn is(decision: &Decision, direction: Direction, outcome: &Outcome) -> bool {
    let Decision { rule, audit } = decision;
    (rule.direction, rule.origin, &*rule.policies, rule.rule, *audit)
        == (direction, outcome.origin, &*outcome.policies, outcome.rule, outcome.audit)
}

fn are(decisions: &[Decision], of: &[(Direction, Outcome)]) -> bool {
    let named: Vec<_> = of.iter().filter(|(_, outcome)| !outcome.policies.is_empty()).collect();
    let is = |(decision, (direction, outcome)): (&Decision, &&(Direction, Outcome))| {
        is(decision, *direction, outcome)
    };
    decisions.len() == named.len() && decisions.iter().zip(&named).all(is)
}

/// Checks what is said of a connection. Whether it is in a change.
fn check(connection: &Connection, states: &[State; 2], found: &Comparison) -> bool {
    let changes: Vec<_> = found.changes.iter().filter(|change| connection.is_in(change)).collect();
    let [old, new] = [&states[0], &states[1]].map(|state| connection.judge(state));
    let passes = |said: &[(Direction, Outcome)]| said.iter().all(|(_, outcome)| outcome.allow);
    let told = || format!("{connection:?}: {old:#?} {new:#?} {changes:#?}");
    if passes(&old) == passes(&new) {
        assert!(changes.is_empty(), "{}", told());
        return false;
    }
    let [change] = changes[..] else { panic!("{}", told()) };
    assert_eq!(change.allowed, passes(&new), "{}", told());
    let deciding: Vec<_> = new.into_iter().filter(|(_, outcome)| outcome.allow == change.allowed).collect();
    assert!(are(&change.by, &deciding), "{connection:?}: {deciding:#?} {change:#?}");
    true
}

/// What holds of every comparison.
fn check_form(found: &Comparison) {
    assert!(found.changes.is_sorted() && found.complete);
    for change in &found.changes {
        assert!(!change.sources.is_empty() && change.sources.is_sorted(), "{change:#?}");
        assert!(!change.destinations.is_empty() && change.destinations.is_sorted(), "{change:#?}");
        assert!(!change.ports.is_empty() && (change.allowed || !change.by.is_empty()), "{change:#?}");
        let apart = change.ports.windows(2).all(|pair| match (pair[0], pair[1]) {
            (Ports::Of(before, _, last), Ports::Of(after, first, _)) => {
                before != after || u32::from(last) + 1 < u32::from(first)
            }
            (Ports::None, _) => true,
            (_, Ports::None) => false,
        });
        assert!(apart, "{change:#?}");
    }
}

#[test]
fn what_is_found_is_what_the_specification_says() {
    let pool = Pool::default();
    let addresses = pool.addresses();
    let (mut different, mut asked) = (0, 0);
    for seed in 0..PAIRS {
        let mut random = Random::new(seed);
        let mut old = State { judge: Judge::new(0), world: World::default() };
        for change in pool.begin(&mut random) {
            old.change(&change);
        }
        for _ in 0..20 + random.below(100) {
            old.change(&pool.change(&mut random));
        }
        let mut new = old.clone();
        for _ in 0..random.below(8) {
            new.change(&pool.change(&mut random));
        }
        let mut states = [old, new];
        states.iter_mut().for_each(State::complete);
        let found = compare(&states[0].judge, &states[1].judge).unwrap();
        check_form(&found);
        let keys = [&states[0], &states[1]].map(|state| state.world.pods().map(|pod| pod.key.clone()));
        let [old_keys, new_keys] = keys.map(Iterator::collect::<Vec<Key>>);
        let without = |these: &[Key], others: &[Key]| -> Vec<Key> {
            these.iter().filter(|key| !others.contains(key)).cloned().collect()
        };
        assert_eq!(found.only_old, without(&old_keys, &new_keys));
        assert_eq!(found.only_new, without(&new_keys, &old_keys));
        let both: Vec<Key> = old_keys.iter().filter(|key| new_keys.contains(key)).cloned().collect();
        if !both.is_empty() {
            for _ in 0..QUESTIONS {
                let connection = Connection::random(&mut random, &both, &addresses);
                different += u64::from(check(&connection, &states, &found));
                asked += 1;
            }
        }
        assert!(compare(&states[0].judge, &states[0].judge.clone()).unwrap().is_same());
    }
    println!("{asked} questions, {different} about what differs");
    assert!(asked > PAIRS * QUESTIONS / 2 && different > asked / 20, "too little: {different} of {asked}");
}
