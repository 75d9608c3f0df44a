//! `midokube policy diff`: what it prints of folders of manifests, and what it takes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// So long it takes one CPU to compare 2,000 workloads at most.
const LONGEST: Duration = Duration::from_secs(10);

/// So much memory that takes at most, in KiB.
const MOST: i64 = 500 << 10;

/// So many workloads there are then.
const WORKLOADS: usize = 2000;

/// So many are in a namespace.
const IN_NAMESPACE: usize = 20;

fn command(old: &Path, new: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midokube"));
    command.args(["policy", "diff"]).args([old, new]).args(more).stdin(Stdio::null());
    command
}

fn run(old: &Path, new: &Path, more: &[&str]) -> Output {
    command(old, new, more).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Two folders, with these files.
struct Folders {
    _directory: tempfile::TempDir,
    old: PathBuf,
    new: PathBuf,
}

impl Folders {
    fn new(old: &[(&str, &str)], new: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |folder: &str, files: &[(&str, &str)]| {
            let folder = directory.path().join(folder);
            fs::create_dir(&folder).unwrap();
            for (name, text) in files {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            folder
        };
        let (old, new) = (write("old", old), write("new", new));
        Self { _directory: directory, old, new }
    }

    fn run(&self, more: &[&str]) -> Output {
        run(&self.old, &self.new, more)
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&self.run(&["-o", "json"]).stdout).unwrap()
    }
}

fn deployment(namespace: &str, name: &str) -> String {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": []}});
    let metadata = json!({"name": name, "namespace": namespace});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}});
    format!("---\n{object}\n")
}

fn policy(namespace: &str, name: &str, spec: &Value) -> String {
    let metadata = json!({"namespace": namespace, "name": name});
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
    format!("---\n{object}\n")
}

#[test]
fn the_documented_example_is_what_is_printed() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = repository.join("docs/policy-diff");
    let output = run(&example.join("old"), &example.join("new"), &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), ""));
    let document = fs::read_to_string(repository.join("docs/policy.md")).unwrap();
    let printed = stdout(&output);
    assert!(document.contains(&format!("```text\n{printed}```\n")), "docs/policy.md lacks this:\n{printed}");
}

#[test]
fn programs_get_every_field() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = repository.join("docs/policy-diff");
    let output = run(&example.join("old"), &example.join("new"), &["-o", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["kind"], "PolicyDifference");
    let change = document["changes"].as_array().unwrap().iter().find(|change| change["allowed"] == true);
    let workload = |kind: &str, name: &str| json!({"kind": kind, "namespace": "shop", "name": name});
    assert_eq!(
        *change.unwrap(),
        json!({
            "allowed": true,
            "sources": [{"block": "192.0.2.0/24", "except": ["192.0.2.64/26"]}],
            "destinations": [workload("Deployment", "api")],
            "ports": [{"protocol": "tcp", "first": 8443, "last": 8443}],
            "family": null,
            "by": [{
                "direction": "ingress", "decidedBy": "networkPolicy", "policies": ["shop/api"], "rule": 0,
                "ruleName": null, "audit": false, "why": "ingress[0] of NetworkPolicy shop/api",
            }],
        })
    );
    let yaml = run(&example.join("old"), &example.join("new"), &["-o", "yaml"]);
    let yaml: Value = serde_yaml_ng::from_slice(&yaml.stdout).unwrap();
    assert_eq!(yaml, document);
}

#[test]
fn the_same_is_the_same_however_it_is_written() {
    let allow =
        json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]});
    let workloads = deployment("a", "web") + &deployment("a", "db");
    // The namespace's Pods, by its name.
    let named = json!({"matchLabels": {"kubernetes.io/metadata.name": "a"}});
    let same = json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": named}]}]});
    let old = policy("a", "p", &allow) + &workloads;
    let (web, db, new) = (deployment("a", "web"), deployment("a", "db"), policy("a", "q", &same));
    let folders = Folders::new(
        &[("all.yaml", &old), ("readme.txt", "none"), (".hidden/x.yaml", "{")],
        &[("b/deeper/web.yml", &web), ("db.json", db.trim_start_matches("---")), ("policy.yaml", &new)],
    );
    let output = folders.run(&[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output), "Both allow the same connections.\n");
    // A file is as good as a folder.
    let output = run(&folders.old.join("all.yaml"), &folders.new, &[]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_workload_of_one_state_is_not_compared() {
    let deny = policy("a", "deny", &json!({"podSelector": {}}));
    let both = deployment("a", "web") + &deny;
    let (old, new) = (deployment("a", "gone") + &both, both + &deployment("b", "fresh"));
    let folders = Folders::new(&[("x.yaml", &old)], &[("x.yaml", &new)]);
    let output = folders.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let want = "Only in the old state\n Deployment a/gone\n\nOnly in the new state\n Deployment b/fresh\n";
    assert_eq!(stdout(&output), want);
}

#[test]
fn what_cannot_be_read_is_trouble_and_what_fails_closed_a_warning() {
    let web = deployment("a", "web");
    let trouble = [
        ("kind: [\n", "document 1 (line 1): "),
        ("# one\n---\n# two\n---\nkind: Pod\nspec: }\n", "line 6 column 7"),
        ("values: 7\n", "it has no apiVersion or no kind"),
        ("{apiVersion: v1, kind: Pod, metadata: {}}\n", "Pod: metadata.name is missing"),
        (
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}\n",
            "Deployment default/x: spec.template: ",
        ),
        (
            "{apiVersion: policy.networking.k8s.io/v1alpha9, kind: ClusterNetworkPolicy, metadata: {name: x}}\n",
            "ClusterNetworkPolicy x: apiVersion: its version \"v1alpha9\" is unknown",
        ),
        (
            "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: x}, spec: {}}\n",
            "ClusterNetworkPolicy x: ",
        ),
    ];
    for (text, want) in trouble {
        let folders = Folders::new(&[("a.yaml", &web)], &[("a.yaml", text)]);
        let output = folders.run(&[]);
        let said = stderr(&output);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{text}: {said}");
        assert!(said.contains(want) && said.contains("new/a.yaml"), "{want} in {said}");
    }
    let folders = Folders::new(&[("a.yaml", &web)], &[("a.yaml", &web)]);
    let output = run(&folders.old, &folders.new.join("none"), &[]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("new/none: cannot read it: "));

    // A part that is wrong matches nothing.
    let rule = json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]);
    let wrong = web.clone() + &policy("a", "p", &json!({"podSelector": {}, "ingress": rule}));
    let twice = wrong.clone() + &web;
    let nodes = json!({"name": "n", "action": "Accept", "to": [{"nodes": {}}]});
    let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": [nodes]});
    let cluster = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": "c"}, "spec": spec,
    });
    let twice = format!("{twice}---\n{cluster}\n");
    let folders = Folders::new(&[("a.yaml", &web)], &[("a.yaml", &twice)]);
    let document = folders.document();
    let told: Vec<(&Value, &Value)> =
        document["warnings"].as_array().unwrap().iter().map(|one| (&one["state"], &one["object"])).collect();
    let (new, names) = (
        json!("new"),
        ["Deployment a/web", "NetworkPolicy a/p", "ClusterNetworkPolicy c"].map(|name| json!(name)),
    );
    assert_eq!(told, names.iter().map(|name| (&new, name)).collect::<Vec<_>>());
    assert_eq!(document["changes"].as_array().unwrap().len(), 1);
    let output = folders.run(&[]);
    let text = stdout(&output);
    assert!(output.status.code() == Some(1) && text.starts_with("- everything\n from  "), "{text}");
    assert!(text.contains("Warnings\n new state: Deployment a/web\n"), "{text}");
}

/// A cluster in which every workload has policies of its own, and what is said of everybody.
fn cluster(new: bool) -> String {
    let mut text = String::new();
    for number in 0..WORKLOADS {
        let (namespace, name) = (format!("team{}", number / IN_NAMESPACE), format!("app{number}"));
        text += &deployment(&namespace, &name);
        let app = |number: usize| json!({"podSelector": {"matchLabels": {"app": format!("app{number}")}}});
        let other = |number: usize| {
            json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": format!("team{}", number / IN_NAMESPACE)}},
                "podSelector": {"matchLabels": {"app": format!("app{number}")}},
            })
        };
        let everybody = json!({"namespaceSelector": {}});
        let neighbour = number / IN_NAMESPACE * IN_NAMESPACE + (number + 1) % IN_NAMESPACE;
        // One in ten changes.
        let port = 8000 + number % 7 + usize::from(new && number % 10 == 0);
        let ingress = json!([
            {"from": [app(neighbour), other((number * 7 + 3) % WORKLOADS)], "ports": [{"port": port}]},
            {"from": [everybody], "ports": [{"port": 9090}]},
            {"from": [{"ipBlock": {"cidr": format!("10.{}.{}.0/24", number / 250, number % 250)}}]},
        ]);
        let egress = json!([
            {"to": [{"podSelector": {}}, other((number * 11 + 5) % WORKLOADS)]},
            {"to": [everybody], "ports": [{"protocol": "UDP", "port": 53}, {"port": 9090}]},
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], "ports": [{"port": 443}]},
        ]);
        let spec = json!({
            "podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress, "egress": egress,
        });
        text += &policy(&namespace, &name, &spec);
    }
    for number in 0..5 {
        let rule = json!({
            "name": "r", "action": "Deny", "from": [{"namespaces": {}}],
            "protocols": [{"tcp": {"destinationPort": {"number": 20 + number}}}],
        });
        let spec =
            json!({"tier": "Admin", "priority": number, "subject": {"namespaces": {}}, "ingress": [rule]});
        let object = json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": format!("deny{number}")}, "spec": spec,
        });
        writeln!(text, "---\n{object}").unwrap();
    }
    text
}

/// Waits for a program. Gives its exit status, how long it computed, and how much memory it had at most, in KiB.
fn wait(child: &Child) -> (i32, Duration, i64) {
    let pid = i32::try_from(child.id()).unwrap();
    let mut status = 0;
    // SAFETY: all fields of it are numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to what is there.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(ended, pid);
    let time = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec).unwrap(), u64::try_from(time.tv_usec).unwrap());
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    (libc::WEXITSTATUS(status), time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss)
}

#[test]
fn thousands_of_workloads_are_compared_soon() {
    let nobody = |number: usize| policy(&format!("team{number}"), "nobody", &json!({"podSelector": {}}));
    let closed: String = cluster(false)
        .split_inclusive('\n')
        .filter(|line| !line.contains("NetworkPolicy"))
        .map(str::to_owned)
        .chain((0..WORKLOADS / IN_NAMESPACE).map(nobody))
        .collect();
    let open = cluster(false);
    for (what, old, new) in [
        ("a tenth of all policies", &open, &cluster(true)),
        ("everything is closed", &open, &closed),
        ("everything is opened, each by two policies of its own", &closed, &open),
    ] {
        let folders = Folders::new(&[("all.yaml", old)], &[("all.yaml", new)]);
        let out = folders.old.join("out");
        for format in ["table", "json"] {
            let stdout = fs::File::create(&out).unwrap();
            let mut command = command(&folders.old, &folders.new, &["-o", format]);
            let (status, took, memory) = wait(&command.stdout(stdout).spawn().unwrap());
            let length = fs::metadata(&out).unwrap().len();
            println!("{what}, {format}: {took:?}, {memory} KiB, {length} bytes");
            assert_eq!(status, 1);
            assert!(took < LONGEST && memory < MOST, "{took:?}, {memory} KiB");
        }
    }
}
