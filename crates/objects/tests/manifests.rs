//! Manifests that are read once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;

use objects::{Key, Manifests};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: web}}\nspec: {hostNetwork: true}\nstatus: {podIPs: [{ip: 10.0.0.1}]}\n";

fn names(manifests: &Manifests) -> Vec<String> {
    manifests.workloads.keys().map(|(kind, key)| format!("{kind} {key}")).collect()
}

#[test]
fn workloads_stand_for_their_pods() {
    let directory = tempfile::tempdir().unwrap();
    let template = "metadata: {labels: {app: web}, name: other}, spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}";
    let object = |version: &str, kind: &str, spec: &str| {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{generateName: x, namespace: shop, labels: {{app: no}}}}\nspec: {spec}\n"
        )
    };
    let mut text =
        object("batch/v1", "CronJob", &format!("{{jobTemplate: {{spec: {{template: {{{template}}}}}}}}}"));
    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("batch/v1", "Job"),
        ("example.org/v1", "Deployment"),
    ] {
        text += &object(version, kind, &format!("{{template: {{{template}}}}}"));
    }
    fs::write(directory.path().join("all.yaml"), text).unwrap();
    fs::write(directory.path().join("pod.yaml"), POD).unwrap();
    let manifests = Manifests::read(directory.path()).unwrap();
    let kinds = ["CronJob", "DaemonSet", "Deployment", "Job"];
    let mut want: Vec<String> = kinds.map(|kind| format!("{kind} shop/x")).into();
    want.push("Pod default/a".into());
    want.extend(["ReplicaSet", "StatefulSet"].map(|kind| format!("{kind} shop/x")));
    assert_eq!(names(&manifests), want);
    for ((kind, key), workload) in &manifests.workloads {
        let pod = &workload.pod;
        assert_eq!((workload.kind, &pod.key, pod.labels.get("app")), (*kind, key, Some("web")));
        let is_pod = *kind == "Pod";
        assert_eq!(
            (pod.host_network, pod.addresses.len(), pod.ports.len()),
            (is_pod, usize::from(is_pod), usize::from(!is_pod))
        );
    }
}

#[test]
fn directories_are_read_in_order_and_the_first_of_two_counts() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let namespace = |label: &str| {
        format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: a, labels: {{x: {label}}}}}}}\n")
    };
    fs::create_dir_all(path("b/c")).unwrap();
    fs::write(path("b/c/one.yml"), namespace("first") + "---\n" + &namespace("twice")).unwrap();
    fs::write(path("c.json"), namespace("second")).unwrap();
    fs::write(path("readme.md"), "{").unwrap();
    fs::write(path(".hidden.yaml"), "{").unwrap();
    symlink("c.json", path("d.yaml")).unwrap();
    let manifests = Manifests::read(directory.path()).unwrap();
    let read = manifests.namespaces.get(&Key::new("a")).unwrap();
    assert_eq!(read.labels.get("x"), Some("first"));
    let doubles: Vec<&(String, String)> = manifests.doubles.iter().collect();
    assert!(doubles.iter().all(|(object, _)| object == "Namespace a") && doubles.len() == 3, "{doubles:?}");
    let one = path("b/c/one.yml");
    let want = format!(
        "it is in {0}: document 1 (line 1) and in {0}: document 2 (line 2): the first one counts",
        one.display()
    );
    assert_eq!(doubles[0].1, want);

    symlink("..", path("b/back")).unwrap();
    let error = Manifests::read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("more than 32 times"), "{error}");
}

#[test]
fn errors_say_where_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    for (text, place, problem) in [
        ("# nothing\n---\na: 1\nb: [\n", "document 2 (line 2)", "at line 5 column 1"),
        ("{kind: Pod}", "document 1 (line 1)", "it has no apiVersion"),
        ("{apiVersion: v1, kind: Namespace}", "document 1 (line 1)", "Namespace: metadata.name is missing"),
        (
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: x}, spec: {template: {}}}",
            "document 1 (line 1)",
            "CronJob default/x: spec.jobTemplate.spec.template: it is missing",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{ports: [{name: p, containerPort: 0}]}]}}",
            "document 1 (line 1)",
            "Pod default/x: spec.containers.ports[\"p\"]: ",
        ),
    ] {
        fs::write(&path, text).unwrap();
        let error = Manifests::read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {place}: ", path.display())), "{error}");
        assert!(error.contains(problem), "{problem} in {error}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    let error = Manifests::read(&path).unwrap_err().to_string();
    assert!(error.contains("x: cannot read it: ") && error.contains("UTF-8"), "{error}");
}
