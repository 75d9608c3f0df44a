//! `midonet-kube-node uninstall` leaves a node as it was before the agent first ran there.

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::{Family, Pod, Target};

/// Everything that could have changed: links, addresses, routes, rules, settings, files, pins.
const LOOK: &str = "ip -br link | awk '{print $1}'; ip -br addr show scope global | awk '{print $1, $3, $4, $5}'; ip route; ip -6 route; \
    ip rule; nft list ruleset; tc qdisc show | grep -v noqueue; tc filter show dev eth0 ingress; bpftool net show | grep -i midokube; \
    sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra; \
    find /etc/cni /opt/cni /var/lib/cni /sys/fs/bpf -type f -o -type l; \
    ls -d /run/midonet-kube-node /var/lib/midonet-kube-node /sys/fs/bpf/midonet-kube \
        /var/lib/cni/networks/midonet-pod-network 2>/dev/null; true";

struct Scene(TestLab);

impl Scene {
    fn sh(&self, line: &str) -> String {
        sh(&self.0, &node1(), line)
    }

    /// Runs the agent's program on the node: what it printed, or its complaint.
    fn node(&self, words: &[&str]) -> Result<String, String> {
        let program = testkit::bin("midonet-kube-node");
        let output = self.0.output(&node1(), program.to_str().unwrap(), words).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn install(&self) -> Pod {
        self.node(&["install"]).unwrap();
        self.0.start_agent("node1").unwrap();
        let pod = self.0.add_pod("node1", "default", "a").unwrap();
        lab::probe::ping(
            &self.0.netns(&Target::Pod(pod.key.clone())).unwrap(),
            "192.0.2.1".parse().unwrap(),
            DEADLINE,
        )
        .unwrap();
        pod
    }

    fn kill_agent(&self) {
        self.0.state().unwrap().node("node1").unwrap().agent.unwrap().kill(DEADLINE).unwrap();
    }
}

#[test]
fn a_node_is_as_it_was() {
    is_as_it_was("auto", "true");
}

#[test]
fn a_kernel_without_tcx_is_as_it_was() {
    is_as_it_was("clsact", "true");
}

#[test]
fn filters_of_others_at_the_uplink_stay() {
    let filter = "tc filter add dev eth0 ingress prio 1 protocol ip u32 match ip dst 192.0.2.99 flowid 1:1";
    is_as_it_was("clsact", &format!("tc qdisc add dev eth0 clsact && {filter}"));
}

/// With tcx links and with filters, beside those of others.
fn is_as_it_was(hook: &str, other: &str) {
    let scene = Scene(TestLab::without_agents_yet(1, Family::Dual, &["--hook", hook]).unwrap());
    scene.sh(other);
    scene.sh("sysctl -q net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.eth0.accept_ra=1");
    let before = scene.sh(LOOK);

    let pod = scene.install();
    assert_ne!(scene.sh(LOOK), before);
    let complaint = scene.node(&["uninstall"]).unwrap_err();
    assert!(complaint.contains("another midonet-kube-node runs"), "{complaint}");
    scene.kill_agent();
    let complaint = scene.node(&["uninstall"]).unwrap_err();
    assert!(complaint.contains("default/a") && complaint.contains("--force"), "{complaint}");
    scene.0.delete_pod(&pod.key).unwrap();
    let said = scene.node(&["uninstall"]).unwrap();
    for word in [
        "CNI configuration",
        "/opt/cni/bin/midonet-kube-ipam",
        "/opt/cni/bin/midonet-kube-node",
        "midokube-vxlan",
        "nftables",
        "ipv4/ip_forward=0",
    ] {
        assert!(said.contains(word), "{word} in {said}");
    }
    assert_eq!(scene.sh(LOOK), before);
    let again = "removed: /run/midonet-kube-node/lock\nremoved: /run/midonet-kube-node\n";
    assert_eq!(scene.node(&["uninstall"]).unwrap(), again, "its own lock");

    // Again, with a Pod that loses its network, and by the program that was laid on the node.
    scene.install();
    scene.kill_agent();
    let said = scene.sh("/opt/cni/bin/midonet-kube-node uninstall --force");
    assert!(said.contains("the interface of Pod default/a"), "{said}");
    assert_eq!(scene.sh(LOOK), before);
}

#[test]
fn what_is_somebody_elses_stays() {
    let scene = Scene(TestLab::without_agents(1, Family::V4).unwrap());
    let foreign = "/etc/cni/net.d/10-midonet.conflist";
    scene.sh(&format!("mkdir -p /etc/cni/net.d /sys/fs/bpf/midonet-kube/mine; echo '{{}}' > {foreign}"));
    let others = "/var/lib/midonet-kube-node/notes /var/lib/cni/networks/midonet-pod-network/notes \
        /var/lib/cni/networks/other/10.0.0.3 /opt/cni/bin/bridge";
    scene.sh(&format!("for file in {others}; do mkdir -p $(dirname $file); echo x > $file; done"));
    let complaint = scene.node(&["uninstall"]).unwrap_err();
    assert!(complaint.contains(foreign) && complaint.contains("left alone"), "{complaint}");
    assert_eq!(scene.sh(&format!("cat {foreign}; ls /sys/fs/bpf/midonet-kube")), "{}\nmine\n");
    assert_eq!(scene.sh(&format!("cat {others}")), "x\n".repeat(4));
    // Whatever directory a setting names, only known files go.
    scene.sh("mkdir -p /run/mine/links /run/mine/maps /run/mine/x; echo x > /run/mine/links/y; echo x > /run/mine/x/10.0.0.3");
    for setting in ["--state-dir", "--cache-dir", "--ipam-dir", "--bpf-dir", "--cni-bin-dir"] {
        let _complaint = scene.node(&["uninstall", setting, "/run/mine"]);
        assert_eq!(
            scene.sh("cd /run/mine; cat links/y x/10.0.0.3; ls"),
            "x\nx\nlinks\nmaps\nx\n",
            "{setting}"
        );
    }
}

/// Settings that name what is not ours: known files go by their names, and nothing else of it.
#[test]
fn a_setting_that_names_anothers_tree_takes_nothing_of_it() {
    let scene = Scene(TestLab::without_agents(1, Family::V4).unwrap());
    scene.sh(
        "mkdir -p /run/theirs/names /run/theirs/maps /run/theirs/links /run/theirs/.owners /sys/fs/bpf/theirs/links \
           /sys/fs/bpf/theirs/maps /sys/fs/bpf/theirs/other; echo x > /run/theirs/file; echo x > /run/theirs/names/file; \
         ln -s /run/theirs /run/link; ln -s /run/theirs/file /run/theirs/settings",
    );
    let look = "find / -xdev -maxdepth 1; find /run/theirs /run/link /sys/fs/bpf/theirs; cat /run/theirs/file; \
        stat -c '%a %u' / /run /run/theirs /run/theirs/file";
    let before = scene.sh(look);
    for (setting, value) in [
        ("--state-dir", "/"),
        ("--state-dir", "/run/theirs"),
        ("--state-dir", "/run/link"),
        ("--cache-dir", "/"),
        ("--cache-dir", "/run/link"),
        ("--ipam-dir", "/"),
        ("--ipam-dir", "/run/link"),
        ("--bpf-dir", "/sys/fs/bpf"),
        ("--bpf-dir", "/sys/fs/bpf/theirs"),
        ("--bpf-dir", "/"),
        ("--cni-bin-dir", "/run/link"),
        ("--cni-config-path", "/run/theirs/file"),
        ("--socket", "/run/theirs/file"),
        ("--socket", "/run/theirs/settings"),
        ("--socket", "/run/theirs"),
    ] {
        let said = scene.node(&["uninstall", "--force", setting, value]);
        assert_eq!(scene.sh(look), before, "{setting} {value}: {said:?}");
    }
    // Nor does an agent that starts touch what is there.
    for (socket, complaint) in [
        ("/run/theirs/file", "it is no socket"),
        ("/run/theirs/settings", "it is no socket"),
        ("/run/theirs", "it is no socket"),
    ] {
        let cidr = "10.244.0.0/16";
        let run =
            ["--node-name=node1", "--cluster-cidr", cidr, "--manifests=/run/theirs", "--socket", socket];
        let said = scene.node(&run).unwrap_err();
        assert!(said.contains(complaint) && said.contains(socket), "{socket}: {said}");
        assert_eq!(scene.sh("cat /run/theirs/file; readlink /run/theirs/settings"), "x\n/run/theirs/file\n");
    }
    scene.sh("chmod 777 /run/theirs");
    let cidr = "10.244.0.0/16";
    let run =
        ["--node-name=node1", "--cluster-cidr", cidr, "--manifests=/run/theirs", "--socket=/run/theirs/api"];
    let said = scene.node(&run).unwrap_err();
    assert!(
        said.contains("others than root could replace the socket") && said.contains("chmod go-w"),
        "{said}"
    );
    assert_eq!(scene.sh("stat -c %a /run/theirs"), "777\n");
}

/// On a host with the network of its own, all in namespaces of this test: what a lab's node removes is the node's.
#[test]
fn in_a_lab_nothing_of_the_hosts_is_removed() {
    testkit::require_root();
    let [program, programs] =
        [testkit::bin("midokube-lab"), e2e::programs()].map(|path| path.display().to_string());
    let script = format!(
        r#"
        mount -t tmpfs tmpfs /run
        for directory in etc opt var; do
          mkdir -p /run/over/$directory/upper /run/over/$directory/work
          mount -t overlay -o "lowerdir=/$directory,upperdir=/run/over/$directory/upper,workdir=/run/over/$directory/work" none /$directory
        done
        mount -t bpf bpf /sys/fs/bpf
        mkdir -p /run/midonet-kube-node /etc/cni/net.d /opt/cni/bin /var/lib/midonet-kube-node \
          /var/lib/cni/networks/midonet-pod-network /sys/fs/bpf/midonet-kube/host
        for file in /run/midonet-kube-node/host /etc/cni/net.d/10-midonet.conflist /opt/cni/bin/midonet-kube-cni \
          /opt/cni/bin/midonet-kube-ipam /opt/cni/bin/midonet-kube-node /var/lib/midonet-kube-node/nodes.json \
          /var/lib/cni/networks/midonet-pod-network/10.244.1.3; do
          echo midonet-kube-cni of the host >$file
        done
        ip link add midokube-vxlan type veth peer name other
        ip link add midokube-mido type veth peer name midokube-node
        nft add table inet midonet-kube

        lab="{program} --dir /run/lab"
        $lab up --nodes 1 --bin-dir {programs} >/dev/null
        trap '$lab down' EXIT
        look() {{
          find /etc/cni /opt/cni /run/midonet-kube-node /var/lib/cni /var/lib/midonet-kube-node -type f -exec cksum {{}} +
          find /etc /opt /root /srv /usr/local /sys/fs/bpf / -maxdepth 1
          ip -br link
          nft list ruleset
        }}
        before=$(look)
        $lab exec node1 sh -c 'kill -9 $(pgrep -x midonet-kube-no)
          for try in $(seq 600); do midonet-kube-node uninstall --force && exit; sleep 0.1; done; exit 1'
        after=$(look)
        [ "$before" = "$after" ] || {{ echo "there was"; echo "$before"; echo "and is"; echo "$after"; exit 1; }}
        "#
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "bash", "-ec", &script]);
    let said = testkit::run(&mut command);
    for removed in
        ["CNI configuration", "midonet-kube-ipam", "midokube-vxlan", "nftables", "/var/lib/cni/networks"]
    {
        assert!(said.contains(removed), "{removed} was not removed: {said}");
    }
}
