//! The plugin is killed before each of its system calls. The runtime's next calls leave nothing behind, and meanwhile
//! no other Pod gets an address that is in use.

use lab::Family;
use serde_json::{Value, json};

use crate::node::{Fault, Node, Sandbox};

const IN_PROCESS: &str = "midonet-kube-ipam";

/// How often another container comes and goes while one is half-way.
const OTHERS: usize = 8;

/// Kills a verb's call before every `step`th system call. Before each, the sandbox is attached if the verb
/// needs it; after each, the runtime does what it would do.
fn kill_calls(node: &Node, verb: &str, config: &Value, step: usize) {
    let another = node.sandbox("another");
    let mut pod = node.sandbox("pod");
    let prepare = |pod: &Sandbox| {
        if verb != "ADD" {
            node.add(pod);
        }
    };
    prepare(&pod);
    let calls = node.system_calls(verb, &pod, config);
    node.delete(&pod);
    let (all, mut kills, mut tried) = (calls.len(), 0, 0);
    for (number, call) in calls.into_iter().enumerate().step_by(step) {
        if verb == "GC" {
            // Its container is gone: with the sandbox goes what GC does not reach.
            node.end(&pod);
            pod = node.sandbox("pod");
        }
        prepare(&pod);
        let fault = Fault::Kill(call);
        let answer = node.call(verb, &pod, config, &fault);
        // How often it asks for what is not there yet is not always the same.
        assert!(answer.killed() || answer.status.success(), "{verb} {fault:?}: {answer:?}");
        (tried, kills) = (tried + 1, kills + usize::from(answer.killed()));
        wait_for_children(&pod);
        node.assert_held(&pod, &fault);
        if number % OTHERS == 0 {
            node.assert_another_gets_others(&another, &[&node.living, &pod], &fault);
        }
        if verb == "GC" {
            let again = node.call(verb, &pod, config, &Fault::None);
            assert!(again.status.success(), "{fault:?}: {again:?}");
            node.assert_released(&pod, &fault);
        } else {
            node.delete(&pod);
            node.assert_gone(&pod, &fault);
        }
    }
    eprintln!("{verb}: killed {kills} times of {tried}, at {all} system calls");
    assert!(kills * 10 > tried * 9, "{verb}: only {kills} kills of {tried}");
    node.end(&pod);
    node.end(&another);
    node.assert_as_before();
}

/// What the plugin executed goes on when it is killed, and ends by itself.
fn wait_for_children(pod: &Sandbox) {
    let words = format!("CNI_CONTAINERID={}\0", pod.name);
    let runs = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
        environments.into_iter().any(|env| String::from_utf8_lossy(&env).contains(&words))
    };
    testkit::wait_until(e2e::DEADLINE, "what the plugin executed ends", || !runs());
}

#[test]
fn add_killed_before_every_system_call() {
    let node = Node::new(Family::Dual, IN_PROCESS);
    kill_calls(&node, "ADD", &node.config, 1);
}

#[test]
fn del_killed_before_every_system_call() {
    let node = Node::new(Family::Dual, IN_PROCESS);
    kill_calls(&node, "DEL", &node.config, 1);
}

#[test]
fn one_family_alone() {
    for family in [Family::V4, Family::V6] {
        let node = Node::new(family, IN_PROCESS);
        kill_calls(&node, "ADD", &node.config, 11);
        let node = Node::new(family, IN_PROCESS);
        kill_calls(&node, "DEL", &node.config, 11);
    }
}

#[test]
fn with_an_executed_ipam_plugin() {
    let node = Node::new(Family::Dual, "host-local");
    kill_calls(&node, "ADD", &node.config, 9);
    let node = Node::new(Family::Dual, "host-local");
    kill_calls(&node, "DEL", &node.config, 9);
}

#[test]
fn gc_killed() {
    let node = Node::new(Family::Dual, IN_PROCESS);
    let mut config = node.config.clone();
    config["cni.dev/valid-attachments"] = json!([{"containerID": node.living.name, "ifname": "eth0"}]);
    kill_calls(&node, "GC", &config, 3);
}

#[test]
fn check_killed_changes_nothing() {
    let node = Node::new(Family::Dual, IN_PROCESS);
    let pod = node.sandbox("pod");
    let added = node.call("ADD", &pod, &node.config, &Fault::None);
    let (reserved, used) = (node.reserved(&pod), node.used(&pod));
    let mut config = node.config.clone();
    config["prevResult"] = added.json;
    for call in node.system_calls("CHECK", &pod, &config).into_iter().step_by(5) {
        let fault = Fault::Kill(call);
        let answer = node.call("CHECK", &pod, &config, &fault);
        assert!(answer.killed() || answer.status.success(), "{fault:?}: {answer:?}");
        assert_eq!((node.reserved(&pod), node.used(&pod)), (reserved.clone(), used.clone()), "{fault:?}");
    }
    let checked = node.call("CHECK", &pod, &config, &Fault::None);
    assert!(checked.status.success(), "{checked:?}");
    node.delete(&pod);
    node.assert_gone(&pod, &Fault::None);
    node.assert_as_before();
}
