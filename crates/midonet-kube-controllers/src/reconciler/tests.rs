//! The reconciler with an API server and a MidoNet that do what they are told.

use std::sync::Arc;

use midonet_client::Report;
use objects::{Delta, Written};
use translation::{Node, NodeAddress, Pod, Wanted};

use super::*;
use crate::kinds::{REPLACED, Watched};

struct World {
    reconciler: Reconciler,
    now: Instant,
    version: u64,
    /// What was done, in order.
    done: Vec<String>,
}

fn delta<K>(upserted: Vec<K>, deleted: Vec<K>) -> Delta<K> {
    let all = |objects: Vec<K>| objects.into_iter().map(Arc::new).collect();
    Delta { upserted: all(upserted), deleted: all(deleted), synced: true }
}

fn node(mac: u8) -> Watched<Node> {
    Watched(Node {
        name: "n".into(),
        uid: "n-uid".into(),
        pod_cidrs: vec!["10.1.1.0/24".into()],
        addresses: vec![NodeAddress { kind: "InternalIP".into(), address: "192.0.2.1".into() }],
        host_id: Some("44fb4381-c99d-4389-86c3-fdca765bcbde".into()),
        tunnel_zone_id: Some(String::new()),
        tunnel_endpoint_ip: Some("192.0.2.1".into()),
        mac_address: Some(format!("02:00:00:00:00:{mac:02x}")),
    })
}

fn pod(uid: &str, node: &str) -> Watched<Pod> {
    let (namespace, name) = ("default".into(), "web".into());
    Watched(Pod { namespace, name, uid: uid.into(), node: node.into(), ..Pod::default() })
}

impl World {
    fn new() -> Self {
        let mut reconciler = Reconciler::new("midonetkube", Enabled::ALL);
        reconciler.services(&delta(Vec::new(), Vec::new()));
        reconciler.slices(&delta(Vec::new(), Vec::new()));
        reconciler.translations(&delta(Vec::new(), Vec::new()));
        Self { reconciler, now: Instant::now(), version: 1, done: Vec::new() }
    }

    /// Does what there is to do until nothing is; pushes only if MidoNet is there.
    fn work(&mut self, midonet: bool) -> Vec<String> {
        for _ in 0..1000 {
            if !(self.write() || midonet && self.push()) {
                return std::mem::take(&mut self.done);
            }
        }
        panic!("there is no end: {:?}", self.done);
    }

    fn write(&mut self) -> bool {
        match self.reconciler.next_job(self.now) {
            None => return false,
            Some(Job::Owner(change)) => {
                if let Wanted::Set(wanted) = &change.wanted {
                    for translation in wanted {
                        let Some(write) = self.reconciler.write_of(translation) else { continue };
                        self.version += 1;
                        let what = match write {
                            Write::Create(_) => "create",
                            Write::Change(_) => "change",
                        };
                        self.done.push(format!("{what} {}", translation.name));
                        let known = self.reconciler.inventory().get(&crate::plan::key(translation));
                        let uid =
                            known.map_or_else(|| format!("t{}", self.version), |known| known.uid.clone());
                        let written = Written {
                            uid,
                            resource_version: self.version.to_string(),
                            deletion_timestamp: None,
                        };
                        self.reconciler.wrote(translation, &written);
                    }
                }
                self.reconciler.wrote_all(&change);
            }
            Some(Job::Delete(stored)) => {
                self.done.push(format!("delete {}", stored.key.name()));
                self.reconciler.deleted(&stored.key, true, self.now);
                self.version += 1;
                let deleting =
                    Stored { deleting: true, version: self.version.to_string(), ..(*stored).clone() };
                self.reconciler.translations(&delta(vec![deleting], Vec::new()));
            }
        }
        true
    }

    fn push(&mut self) -> bool {
        match self.reconciler.next_push(self.now) {
            None => return false,
            Some(Task::Push(push)) => {
                let created = if push.is_pushed { 0 } else { push.stored.resources.len() };
                self.done.push(format!("push {}", push.stored.key.name()));
                let trim = self.reconciler.pushed(&push.stored, &Report { created, ..Report::default() });
                self.reconciler.push_done(&push.stored.key);
                if let Some(trim) = trim {
                    self.done.push(format!("trim {} {}", push.stored.key.name(), trim.resources.len()));
                    self.version += 1;
                    let version = self.version.to_string();
                    let trimmed = Stored { replaced: Box::default(), version, ..(*push.stored).clone() };
                    self.reconciler.translations(&delta(vec![trimmed], Vec::new()));
                }
            }
            Some(Task::Remove(remove)) => {
                self.done.push(format!("remove {} {}", remove.stored.key.name(), remove.resources.len()));
                self.reconciler.removed(&remove.stored);
                self.reconciler.push_done(&remove.stored.key);
                self.reconciler.translations(&delta(Vec::new(), vec![(*remove.stored).clone()]));
            }
        }
        true
    }
}

/// With a node and a Pod in MidoNet.
fn settled() -> World {
    let mut world = World::new();
    world.reconciler.nodes(&delta(vec![node(1)], Vec::new()));
    assert!(world.work(true).is_empty(), "not all objects are read");
    world.reconciler.pods(&delta(vec![pod("p1", "n")], Vec::new()));
    let done = world.work(true);
    assert_eq!(done.iter().filter(|line| line.starts_with("push")).count(), 9, "{done:?}");
    world
}

fn starting(done: &[String], with: &str) -> Vec<String> {
    done.iter().filter(|line| line.starts_with(with)).cloned().collect()
}

#[test]
fn parents_are_pushed_before_what_needs_them() {
    let mut world = World::new();
    world.reconciler.nodes(&delta(vec![node(1)], Vec::new()));
    world.reconciler.pods(&delta(vec![pod("p1", "n")], Vec::new()));
    let done = world.work(true);
    let at = |what: &str| done.iter().position(|line| line.starts_with(what)).unwrap();
    assert!(at("push midonet-global") < at("push node-tunnel-endpoint"), "{done:?}");
    assert!(at("push node-tunnel-endpoint") < at("push node.4.n"));
    assert!(at("push node.4.n") < at("push pod.4.web"));
    assert_eq!(world.work(true), Vec::<String>::new(), "once is enough");
    assert_eq!(world.reconciler.load().pushed, 9);
}

#[test]
fn what_is_new_is_pushed_before_what_is_old_goes() {
    let mut world = settled();
    world.reconciler.nodes(&delta(vec![node(2)], Vec::new()));
    let done = world.work(false);
    assert_eq!(starting(&done, "delete"), Vec::<String>::new(), "MidoNet has nothing of the new ones");
    let done = world.work(true);
    let last_push = done.iter().rposition(|line| line.starts_with("push node-")).unwrap();
    let first_delete = done.iter().position(|line| line.starts_with("delete")).unwrap();
    assert!(last_push < first_delete, "{done:?}");
    assert_eq!(starting(&done, "remove").len(), 2, "{done:?}");
}

#[test]
fn what_a_translation_replaced_is_removed_once_all_is_pushed() {
    let mut world = settled();
    let mut other = node(1);
    other.0.host_id = Some("44fb4381-c99d-4389-86c3-000000000000".into());
    world.reconciler.nodes(&delta(vec![other], Vec::new()));
    let done = world.work(true);
    // The node's binding, and the Pod's.
    assert_eq!(starting(&done, "trim"), ["trim node.4.n 1", "trim pod.4.web 1"], "{done:?}");
    assert!(world.reconciler.inventory().iter().all(|stored| stored.replaced.is_empty()), "{REPLACED}");
}

#[test]
fn a_pod_of_the_same_name_is_made_again_once_the_old_one_is_gone() {
    let mut world = settled();
    let known = world.reconciler.inventory().get(&Key::namespaced("default", "pod.4.web")).unwrap().clone();
    // Kubernetes deletes what belongs to the old one.
    let deleting = Stored { deleting: true, version: "1000".into(), ..(*known).clone() };
    world.version = 1000;
    world.reconciler.translations(&delta(vec![deleting], Vec::new()));
    world.reconciler.pods(&delta(vec![pod("p2", "n")], Vec::new()));
    let done = world.work(true);
    assert_eq!(done, ["remove pod.4.web 2", "create pod.4.web", "push pod.4.web"]);
    let now = world.reconciler.inventory().get(&Key::namespaced("default", "pod.4.web")).unwrap();
    assert_eq!(now.reference.as_ref().unwrap().uid, "p2");
}

#[test]
fn what_goes_with_a_device_is_pushed_again() {
    let mut world = settled();
    let key = Key::namespaced("default", "node.4.n");
    let known = world.reconciler.inventory().get(&key).unwrap().clone();
    world.version = 1000;
    let deleting = Stored { deleting: true, version: "1000".into(), ..(*known).clone() };
    world.reconciler.translations(&delta(vec![deleting], Vec::new()));
    let done = world.work(true);
    assert_eq!(done.first().unwrap(), "remove node.4.n 9");
    let node = done.iter().position(|line| line == "push node.4.n").unwrap();
    let pod = done.iter().rposition(|line| line == "push pod.4.web").unwrap();
    assert!(node < pod, "{done:?}");
}

#[test]
fn objects_that_go_take_everything_with_them_but_the_globals() {
    let mut world = settled();
    world.reconciler.pods(&delta(Vec::new(), vec![pod("p1", "n")]));
    world.reconciler.nodes(&delta(Vec::new(), vec![node(1)]));
    world.work(true);
    assert_eq!(world.reconciler.inventory().len(), 3);
    assert_eq!(world.reconciler.load(), Load { translations: 3, pushed: 3, ..Load::default() });
}

#[test]
fn a_loss_is_made_good_and_a_failed_write_is_tried_again_later() {
    let mut world = settled();
    assert_eq!(world.reconciler.landmarks().len(), 5);
    world.reconciler.lost();
    assert!(world.reconciler.landmarks().is_empty(), "nothing is known of MidoNet");
    assert_eq!(starting(&world.work(true), "push").len(), 9);

    world.reconciler.nodes(&delta(vec![node(2)], Vec::new()));
    let Some(Job::Owner(change)) = world.reconciler.next_job(world.now) else { panic!("there is a change") };
    world.reconciler.write_failed(&change, world.now);
    assert!(world.reconciler.next_job(world.now).is_none());
    assert_eq!(world.reconciler.load().failing_owners, 1);
    world.now = world.reconciler.next_due().unwrap();
    assert!(!world.work(true).is_empty());
    assert_eq!(world.reconciler.load().failing_owners, 0);
}
