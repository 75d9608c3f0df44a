//! Ten thousand random calls of the plugin, several at a time, while plugins and agents are killed: nothing leaks, no
//! address is given twice, and every error has the specification's form.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod model;
mod runtime;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::chaos::kill_and_restart;
use e2e::{DEADLINE, TestLab, node1, sh};
use lab::{Family, Lab};
use model::Model;
use testkit::Random;

const CALLS: u64 = 10_000;

/// After so many calls the runtime tidies up, and everything that exists is compared with what should.
const STAGE: u64 = 2_000;

/// An agent lives for at most so many calls.
const LIFE: u64 = 400;

const WORKERS: u64 = 8;
const PODS: usize = 200;

#[test]
fn ten_thousand_calls_leak_nothing_and_give_nothing_twice() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let init = lab.state().unwrap().node("node1").unwrap().init;
    let list = sh(&lab, &node1(), "cat /etc/cni/net.d/10-midonet.conflist");
    let inside = |work: &(dyn Fn(&Model) + Sync), model: &Model| {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                runtime::enter(init);
                work(model);
            });
            thread.join().unwrap();
        });
    };
    let model = Model::new(serde_json::from_str(&list).unwrap(), PODS);
    inside(&Model::make_namespaces, &model);
    let interfaces = interfaces(&lab);
    // One Pod came and went already: its network's directories are there.
    let first = lab.add_pod("node1", "default", "first").unwrap();
    lab.delete_pod(&first.key).unwrap();
    let nothing = Kernel { interfaces, ..Kernel::look(&lab) };

    let (start, calls) = (Instant::now(), AtomicU64::new(0));
    for stage in 1..=CALLS / STAGE {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let killer = scope.spawn(|| {
                let mut random = Random::new(1000 + stage);
                // By calls, not by time: on a busy machine an agent takes long to start.
                let mut next = calls.load(Ordering::Relaxed) + random.below(LIFE);
                while !done.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                    if calls.load(Ordering::Relaxed) >= next {
                        kill_and_restart(&lab, "node1", &mut random).unwrap();
                        next = calls.load(Ordering::Relaxed) + random.below(LIFE);
                    }
                }
            });
            let (model, calls) = (&model, &calls);
            let work = move |worker: u64| {
                runtime::enter(init);
                let mut random = Random::new(stage * WORKERS + worker);
                while calls.fetch_add(1, Ordering::Relaxed) < stage * STAGE {
                    model.call(&mut random);
                }
                // One that was refused is no call.
                calls.fetch_sub(1, Ordering::Relaxed);
            };
            let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
            let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            killer.join().unwrap();
            ended.into_iter().for_each(|worker| worker.unwrap());
        });
        inside(&Model::tidy_up, &model);
        agree(&lab, &nothing, &model);
        eprintln!("{} calls in {:?}: {:?}", stage * STAGE, start.elapsed(), model.counts());
    }
    model.assert_that_all_was_tried();

    inside(&Model::delete_all, &model);
    agree(&lab, &nothing, &model);
    let leaked =
        "curl -sf -m30 http://127.0.0.1:9454/metrics | grep ^midonet_kube_node_leaks | grep -v ' 0$' || true";
    assert_eq!(sh(&lab, &node1(), leaked), "");
}

fn interfaces(lab: &Lab) -> BTreeSet<String> {
    let names = sh(lab, &node1(), "ip -o link | sed -E 's/^[0-9]+: ([^:@]+).*/\\1/'");
    names.lines().map(str::to_owned).collect()
}

/// What there is on the node.
#[derive(Debug, Clone, PartialEq)]
struct Kernel {
    interfaces: BTreeSet<String>,
    /// Address and owner.
    addresses: BTreeSet<String>,
    /// All other files.
    files: BTreeSet<String>,
    /// In the datapath: ports and endpoints.
    entries: [usize; 2],
}

impl Kernel {
    fn look(lab: &Lab) -> Self {
        let lines = |line: &str| sh(lab, &node1(), line).lines().map(str::to_owned).collect();
        let map = |name: &str| {
            let line = format!("bpftool -j map dump pinned $(ls /sys/fs/bpf/midonet-kube/maps/{name}-v*)");
            // Of each entry the bytes, which are strings; what they mean follows.
            sh(lab, &node1(), &line).matches("\"key\":[\"0x").count()
        };
        Self {
            interfaces: interfaces(lab),
            addresses: lines(
                "cd /var/lib/cni/networks/midonet-pod-network; for f in [0-9f]*[.:]*; do \
                 [ ! -f $f ] || echo $f $(tr '\\r' ' ' < $f); done",
            ),
            files: lines(
                "find /var/lib/cni /etc/cni /opt/cni /run/midonet-kube-node /sys/fs/bpf ! -name '[0-9f]*[.:]*' \
                 ! -path '*/.owners/*/*'",
            ),
            entries: ["ports", "endpoints"].map(map),
        }
    }

    /// What differs, so that it can be read.
    fn compare(&self, want: &Self) -> Vec<String> {
        let sets = [
            (&self.interfaces, &want.interfaces),
            (&self.addresses, &want.addresses),
            (&self.files, &want.files),
        ];
        let leaked = sets.iter().flat_map(|(is, want)| is.difference(want)).map(|it| format!("leaked: {it}"));
        let lost = sets.iter().flat_map(|(is, want)| want.difference(is)).map(|it| format!("lost: {it}"));
        let mut all: Vec<String> = leaked.chain(lost).collect();
        if self.entries != want.entries {
            all.push(format!("{:?} ports and endpoints, not {:?}", self.entries, want.entries));
        }
        all
    }
}

/// Fails unless the node has what it had without Pods, and of each Pod what it should.
fn agree(lab: &TestLab, nothing: &Kernel, model: &Model) {
    let pods = model.attached();
    let mut want = nothing.clone();
    for pod in &pods {
        want.entries[0] += 1;
        want.entries[1] += pod.addresses.len();
        want.interfaces.insert(pod.interface.clone());
        want.addresses
            .extend(pod.addresses.iter().map(|address| format!("{address} {} eth0", pod.container_id)));
    }
    let (mut is, end) = (Kernel::look(lab), Instant::now() + DEADLINE);
    // Dead interfaces are deleted bit by bit.
    while is != want && Instant::now() < end {
        thread::sleep(Duration::from_millis(100));
        is = Kernel::look(lab);
    }
    assert_eq!(is.compare(&want), [""; 0]);
    let status = lab.status("node1").unwrap();
    assert_eq!((status.ports.len(), status.leaks), (pods.len(), vec![]));
}
