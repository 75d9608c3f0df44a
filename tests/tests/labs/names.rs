//! Every name that Kubernetes accepts works: names of Pods have up to 253 characters, of namespaces 63, ids of containers
//! 64 or more. What does not fit into the alias of a Pod's interface is known to the next agent, too.

use e2e::{DEADLINE, TestLab, node1, pod, sh};
use lab::probe::ping;
use lab::{Family, Pod};

fn known(lab: &TestLab) -> Vec<(String, String)> {
    let ports = lab.status("node1").unwrap().ports;
    let mut names: Vec<_> = ports.into_iter().map(|port| (port.namespace, port.name)).collect();
    names.sort();
    names
}

fn key(pod: &Pod) -> (String, String) {
    (pod.key.namespace.clone(), pod.key.name.clone())
}

/// The annotated Pods' names.
fn annotated(lab: &TestLab) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(lab.manifests().join("annotations")).into_iter().flatten().flatten();
    let files =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let read = |path| {
        let text = std::fs::read_to_string(path).ok()?;
        let word = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
            line.map(|word| word.trim_matches('\'').to_owned())
        };
        text.contains("midonet.org/ip-addresses").then_some((word("namespace")?, word("name")?))
    };
    let mut names: Vec<_> = files.filter_map(read).collect();
    names.sort();
    names
}

#[test]
fn pods_with_the_longest_names() {
    let lab = TestLab::up(1, Family::Dual, &[]).unwrap();
    let name = |letter: &str, length: usize| letter.repeat(length);
    let mut pods = Vec::new();
    // Around the lengths from which on the UID, and then the name, do not fit into an alias of 254 bytes.
    for (pod, namespace) in
        [(1, 1), (63, 63), (138, 7), (140, 7), (141, 7), (174, 7), (175, 7), (176, 7), (253, 63)]
    {
        let pod = lab.add_pod("node1", &name("s", namespace), &name("n", pod));
        pods.push(pod.unwrap_or_else(|error| panic!("{pods:?}: {error:#}")));
    }
    let first = lab.netns(&pod(&pods[0])).unwrap();
    for other in &pods {
        lab.check_pod(&other.key).unwrap();
        for address in other.addresses() {
            ping(&first, address, DEADLINE).unwrap();
        }
    }
    let mut wanted: Vec<_> = pods.iter().map(key).collect();
    wanted.sort();
    assert_eq!(known(&lab), wanted);
    testkit::wait_until(DEADLINE, "all are annotated", || annotated(&lab) == wanted);
    let kept = || sh(&lab, &node1(), "ls /run/midonet-kube-node/names 2>/dev/null | wc -l");
    assert_ne!(kept(), "0\n");

    // The next agent knows them whole, and annotates them.
    std::fs::remove_dir_all(lab.manifests().join("annotations")).unwrap();
    lab.restart_agent("node1").unwrap();
    assert_eq!(known(&lab), wanted);
    testkit::wait_until(DEADLINE, "all are annotated again", || annotated(&lab) == wanted);

    // Without what it kept, by the beginnings of their names.
    sh(&lab, &node1(), "rm -r /run/midonet-kube-node/names");
    lab.restart_agent("node1").unwrap();
    assert_eq!(known(&lab).len(), wanted.len());
    for other in &pods {
        lab.check_pod(&other.key).unwrap();
        lab.delete_pod(&other.key).unwrap();
    }
    assert_eq!(known(&lab), []);
    // The same names again, and no file stays behind.
    let again = lab.add_pod("node1", &name("s", 63), &name("n", 253)).unwrap();
    assert_eq!(kept(), "1\n");
    lab.delete_pod(&again.key).unwrap();
    assert_eq!(kept(), "0\n");
}
