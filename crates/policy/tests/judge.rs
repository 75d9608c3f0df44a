//! The judge's tables against the naive evaluator, over random objects and changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a few")]

mod naive;

use naive::random::{PORTS, Pool, Random};
use naive::tables::{Past, Tables};
use naive::{Change, World};
use objects::Protocol;
use policy::{Direction, Judge, Usage};

/// So many sequences of changes.
const WORLDS: u64 = 400;
/// So many updates in each.
const UPDATES: u64 = 40;
/// So many questions after each update.
const QUESTIONS: u64 = 60;
/// Numbers begin after this one.
const LAST: u32 = 1000;

struct Both {
    judge: Judge,
    world: World,
    tables: Tables,
    past: Past,
}

impl Both {
    fn new(judge: Judge) -> Self {
        Self { judge, world: World::default(), tables: Tables::default(), past: Past::after(LAST) }
    }

    fn change(&mut self, change: &Change) {
        change.tell(&mut self.judge);
        self.world.apply(change);
        if let Change::UnsetLocal(id) = change {
            self.tables.forget(*id);
        }
    }

    fn update(&mut self) {
        let changes = self.judge.update();
        self.tables.apply(&changes, &mut self.past);
        let mut all = Tables::default();
        all.apply(&self.judge.all(), &mut Past::after(LAST));
        assert_eq!(self.tables, all);
        assert_eq!(self.judge.update(), Default::default(), "nothing changed");
    }

    /// Removes everything, in any order: nothing may be left.
    fn end(&mut self, pool: &Pool, random: &mut Random) {
        let mut changes = pool.end();
        while !changes.is_empty() {
            let change = changes.swap_remove(random.below(changes.len() as u64) as usize);
            self.change(&change);
            if random.chance(20) {
                self.update();
            }
        }
        self.update();
        assert_eq!(self.tables, Tables::default());
        assert_eq!(self.judge.usage(), Usage::default());
        assert_eq!(self.judge.problems(), []);
    }

    /// Asks many times. Gives how many were answered by a set, and how many of these were denied.
    fn ask(&self, pool: &Pool, random: &mut Random) -> (u64, u64) {
        let (locals, addresses) = (self.world.locals(), pool.addresses());
        if locals.is_empty() {
            return (0, 0);
        }
        let (mut known, mut denied) = (0, 0);
        for _ in 0..QUESTIONS {
            let local = random.pick(&locals);
            let direction = random.pick(&[Direction::Ingress, Direction::Egress]);
            let address = random.pick(&addresses);
            // Of what applies to those, not all is in force.
            if self.judge.is_withheld(local) {
                continue;
            }
            let port = random.chance(90).then(|| {
                let port = random.pick(&PORTS).wrapping_add(random.below(3) as u16).wrapping_sub(1);
                (random.pick(&Protocol::ALL), port)
            });
            let want = self.world.judge(local, direction, address, port);
            let have = self.tables.judge(local, direction, address, port);
            assert_eq!(have, want, "{local:?} {direction:?} {address} {port:?} in {:#?}", self.world);
            let set = self.judge.set_of(local).unwrap();
            let told = self.judge.verdict(set, direction, self.judge.class_of(address), port);
            assert_eq!(told.allow, have.as_ref().is_some_and(|have| have.allow));
            known += u64::from(have.is_some());
            denied += u64::from(have.is_some_and(|have| !have.allow));
        }
        (known, denied)
    }
}

#[test]
fn tables_say_what_the_specification_says() {
    let pool = Pool::default();
    let (mut known, mut denied) = (0, 0);
    for seed in 0..WORLDS {
        let mut random = Random::new(seed);
        let mut both = Both::new(Judge::new(LAST));
        for change in pool.begin(&mut random) {
            both.change(&change);
        }
        for _ in 0..UPDATES {
            for _ in 0..=random.below(3) * random.below(4) {
                both.change(&pool.change(&mut random));
            }
            both.update();
            let (more_known, more_denied) = both.ask(&pool, &mut random);
            known += more_known;
            denied += more_denied;
        }
        both.end(&pool, &mut random);
    }
    println!("{known} answers, {denied} of them denials");
    let asked = WORLDS * UPDATES * QUESTIONS;
    assert!(known > asked / 4 && denied > asked / 20, "too little is said: {known}, {denied} of {asked}");
}

#[test]
fn what_is_refused_changes_nothing_of_the_rest() {
    let pool = Pool::default();
    let (mut withheld, mut known) = (0, 0);
    for seed in 0..WORLDS {
        let mut random = Random::new(WORLDS + seed);
        let limit = 10 + random.below(300) as usize;
        let mut both = Both::new(Judge::new(LAST).with_limit(limit));
        for change in pool.begin(&mut random) {
            both.change(&change);
        }
        for _ in 0..UPDATES {
            for _ in 0..=random.below(3) * random.below(4) {
                both.change(&pool.change(&mut random));
            }
            both.update();
            known += both.ask(&pool, &mut random).0;
            let refused: Vec<_> =
                both.world.locals().into_iter().filter(|id| both.judge.is_withheld(*id)).collect();
            let told = both.judge.problems().iter().any(|problem| problem.what == "policy_full");
            assert!(refused.is_empty() || told, "{refused:?} of {:#?}", both.judge.problems());
            withheld += refused.len() as u64;
        }
        both.end(&pool, &mut random);
    }
    println!("{withheld} Pods were withheld what applies to them, {known} answers of others");
    assert!(withheld > WORLDS && known > WORLDS * UPDATES * QUESTIONS / 10, "{withheld} {known}");
}
