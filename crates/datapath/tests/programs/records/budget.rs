//! How many events there may be, and what becomes of the others.

use std::time::{Duration, Instant};

use super::*;

/// Begins a connection from another port each.
fn begin(scene: &Scene, ports: std::ops::Range<u16>) {
    let p = parties()[0];
    for port in ports {
        scene.a_sends(&segment(UDP, (p.pods.a, port), (p.pods.b, 53), 0, b"x"));
    }
}

#[test]
fn more_events_than_may_be_in_a_second_are_lost_and_counted_once() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let mut events = record(&mut scene, bpffs, Recording { most: 1024, events: 5 });
        let begun = Instant::now();
        begin(&scene, 1000..1200);
        let seconds = begun.elapsed().as_secs() + 2;
        let told = unread(&mut events).len() as u64;
        let totals = events.totals().unwrap();
        assert_eq!((totals.made, totals.made), (200, told + totals.lost()));
        assert!((5..=5 * seconds).contains(&told), "{told} in less than {seconds} seconds");
        // A record says what its events could not. A lost one is not tried again with each packet.
        assert_eq!(rows(&scene).len(), 200);
        begin(&scene, 1000..1200);
        assert_eq!(events.totals().unwrap().made, 200);
    });
}

#[test]
fn events_that_nobody_reads_are_lost_and_counted_once() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        // A ring of one page.
        let mut events = record(&mut scene, bpffs, Recording { most: 1024, events: 20 });
        let (mut port, end) = (1000, Instant::now() + Duration::from_secs(20));
        while events.totals().unwrap().full == 0 {
            assert!(Instant::now() < end, "{:?}", events.totals());
            begin(&scene, port..port + 5);
            port += 5;
            std::thread::sleep(Duration::from_millis(200));
        }
        let told = unread(&mut events).len() as u64;
        let totals = events.totals().unwrap();
        assert_eq!(totals.made, u64::from(port - 1000));
        assert_eq!(totals.made, told + totals.over + totals.full);
        // With space in it, there is an event again.
        begin(&scene, 60_000..60_001);
        assert_eq!(unread(&mut events).len() as u64 + events.totals().unwrap().lost(), totals.lost() + 1);
    });
}
