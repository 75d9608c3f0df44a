//! Leaks of killed plugins, lost nodes and manual changes are repaired where that is certain, and reported where it is
//! not; nothing changes while an ADD may be under way. `midonet-kube-node/src/leaks` decides, and has tests as tables.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::probe::ping;
use lab::{Family, Pod, Target};
use nodeapi::v1::Leak;

/// Where the node's addresses are.
const DIRECTORY: &str = "/var/lib/cni/networks/midonet-pod-network";

/// How long a leak may stay: the agent looks every minute.
const MINUTE: Duration = Duration::from_secs(180);

struct Scene(TestLab);

impl Scene {
    fn new(family: Family, agent_args: &[&str]) -> Self {
        Self(TestLab::up(1, family, agent_args).unwrap())
    }

    fn sh(&self, line: &str) -> String {
        sh(&self.0, &node1(), &format!("cd {DIRECTORY}; {line}"))
    }

    fn add(&self, name: &str) -> Pod {
        self.0.add_pod("node1", "default", name).unwrap()
    }

    /// The reservations: `ADDRESS: CONTAINER,INTERFACE`.
    fn reserved(&self) -> BTreeSet<String> {
        let text = self.sh("for f in *[.:]*; do echo \"$f: $(tr -s '\\r\\n' , < $f)\"; done");
        text.lines().filter(|line| !line.starts_with("last_reserved_ip")).map(str::to_owned).collect()
    }

    /// Those that Pods should have.
    fn held_by(&self, pods: &[&Pod]) -> BTreeSet<String> {
        let of = |pod: &&Pod| {
            let id = pod.container_id.clone();
            pod.addresses().into_iter().map(move |address| format!("{address}: {id},eth0"))
        };
        pods.iter().flat_map(of).collect()
    }

    /// Writes a reservation of every family; returns what [`Self::reserved`] says of them.
    fn plant(&self, host: u8, content: &str, age: &str) -> BTreeSet<String> {
        let cidrs = self.0.state().unwrap().node("node1").unwrap().pod_cidrs.clone();
        let mut planted = BTreeSet::new();
        for cidr in cidrs {
            let address = cidr.hosts().nth(usize::from(host) - usize::from(cidr.addr().is_ipv4())).unwrap();
            self.sh(&format!("printf '{content}' > {address}; touch -d '{age}' {address}"));
            planted.insert(format!("{address}: {}", content.replace("\\r\\n", ",")));
        }
        planted
    }

    /// The value of one of the agent's metrics.
    fn metric(&self, name: &str, what: &str) -> u64 {
        let page = self.sh("curl -sf -m30 http://127.0.0.1:9454/metrics");
        let line = format!("midonet_kube_node_{name}{{what=\"{what}\"}} ");
        page.lines().find_map(|l| l.strip_prefix(&line).map(|n| n.parse().unwrap())).unwrap_or(0)
    }

    fn leaks(&self) -> Vec<Leak> {
        self.0.status("node1").unwrap().leaks
    }

    /// Has the agent look: it does at its start.
    fn look(&self) {
        self.0.restart_agent("node1").unwrap();
    }

    fn becomes(&self, want: &BTreeSet<String>) {
        let end = std::time::Instant::now() + DEADLINE;
        while self.reserved() != *want && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.reserved(), *want);
    }

    fn reaches(&self, from: &Pod, to: &Pod) {
        let netns = self.0.netns(&Target::Pod(from.key.clone())).unwrap();
        for address in to.addresses() {
            ping(&netns, address, DEADLINE).unwrap();
        }
    }

    fn midokube_status(&self) -> String {
        let program = e2e::programs().join("midokube");
        self.sh(&format!("{} status", program.display()))
    }
}

fn union(sets: &[&BTreeSet<String>]) -> BTreeSet<String> {
    sets.iter().flat_map(|set| set.iter().cloned()).collect()
}

#[test]
fn addresses_of_containers_that_are_gone_come_free() {
    for family in [Family::V4, Family::V6, Family::Dual] {
        let scene = Scene::new(family, &[]);
        let (a, b) = (scene.add("a"), scene.add("b"));
        let living = scene.held_by(&[&a, &b]);
        let families = a.ips.len() as u64;
        // However old a living container is.
        scene.sh("touch -d '3 hours ago' *[.:]*; echo mine > note; touch -d '3 hours ago' note");
        // A runtime that gives a sandbox four minutes may still be at it.
        let fresh = union(&[
            &scene.plant(100, "c0ffee\\r\\neth0", "now"),
            &scene.plant(101, "c0ffef\\r\\neth0", "5 minutes ago"),
            &scene.plant(102, "", "1 minute ago"),
        ]);
        scene.plant(110, "dead\\r\\neth0", "11 minutes ago");
        scene.plant(111, "dead", "3 days ago");
        scene.plant(112, "", "1 hour ago");
        scene.plant(113, "de", "30 minutes ago");
        // Another interface of a container that is there.
        scene.plant(114, &format!("{}\\r\\nnet9", a.container_id), "11 minutes ago");
        scene.look();
        scene.becomes(&union(&[&living, &fresh]));
        assert_eq!(scene.metric("repairs_total", "address_without_container"), 5 * families);
        assert_eq!(scene.sh("cat note"), "mine\n");
        assert_eq!(scene.leaks(), []);
        // Their DELs do not mind.
        scene.reaches(&a, &b);
        scene.0.check_pod(&a.key).unwrap();
        scene.0.delete_pod(&a.key).unwrap();
        assert_eq!(scene.reserved(), union(&[&scene.held_by(&[&b]), &fresh]));
    }
}

#[test]
fn an_emptied_directory_of_addresses_is_restored_and_no_address_is_given_twice() {
    for family in [Family::V4, Family::V6, Family::Dual] {
        let scene = Scene::new(family, &[]);
        let mut pods = vec![scene.add("a"), scene.add("b"), scene.add("c")];
        for (round, empty) in
            ["rm -f *", "cd ..; rm -r midonet-pod-network", "cd /; rm -r /var/lib/cni/networks"]
                .into_iter()
                .enumerate()
        {
            let before = scene.reserved();
            assert_eq!(before, scene.held_by(&pods.iter().collect::<Vec<_>>()));
            scene.sh(empty);
            scene.look();
            testkit::wait_until(DEADLINE, "the directory is there", || {
                let look = scene.0.output(&Target::Node("node1".into()), "test", &["-d", DIRECTORY]);
                look.unwrap().status.success()
            });
            scene.becomes(&before);
            let count = scene.metric("repairs_total", "container_without_address");
            assert_eq!(count, before.len() as u64);
            // The allocator does not remember what it gave last.
            pods.push(scene.add(&format!("d{round}")));
            let addresses: Vec<IpAddr> = pods.iter().flat_map(Pod::addresses).collect();
            let different: BTreeSet<_> = addresses.iter().collect();
            assert_eq!(different.len(), addresses.len(), "{addresses:?}");
            for pod in &pods {
                scene.0.check_pod(&pod.key).unwrap();
            }
            scene.reaches(&pods[0], pods.last().unwrap());
        }
        for pod in &pods {
            scene.0.delete_pod(&pod.key).unwrap();
        }
        assert_eq!(scene.sh("ls | grep -v -e lock -e last_reserved_ip || true"), "");
    }
}

#[test]
fn an_address_conflict_is_reported_until_it_is_resolved() {
    let scene = Scene::new(Family::Dual, &[]);
    let (a, b) = (scene.add("a"), scene.add("b"));
    let addresses = a.addresses();
    for address in &addresses {
        scene.sh(&format!("printf 'beef\\r\\neth0' > {address}; touch -d '1 hour ago' {address}"));
    }
    let before = scene.reserved();
    scene.look();
    testkit::wait_until(DEADLINE, "both conflicts are told", || scene.leaks().len() == 2);
    for (leak, address) in scene.leaks().iter().zip(&addresses) {
        assert_eq!(leak.what, "address_conflict");
        assert!(leak.object.contains(&address.to_string()) && leak.object.contains("default/a"), "{leak:?}");
        assert!(leak.reason.contains("container beef") && leak.remedy.contains("delete the Pod"), "{leak:?}");
    }
    assert_eq!(scene.metric("leaks", "address_conflict"), 2);
    let shown = scene.midokube_status();
    assert!(shown.contains("Leaks\n address_conflict: ") && shown.contains("container beef"), "{shown}");
    let log = std::fs::read_to_string(scene.0.log("node1")).unwrap();
    assert_eq!(log.matches("leaked, and not repaired").count(), 2, "{log}");
    // Nothing is touched.
    assert_eq!(scene.reserved(), before);
    scene.reaches(&a, &b);

    scene.0.delete_pod(&a.key).unwrap();
    scene.look();
    // Without its user the reservation is what it always was: one of a container that is gone.
    scene.becomes(&scene.held_by(&[&b]));
    assert_eq!(scene.leaks(), []);
    assert_eq!(scene.metric("leaks", "address_conflict"), 0);
    assert!(scene.midokube_status().contains("Leaks\n none\n"));
}

#[test]
fn a_port_whose_interface_vanished_while_no_agent_ran_is_released() {
    let scene = Scene::new(Family::Dual, &[]);
    let (a, b) = (scene.add("a"), scene.add("b"));
    scene.sh("touch -d '20 minutes ago' *[.:]*");
    scene.0.stop_agent("node1").unwrap();
    scene.sh(&format!("ip link delete {}", naming::pod_host_interface(&a.key)));
    scene.0.start_agent("node1").unwrap();
    scene.becomes(&scene.held_by(&[&b]));
    assert_eq!(scene.metric("repairs_total", "port_without_interface"), 1);
    assert_eq!(scene.metric("repairs_total", "address_without_container"), 2);
    // And while one runs.
    scene.sh(&format!("ip link delete {}", naming::pod_host_interface(&b.key)));
    testkit::wait_until(DEADLINE, "the port is released", || {
        scene.0.status("node1").unwrap().ports.is_empty()
    });
    // It is counted once it is done, and the page of metrics is made four times a second at most.
    testkit::wait_until(DEADLINE, "the repair is counted", || {
        scene.metric("repairs_total", "port_without_interface") == 2
    });
}

#[test]
fn an_address_can_be_given_again_before_its_old_port_is_released() {
    let scene = Scene::new(Family::Dual, &[]);
    for round in 0..8 {
        let old = scene.add(&format!("old{round}"));
        // What a DEL does that finds no agent; and the next address is to be the same.
        scene.sh(&format!("ip link delete {}", naming::pod_host_interface(&old.key)));
        for (set, address) in old.addresses().into_iter().enumerate() {
            scene.sh(&format!("rm {address}; printf {} > last_reserved_ip.{set}", before(address)));
        }
        let new = scene.add(&format!("new{round}"));
        assert_eq!(new.addresses(), old.addresses());
        assert_eq!(scene.0.status("node1").unwrap().ports.len(), 1);
        scene.0.delete_pod(&new.key).unwrap();
    }
    assert_eq!(scene.metric("repairs_total", "port_without_interface"), 8);
}

fn before(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() - 1).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() - 1).into()),
    }
}

#[test]
fn addresses_of_another_ipam_plugin_are_ignored() {
    let scene = Scene::new(Family::Dual, &["--ipam-type", "static"]);
    scene.sh(&format!("mkdir -p {DIRECTORY}"));
    let planted = scene.plant(110, "dead\\r\\neth0", "3 days ago");
    scene.look();
    testkit::wait_until(DEADLINE, "the agent says so", || {
        let status = scene.0.status("node1").unwrap();
        status.leaks_incomplete.contains("static keeps the addresses") && status.agent.unwrap().ready
    });
    assert!(scene.midokube_status().contains("not everything was checked: static keeps the addresses"));
    assert_eq!(scene.reserved(), planted);
}

#[test]
fn leaks_are_found_while_the_agent_runs() {
    let scene = Scene::new(Family::Dual, &[]);
    let a = scene.add("a");
    // An ADD that is under way, or was killed before its interface was up; and a Pod that lost its port.
    let mac = naming::GATEWAY_MAC;
    let links = format!(
        "ip link add mido00000000001 address {mac} type veth peer name p1; \
         ip link add mido00000000002 address {mac} type veth peer name p2; \
         ip link set mido00000000001 alias 'default/killed 0123 eth0 -'; \
         ip link set mido00000000002 alias 'default/lost 4567 eth0 -'; ip link set mido00000000002 up"
    );
    scene.sh(&links);
    scene.look();
    testkit::wait_until(DEADLINE, "the agent is there", || scene.0.status("node1").is_ok());
    scene.plant(110, "dead\\r\\neth0", "11 minutes ago");
    // Of the interfaces' own containers nothing is given back.
    let kept = union(&[
        &scene.held_by(&[&a]),
        &scene.plant(111, "0123\\r\\neth0", "1 hour ago"),
        &scene.plant(112, "4567\\r\\neth0", "1 hour ago"),
    ]);
    testkit::wait_until(MINUTE, "the addresses come free", || scene.reserved() == kept);
    testkit::wait_until(DEADLINE, "the Pod without a port is told", || scene.leaks().len() == 1);
    let leak = &scene.leaks()[0];
    assert_eq!(leak.what, "interface_without_port");
    assert!(leak.object.contains("mido00000000002 of Pod default/lost, container 4567"), "{leak:?}");
    assert_eq!(scene.metric("leaks", "interface_without_port"), 1);
    let links = scene.sh("ls /sys/class/net");
    assert!(links.contains("mido00000000001") && links.contains("mido00000000002"), "{links}");
}
