//! What a user types: every command of README.md, `docs/` and `deploy/` is run as it is written there.
//!
//! [`COMMANDS`] says where each of them is typed, in their order. A document with a command that is not in this table
//! fails a test, and so does a command that is in no document: a new command must be run, too. Commands are the lines of
//! blocks marked `sh`, and spans of code that begin with a known program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Where and when a command is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the repository, before there is a cluster. `/run`, where the lab is by default, is the test's own.
    Lab,
    /// The same, with these words after it, for what takes long.
    LabWith(&'static str),
    /// In the repository: it makes the cluster.
    Up,
    /// Beside the directory `deploy`, with the cluster's kubectl in PATH.
    Kubectl,
    /// The same, to remove the network while Pods are in it.
    Remove,
    /// The same, once no Pod is in it.
    Removed,
    /// On a node with the agent, with the product's programs in PATH and the agent's settings in the environment.
    Node,
    /// The same, once the agent is gone.
    NodeAtEnd,
    /// In the repository: it ends the cluster.
    Down,
    /// Not here, because of that.
    Never(&'static str),
}

use Stage::{Down, Kubectl, Lab, LabWith, Never, Node, NodeAtEnd, Remove, Removed, Up};

/// Every documented command, in the order in which they are typed.
const COMMANDS: &[(Stage, &str)] = &[
    (Lab, "make help"),
    (Lab, "make build"),
    (Lab, "make image"),
    (Lab, "make demo"),
    (Lab, "KEEP=1 make demo"),
    (Lab, "target/release/midokube-lab status"),
    (Lab, "target/release/midokube-lab exec node1 midokube status"),
    (Lab, "target/release/midokube-lab exec default/pod1-1 ping -c1 10.244.2.3"),
    (Lab, "target/release/midokube-lab midokube trace default/pod1-1 default/pod2-1 icmp"),
    (Lab, "target/release/midokube-lab down"),
    (Lab, "target/release/midokube policy diff docs/policy-diff/old docs/policy-diff/new || test $? = 1"),
    (LabWith("ONLY=heal ROUNDS=1"), "make bench"),
    (LabWith("FOCUS=API.Server"), "make conformance"),
    (Up, "make cluster"),
    (Kubectl, "kubectl apply -f deploy/midonet-kube.yaml"),
    (Kubectl, "kubectl apply -f deploy/clusternetworkpolicies.yaml"),
    (Kubectl, "kubectl -n kube-system describe pods -l k8s-app=midonet-kube-node"),
    (
        Kubectl,
        "sed 's|path: /opt/cni/bin,|path: /var/lib/rancher/k3s/data/cni,|; \
         s|path: /etc/cni/net.d,|path: /var/lib/rancher/k3s/agent/etc/cni/net.d,|' deploy/midonet-kube.yaml \
         | kubectl apply --dry-run=server -f -",
    ),
    (
        Kubectl,
        r#"kubectl -n kube-system patch configmap midonet-kube-config --type=merge -p '{"data": {"LOG_LEVEL": "debug"}}'"#,
    ),
    (
        Kubectl,
        r#"kubectl -n kube-system patch configmap midonet-kube-config --type=merge -p '{"data": {"HTTPLISTEN": "[::]:9454"}}'"#,
    ),
    (
        Kubectl,
        r#"kubectl -n kube-system patch configmap midonet-kube-config --type=merge -p '{"data": {"FLOWS": "on"}}'"#,
    ),
    (Kubectl, "kubectl -n kube-system rollout restart daemonset/midonet-kube-node"),
    (Kubectl, "kubectl -n kube-system rollout status daemonset/midonet-kube-node --timeout=5m"),
    (Kubectl, "kubectl -n kube-system exec ds/midonet-kube-node -- midokube status"),
    (Kubectl, "kubectl describe nodes"),
    (
        Kubectl,
        r"sed '1,/^spec:/d; s/^ \{2\}//' deploy/monitoring/prometheusrule.yaml >midonet-kube-rules.yaml",
    ),
    (
        Kubectl,
        "kubectl -n kube-system create configmap midonet-kube-dashboard \
         --from-file=deploy/monitoring/dashboard.json",
    ),
    (Kubectl, "kubectl -n kube-system label configmap midonet-kube-dashboard grafana_dashboard=1"),
    (Kubectl, "midokube policy preview -f policies/"),
    (Kubectl, "midokube policy preview -f policies/ -o json"),
    (Kubectl, "midokube policy wait networkpolicy/web -n default"),
    (Kubectl, "midokube policy wait networkpolicy/web -n default -o json"),
    (Kubectl, "midokube flows"),
    (Kubectl, "midokube doctor"),
    (Kubectl, "midokube on node1 status problems"),
    (Kubectl, "kubectl midokube flows"),
    (Kubectl, "midokube connectivity test"),
    (Kubectl, "midokube connectivity test --list"),
    (Kubectl, "midokube connectivity test --list -o json"),
    (Kubectl, "midokube connectivity test --test 'pod-to-pod-*' --test '!*-ping' -o json"),
    (Kubectl, "midokube connectivity test --cleanup"),
    (Kubectl, "midokube sysdump midonet.tar.gz"),
    (Node, "ctr -n k8s.io images import midonet-kube.tar"),
    (Node, "midonet-kube-node --help"),
    (Node, "midonet-kube-node check"),
    (Node, "midokube status -o json"),
    (Node, "midokube status"),
    (Node, "midokube status agent"),
    (Node, "midokube status problems"),
    (Node, "midokube status leaks"),
    (Node, "midokube status drops traffic ignored"),
    (Node, "midokube status -o wide"),
    (Node, "midokube status services"),
    (Node, "midokube services -o json"),
    (Node, "midokube service default/kubernetes"),
    (Node, "midokube service default/kubernetes -o json"),
    (Node, "midokube connections --service default/kubernetes"),
    (Node, "midokube connections -o json"),
    (Node, "midokube status policy"),
    (Node, "midokube policy"),
    (Node, "midokube policy -o json"),
    (Node, "midokube drops"),
    (Node, "midokube drops -o json"),
    (Node, "midokube drops --reason source_ip -o wide"),
    (Node, "midokube flows --this-node"),
    (Node, "midokube flows --this-node -o json"),
    (Node, "midokube flows --this-node --by namespace"),
    (Node, "midokube doctor --this-node -o json"),
    (
        Never("it serves until Ctrl-C: its own tests start it, and the browser's look at the page"),
        "midokube ui",
    ),
    (Never("the same"), "midokube ui --this-node"),
    (Never("the same"), "kubectl -n kube-system exec -it POD -- midokube ui --this-node"),
    (Never("the same"), "kubectl -n kube-system port-forward POD 9455"),
    (Node, "midokube version -o json"),
    (Node, "midonet-kube-node cleanup-kube-proxy --dry-run"),
    (Node, "midonet-kube-node install"),
    (Remove, "kubectl delete -f deploy/midonet-kube.yaml"),
    (Remove, "kubectl apply -f deploy/cleanup.yaml"),
    (Remove, "kubectl -n kube-system describe pods -l app.kubernetes.io/component=cleanup"),
    (Removed, "kubectl -n kube-system rollout status daemonset/midonet-kube-cleanup --timeout=5m"),
    (Removed, "kubectl delete -f deploy/cleanup.yaml"),
    (
        Removed,
        r#"kubectl get nodes -o name | xargs -I{} kubectl patch {} --subresource=status -p '{"status": {"conditions": [{"$patch": "delete", "type": "MidonetKubeDegraded"}]}}'"#,
    ),
    (NodeAtEnd, "midonet-kube-node uninstall"),
    (Down, "make cluster-down"),
    (
        Never("no DaemonSet runs kube-proxy in this cluster"),
        "kubectl -n kube-system delete daemonset kube-proxy",
    ),
    (
        Never("the agent's own tests do so with the rules of every mode of kube-proxy"),
        "midonet-kube-node cleanup-kube-proxy",
    ),
    (
        Never("it needs a MidoNet: `midonet.rs` applies the controllers' own part beside a stand-in"),
        "kubectl apply -f deploy/midonet-kube-midonet.yaml",
    ),
    (
        Never("the same"),
        "kubectl -n kube-system rollout status deployment/midonet-kube-controllers --timeout=5m",
    ),
    (Never("the same"), "kubectl get translations -A"),
    (
        Never("its Pods are a reader's own: `policy/traces.rs` and `midonet.rs` trace those of their own"),
        "midokube trace default/client service/default/web tcp/80",
    ),
    (Never("the same as a document"), "midokube trace default/client service/default/web tcp/80 -o json"),
    (
        Never("`tests/examples/live.rs` follows packets of its own Pods, in virtual machines"),
        "midokube trace default/client service/default/web tcp/80 --live",
    ),
    (
        Never("the same as a document"),
        "midokube trace default/client service/default/web tcp/80 --live -o json",
    ),
    (
        Never("`midonet.rs` runs it behind a stand-in for MidoNet"),
        "kubectl delete customresourcedefinition/translations.midonet.org --timeout=180s",
    ),
    (
        Never("`midonet.rs` does so with the controllers' own part"),
        "kubectl delete -f deploy/midonet-kube-midonet.yaml --ignore-not-found",
    ),
    (
        Never("its directory is a reader's own: the controllers' own tests have one"),
        "midonet-kube-controllers --dry-run --manifests DIR",
    ),
    (Never("the same"), "midonet-kube-controllers --dry-run --kubeconfig KUBECONFIG"),
    (Never("it runs this test"), "make test"),
    (Never("a test of its own runs the same"), "make test-kernels"),
    (Never("`make test` runs it"), "make lint"),
    (Never("`make test` runs the same for fewer inputs"), "make fuzz"),
    (
        Never(
            "it builds a program and takes five minutes; `make test` has upstream's specs of NetworkPolicy",
        ),
        "make policy-conformance",
    ),
    (
        Never("it ends when it is interrupted: midokube's own tests do that"),
        "midokube status ports drops --watch",
    ),
    (
        Never("its Pods are a reader's own: `policy/tool.rs` asks about those of a lab"),
        "midokube policy explain default/client default/web tcp/80",
    ),
    (
        Never("its Pod is a reader's own: `policy/drops.rs` asks about one of a lab"),
        "midokube drops default/web --since 10m",
    ),
    (Never("the same as a document"), "midokube connectivity test -o json"),
    (
        Never("the same as a file: `connectivity.rs` has one written"),
        "midokube connectivity test --junit connectivity.xml",
    ),
    (Never("the same as a document"), "midokube policy explain default/client default/web tcp/80 -o json"),
    (
        Never("its Pod is a reader's own: `policy/flows.rs` asks about those of a lab"),
        "midokube flows shop/web --since 10m",
    ),
    (
        Never("its namespace is a reader's own: midokube's own tests have these options"),
        "midokube flows -n shop --not port=udp/53 --not namespace=kube-system",
    ),
    (Never("the same as a document"), "midokube flows -o json"),
    (Never("the same as a document"), "midokube flows --by WHAT -o json"),
    (
        Never("its folders are a reader's own: those of the documentation are compared above"),
        "midokube policy diff OLD NEW",
    ),
    (Never("the same as a document"), "midokube policy diff OLD NEW -o json"),
    (Never("Docker's own; the archive's format is the one that ctr reads"), "docker load -i OUT.tar"),
    (
        Never("needs the Prometheus Operator: `deploy.rs` applies it with its definition alone"),
        "kubectl apply -f deploy/podmonitor.yaml",
    ),
    (Never("the same"), "kubectl apply -f deploy/monitoring/prometheusrule.yaml"),
    (Never("needs a registry"), "skopeo copy docker-archive:OUT.tar docker://..."),
    (Never("OUT.tar is midonet-kube.tar"), "ctr -n k8s.io images import OUT.tar"),
];

/// What a command begins with, after `NAME=value`.
const PROGRAMS: [&str; 13] = [
    "ctr",
    "curl",
    "docker",
    "helm",
    "k3s",
    "kubectl",
    "make",
    "midokube",
    "midokube-lab",
    "midonet-kube-controllers",
    "midonet-kube-node",
    "sed",
    "skopeo",
];

/// A program of the repository counts by its path.
const DIRECTORIES: [&str; 3] = ["target/", "tests/", "deploy/"];

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs the commands of a stage, each as it is typed; `shell` makes the shell that it is typed into.
pub(super) fn run(stage: Stage, shell: &dyn Fn(&str) -> Command) {
    for (at, command) in COMMANDS {
        let line = match *at {
            LabWith(words) if stage == Lab => format!("{command} {words}"),
            at if at == stage => (*command).to_owned(),
            _ => continue,
        };
        eprintln!("$ {line}");
        said(&line, &shell(&line).stdin(Stdio::null()).output().unwrap());
    }
}

/// What a command that must succeed printed.
pub(super) fn said(line: &str, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "$ {line}\n{stdout}{stderr}{}", output.status);
    stdout
}

/// A shell in the repository, in the environment of a user who has not run this test.
pub(super) fn user(line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-ec", line]).current_dir(repository());
    tidy(&mut command);
    command
}

/// Takes away what cargo and make set, and the settings of what is typed.
fn tidy(command: &mut Command) {
    let ours = [
        "KEEP",
        "FAMILY",
        "FOCUS",
        "INSTALL",
        "PROXY",
        "ONLY",
        "ROUNDS",
        "SECONDS",
        "SKIP",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
    ];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_INCREMENTAL", "CARGO_TARGET_DIR"].contains(&text.as_ref());
        if text.starts_with("MAKE") || text.starts_with("CARGO") && !kept || ours.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env("CI", "true");
}

/// A mount namespace with a `/run` of its own, in which the lab of the default directory is nobody else's.
pub(super) struct OwnRun(Child);

impl OwnRun {
    pub(super) fn new() -> Self {
        let script = "mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
        let mut holder = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut ready = [0; 6];
        std::io::Read::read_exact(holder.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
        holder
    }

    pub(super) fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.0.id());
        // A directory from outside the namespace would have no path in it.
        let line = format!("cd {}\n{line}", repository().display());
        command.args([&namespace, "bash", "-ec", &line]);
        tidy(&mut command);
        command
    }
}

impl Drop for OwnRun {
    fn drop(&mut self) {
        // Success when there is no lab.
        let _down = self.shell("target/release/midokube-lab down").status();
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The commands of a document: what is in code, and in comments also what follows a list's number or a colon.
fn commands(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    let is_markdown = path.extension().is_some_and(|extension| extension == "md");
    let mut found = BTreeSet::new();
    let prose: String = if is_markdown {
        text
    } else {
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
        comments.flat_map(|line| [line, "\n"]).collect()
    };
    // In a block of shell every line is one; in a comment what looks like one.
    let mut block = None;
    let mut unfenced = String::new();
    for line in prose.lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
        } else if let Some(language) = block {
            if language == "sh" {
                found.insert(command(line));
            }
        } else {
            unfenced.extend([line, "\n"]);
        }
        if !is_markdown && !line.contains('`') {
            let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            let candidates = [Some(line), line.split_once(": ").map(|(_, rest)| rest)];
            let lines = candidates.into_iter().flatten().map(command);
            found.extend(
                lines.filter(|line| is_command(line)).map(|line| line.trim_end_matches('.').to_owned()),
            );
        }
    }
    let spans = unfenced.split('`').skip(1).step_by(2).map(command);
    found.extend(spans.filter(|span| is_command(span)));
    found.remove("");
    found
}

/// One command, without indentation, line breaks, and the remark after it.
fn command(text: &str) -> String {
    let text = text.trim();
    let text = text.split("  ").next().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_command(text: &str) -> bool {
    let is_setting = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
    };
    let mut words = text.split(' ').skip_while(is_setting);
    let program = words.next().unwrap_or_default();
    let known =
        PROGRAMS.contains(&program) || DIRECTORIES.iter().any(|directory| program.starts_with(directory));
    known && words.next().is_some()
}

#[test]
fn every_documented_command_is_run_by_a_test() {
    let repository = repository();
    let mut documents = vec![repository.join("README.md")];
    for directory in ["deploy", "deploy/monitoring", "docs"] {
        documents
            .extend(fs::read_dir(repository.join(directory)).unwrap().map(|entry| entry.unwrap().path()));
    }
    // Nobody types what `image` uses.
    documents.retain(|path| path.is_file() && !path.ends_with("deploy/mkimage"));
    documents
        .retain(|path| path.extension().is_none_or(|extension| extension != "svg" && extension != "png"));
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(_, command)| *command).collect();
    let mut typed = BTreeSet::new();
    for document in documents {
        for command in commands(&document) {
            assert!(
                known.contains(command.as_str()),
                "{} has the command `{command}`, which no test runs: add it to COMMANDS",
                document.display()
            );
            typed.insert(command);
        }
    }
    for (stage, command) in COMMANDS {
        if let Never(why) = stage {
            eprintln!("not typed: `{command}`: {why}");
        }
    }
    let gone: Vec<_> = known.iter().filter(|command| !typed.contains(**command)).collect();
    assert!(gone.is_empty(), "no document has these any more: {gone:#?}");
}

#[test]
fn commands_are_found_wherever_they_stand() {
    let directory = tempfile::tempdir().unwrap();
    let found = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        commands(&path).into_iter().collect::<Vec<_>>()
    };
    let markdown = "Run `make\nall` or `KEEP=1 make demo`, see `make`, `midokube` and `--flag x`.\n\n\
        ```sh\nkubectl get pods\nanything goes   # here\n```\n\n```text\n$ make no `make no`\n```\n";
    assert_eq!(
        found("a.md", markdown),
        ["KEEP=1 make demo", "anything goes", "kubectl get pods", "make all"]
    );
    let yaml = "# It is `make image`, then\n#  3. kubectl apply -f x.yaml\n# Later: kubectl delete -f x.yaml.\nkey: kubectl no\n";
    assert_eq!(found("a.yaml", yaml), ["kubectl apply -f x.yaml", "kubectl delete -f x.yaml", "make image"]);
}
