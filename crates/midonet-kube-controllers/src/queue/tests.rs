use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn queue() -> Queue<u8> {
    Queue::new(SECOND, 60 * SECOND)
}

#[test]
fn what_changed_comes_first_and_lower_ranks_before_higher_ones() {
    let now = Instant::now();
    let mut queue = queue();
    for (key, lane, rank) in
        [(1, Lane::Again, 0), (2, Lane::Changed, 8), (3, Lane::Changed, 2), (4, Lane::Changed, 2)]
    {
        queue.add(key, lane, rank);
    }
    assert_eq!((queue.take(now), queue.take(now)), (Some(3), Some(4)));
    // Of rank 8 nothing begins while rank 2 is under way.
    assert_eq!(queue.take(now), None);
    queue.done(&3);
    assert_eq!(queue.take(now), None);
    queue.failed(&4, now);
    assert_eq!((queue.take(now), queue.take(now)), (Some(2), Some(1)));
    assert_eq!(queue.take(now + 3 * SECOND), Some(4), "a lower rank than what is under way begins at once");
}

#[test]
fn what_changed_meanwhile_is_done_again_and_what_failed_waits_alone() {
    let now = Instant::now();
    let mut queue = queue();
    queue.add(1, Lane::Changed, 0);
    assert_eq!(queue.take(now), Some(1));
    queue.add(1, Lane::Changed, 0);
    assert_eq!(queue.take(now), None, "it is under way");
    queue.done(&1);
    assert_eq!(queue.take(now), Some(1));
    queue.failed(&1, now);
    queue.add(2, Lane::Changed, 5);
    assert_eq!(queue.take(now), Some(2), "what failed keeps nobody");
    queue.done(&2);
    assert_eq!((queue.take(now), queue.failing(), queue.waiting()), (None, 1, 1));
    queue.add(1, Lane::Again, 0);
    assert_eq!(queue.take(now), None, "it did not change");
    queue.add(1, Lane::Changed, 0);
    assert_eq!(queue.take(now), Some(1));
    queue.done(&1);
    assert!(queue.is_empty() && queue.failing() == 0);
}

#[test]
fn waits_have_a_bound() {
    let mut now = Instant::now();
    let mut queue = queue();
    queue.add(1, Lane::Changed, 0);
    for _ in 0..30 {
        assert_eq!(queue.take(now), Some(1));
        queue.failed(&1, now);
        let due = queue.next_due().unwrap();
        assert!(due > now && due <= now + 60 * SECOND);
        now = due;
    }
    assert_eq!(queue.take(now), Some(1));
    queue.postpone(&1, now, SECOND);
    assert_eq!(queue.next_due(), Some(now + SECOND));
    queue.forget(&1);
    assert!(queue.is_empty() && queue.next_due().is_none());
}

/// Something that happens to a queue.
#[derive(Debug, Clone)]
enum Event {
    Add(u8, bool, u8),
    Take,
    Done(u8),
    Failed(u8),
    Postpone(u8),
    Forget(u8),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..6_u8, any::<bool>(), 0..4_u8).prop_map(|(key, changed, rank)| Event::Add(key, changed, rank)),
        Just(Event::Take),
        Just(Event::Take),
        (0..6_u8).prop_map(Event::Done),
        (0..6_u8).prop_map(Event::Failed),
        (0..6_u8).prop_map(Event::Postpone),
        (0..6_u8).prop_map(Event::Forget),
        (0..200_u64).prop_map(Event::Wait),
    ]
}

proptest! {
    /// Whatever happens: nothing is under way twice, everything that was added is taken afterwards unless it was forgotten, and
    /// the queue is no longer than there are names.
    #[test]
    fn nothing_is_lost_or_done_twice(events in proptest::collection::vec(event(), 0..200)) {
        let mut queue = queue();
        let mut now = Instant::now();
        // By key: since when it is to be done, if it is. By key: rank and whether it changed, if it is under way.
        let mut due: HashMap<u8, bool> = HashMap::new();
        let mut running: HashMap<u8, ()> = HashMap::new();
        for event in events {
            match event {
                Event::Add(key, changed, rank) => {
                    queue.add(key, if changed { Lane::Changed } else { Lane::Again }, rank);
                    due.insert(key, true);
                }
                Event::Take => {
                    if let Some(key) = queue.take(now) {
                        prop_assert!(running.insert(key, ()).is_none(), "{key} is under way twice");
                        prop_assert_eq!(due.remove(&key), Some(true), "{} was not to be done", key);
                    }
                }
                Event::Done(key) => {
                    queue.done(&key);
                    running.remove(&key);
                }
                Event::Failed(key) => {
                    queue.failed(&key, now);
                    if running.remove(&key).is_some() {
                        due.insert(key, true);
                    }
                }
                Event::Postpone(key) => {
                    queue.postpone(&key, now, SECOND);
                    if running.remove(&key).is_some() {
                        due.insert(key, true);
                    }
                }
                Event::Forget(key) => {
                    queue.forget(&key);
                    due.remove(&key);
                }
                Event::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            prop_assert!(queue.len() <= 6);
        }
        // With time and good luck all of it is done.
        for key in running.into_keys() {
            queue.done(&key);
        }
        for _ in 0..20 {
            now += 61 * SECOND;
            while let Some(key) = queue.take(now) {
                prop_assert!(due.remove(&key).is_some());
                queue.done(&key);
            }
        }
        prop_assert!(due.is_empty(), "never done: {due:?}");
        prop_assert!(queue.is_empty() && queue.next_due().is_none());
    }
}
