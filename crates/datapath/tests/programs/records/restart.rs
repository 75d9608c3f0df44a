//! What another agent finds, and what nothing costs.

use super::*;

#[test]
fn nothing_is_recorded_unless_it_is_asked_for() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        assert!(scene.node.datapath.take_events().is_none());
        let p = parties()[0];
        Talk::new(&scene, TCP, (p.pods.a, 40_000), (p.pods.b, 8080), (p.pods.b, 8080)).open();
        assert_eq!((rows(&scene), scene.node.datapath.records().size()), (Vec::new(), 1));
    });
}

#[test]
fn records_outlive_the_agent_and_those_before_are_late() {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let p = parties()[0];
        let server = (p.pods.b, 8080);
        // Before it was asked for.
        let mut early = Talk::new(&scene, TCP, (p.pods.a, 40_000), server, server);
        early.open();
        let mut events = record(&mut scene, bpffs, RECORDING);
        let mut talk = Talk::new(&scene, TCP, (p.pods.a, 40_001), server, server);
        talk.open();
        let sent = (talk.client_sent, talk.server_sent);
        let packet = segment(TCP, (p.pods.a, 40_000), server, ACK, b"x");
        scene.a_sends(&packet);
        let told: Vec<_> = unread(&mut events).iter().map(|(what, record)| (*what, record.late)).collect();
        assert_eq!(told, [(What::New, false), (What::GoesOn, true)]);
        // Another agent, with more space: events are its own, and records go on.
        let mut events = record(&mut scene, bpffs, Recording { most: 256, ..RECORDING });
        assert_eq!((scene.node.datapath.records().size(), rows(&scene).len()), (256, 2));
        let mut talk = Talk::new(&scene, TCP, (p.pods.a, 40_001), server, server);
        (talk.client_sent, talk.server_sent) = sent;
        talk.ask(RST | ACK, b"");
        let ended = unread(&mut events);
        assert_eq!((ended.len(), ended[0].0), (1, What::End));
        talk.is(&ended[0].1);
        // And one that wants none.
        scene.node.datapath = Datapath::open(&options(bpffs)).unwrap();
        scene.node.datapath.retire_old_maps().unwrap();
        assert_eq!(scene.node.datapath.records().size(), 1);
    });
}

#[test]
fn a_connection_that_is_over_loses_its_record() {
    recording(|scene, _| {
        let p = parties()[0];
        let server = (p.pods.b, 8080);
        let records = scene.node.datapath.records();
        let mut talk = Talk::new(scene, UDP, (p.pods.a, 40_000), server, server);
        talk.open();
        let row = rows(scene)[0];
        assert_eq!(records.remove_if_over(&row).unwrap(), None, "it goes on");
        // Its last packet was ten minutes ago, and nobody had seen that.
        let mut map = scene.maps.hash::<40, 120>("records");
        let (key, mut value) = map.iter().next().unwrap().unwrap();
        for at in [64, 72] {
            let time = u64::from_ne_bytes(value[at..at + 8].try_into().unwrap());
            value[at..at + 8].copy_from_slice(&time.saturating_sub(600_000_000_000).to_ne_bytes());
        }
        map.insert(key, value, 0).unwrap();
        assert_eq!(records.remove_if_over(&row).unwrap(), None, "by what the caller knows it goes on");
        let row = rows(scene)[0];
        let last = records.remove_if_over(&row).unwrap().unwrap();
        assert_eq!((last.client_sent, last.server_sent), (talk.client_sent, talk.server_sent));
        assert_eq!((rows(scene), records.remove_if_over(&row).unwrap()), (Vec::new(), None));
    });
}
