use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::super::differences::by_turns;
use super::super::tests::{denial, row};
use super::*;

/// A log with ten lines a second, and the table that it is about.
struct Scene {
    log: DenyLog,
    differences: Differences,
    outcomes: Outcomes,
    directory: tempfile::TempDir,
    start: Instant,
    read: usize,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outcomes = Outcomes::default();
        let path = directory.path().join("deny.log");
        let limits = Limits { path: &path, size: 1 << 20, files: 1, rate: 10 };
        let log = DenyLog::new("node1", limits, &outcomes);
        let mut differences = Differences::default();
        differences.look(Vec::new());
        Self { log, differences, outcomes, directory, start: Instant::now(), read: 0 }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("deny.log")
    }

    /// In that second the table has these rows, and so many packets were counted; the new lines.
    fn look(&mut self, second: u64, rows: Vec<Drop>, counted: u64) -> Vec<Value> {
        let mut found = self.differences.look(rows);
        by_turns(&mut found);
        let now = (self.start + Duration::from_secs(second), SystemTime::UNIX_EPOCH);
        let name = |row: &Drop, packets| Denial { row: *row, packets, ..denial() };
        self.log.write(&found, &mut self.differences, counted, now, name);
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        let lines: Vec<Value> =
            text.lines().skip(self.read).map(|line| serde_json::from_str(line).unwrap()).collect();
        self.read += lines.len();
        lines
    }

    /// How many lines were written, left out and lost.
    fn outcomes(&self) -> [u64; 3] {
        Outcome::ALL.map(|outcome| self.outcomes.get(outcome))
    }
}

fn rows(count: u16, packets: u64) -> Vec<Drop> {
    (1..=count).map(|port| Drop { port, packets, ..row() }).collect()
}

fn packets(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["packets"].as_u64().unwrap()).collect()
}

#[test]
fn each_line_has_the_packets_since_the_last_one_of_the_same() {
    let mut scene = Scene::new();
    assert_eq!(packets(&scene.look(1, rows(1, 3), 3)), [3]);
    assert_eq!(scene.look(2, rows(1, 3), 0), Vec::<Value>::new());
    assert_eq!(packets(&scene.look(3, rows(2, 8), 13)), [8, 5]);
    assert_eq!(scene.outcomes(), [3, 0, 0]);
    assert_eq!(scene.log.problem(), None);
}

#[test]
fn what_is_too_much_is_counted_and_said() {
    let mut scene = Scene::new();
    let lines = scene.look(1, rows(25, 2), 50);
    assert_eq!((lines.len(), packets(&lines[..10])), (11, vec![2; 10]));
    assert_eq!((&lines[10]["missingLines"], &lines[10]["missingPackets"]), (&15.into(), &30.into()));
    assert_eq!(scene.outcomes(), [10, 15, 0]);
    // The next second has lines again, of those that had none; no packet is told twice.
    let lines = scene.look(2, rows(25, 3), 25);
    assert_eq!(packets(&lines[..10]), [1; 10]);
    assert!(lines[..10].iter().all(|line| line["port"].as_u64() > Some(10)), "{lines:?}");
    assert_eq!((&lines[10]["missingLines"], &lines[10]["missingPackets"]), (&15.into(), &15.into()));
    assert_eq!(scene.look(3, rows(25, 3), 0), Vec::<Value>::new());
}

#[test]
fn packets_of_rows_that_were_evicted_are_said_to_be_missing() {
    let mut scene = Scene::new();
    let lines = scene.look(1, rows(1, 5), 1000);
    assert_eq!((packets(&lines[..1]), lines.len()), (vec![5], 2));
    assert_eq!((&lines[1]["missingLines"], &lines[1]["missingPackets"]), (&0.into(), &995.into()));
    // The table is read after the counters: what is in it already is counted the next time.
    assert_eq!(packets(&scene.look(2, rows(1, 9), 1)), [4]);
    assert_eq!(scene.look(3, rows(1, 9), 3), Vec::<Value>::new());
    assert_eq!(packets(&scene.look(4, rows(1, 10), 1)), [1]);
    // What is never counted is not held against what is missing later.
    assert_eq!(packets(&scene.look(5, rows(1, 90), 0)), [80]);
    scene.look(6, rows(1, 90), 0);
    assert_eq!(scene.look(7, rows(1, 90), 7)[0]["missingPackets"], 7);
}

#[test]
fn what_could_not_be_written_is_a_problem_until_it_can() {
    let mut scene = Scene::new();
    fs::create_dir(scene.path()).unwrap();
    assert_eq!(scene.look(1, rows(4, 2), 8), Vec::<Value>::new());
    let problem = scene.log.problem().unwrap();
    assert_eq!(problem.what, "deny_log");
    assert!(problem.object.contains("deny.log") && problem.problem.contains("Is a directory"), "{problem:?}");
    assert_eq!(scene.outcomes(), [0, 0, 4]);
    scene.look(2, rows(4, 2), 0);
    assert_eq!(scene.log.problem().unwrap(), problem, "it is told once");
    fs::remove_dir(scene.path()).unwrap();
    // It is tried again though nothing is denied.
    let lines = scene.look(3, rows(4, 2), 0);
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["missingLines"], &lines[0]["missingPackets"]), (&4.into(), &8.into()));
    assert_eq!(scene.log.problem(), None);
    assert_eq!(scene.outcomes(), [0, 0, 4]);
    assert_eq!(packets(&scene.look(4, rows(4, 3), 4)), [1; 4]);
}
