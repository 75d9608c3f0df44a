//! `midonet-kube-node install` and the agent's configuration do not change other plugins' files, and leave the former
//! files in place where they cannot write.

use e2e::{DEADLINE, TestLab, node1, sh};
use lab::Family;

const PLUGIN: &str = "/opt/cni/bin/midonet-kube-cni";
const CONFIG: &str = "/etc/cni/net.d/10-midonet.conflist";

struct Scene(TestLab);

impl Scene {
    fn new() -> Self {
        Self(TestLab::without_agents(1, Family::Dual).unwrap())
    }

    fn sh(&self, line: &str) -> String {
        sh(&self.0, &node1(), line)
    }

    /// What it printed, or its complaint.
    fn install(&self) -> Result<String, String> {
        let program = e2e::programs().join("midonet-kube-node");
        let output = self.0.output(&node1(), program.to_str().unwrap(), &["install"]).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Everything in the two directories that is not ours: name, inode, mode, owner, links, times, content.
    fn others(&self) -> String {
        self.sh(
            "find /opt/cni/bin /etc/cni/net.d -mindepth 1 ! -name 'midonet-kube-*' ! -name 10-midonet.conflist \
             -printf '%p %i %m %u %n %s %T@ %C@ %l\\n' | sort; \
             cd /; find opt/cni/bin etc/cni/net.d -type f ! -name 'midonet-kube-*' ! -name 10-midonet.conflist \
             | sort | xargs cksum",
        )
    }
}

#[test]
fn other_plugins_and_their_configurations_are_not_touched() {
    let scene = Scene::new();
    scene.sh(
        "cd /opt/cni/bin; for p in bridge loopback host-local midonet-kube midonet; do echo $p > $p; done; \
         chmod 4755 bridge; chmod 600 loopback; ln bridge hard; ln -s host-local soft; mkdir directory; \
         echo x > .midonet-kube-cni; echo y > midonet.new; \
         cd /etc/cni/net.d; echo '{}' > 99-other.conflist; echo '{}' > 20-other.conf; echo '{}' > x.json; \
         echo z > 10-midonet.conflist.bak; chmod 640 99-other.conflist; mkdir sub; echo '{}' > sub/00.conf",
    );
    let before = scene.others();
    assert!(before.lines().count() > 20, "{before}");
    let said = scene.install().unwrap();
    let names = ["midonet-kube-cni", "midonet-kube-ipam", "midonet-kube-node"];
    assert_eq!(said, names.map(|name| format!("installed /opt/cni/bin/{name}\n")).concat());
    assert_eq!(scene.install().unwrap(), "", "what is there already");
    // An upgrade while the old one may run.
    scene.sh(&format!("echo old > {PLUGIN}; chmod 700 {PLUGIN}"));
    assert_eq!(scene.install().unwrap(), format!("installed {PLUGIN}\n"));
    let modes =
        scene.sh("cd /opt/cni/bin; stat -c '%a %u %h' midonet-kube-cni midonet-kube-ipam midonet-kube-node");
    assert_eq!(modes, "755 0 1\n".repeat(3));
    assert_eq!(
        scene.sh("/opt/cni/bin/midonet-kube-node --version"),
        scene.sh(&format!("{} --version", e2e::programs().join("midonet-kube-node").display()))
    );
    scene.0.start_agent("node1").unwrap();
    scene.0.restart_agent("node1").unwrap();
    scene.0.add_pod("node1", "default", "a").unwrap();
    assert_eq!(scene.others(), before);
}

#[test]
fn on_a_full_or_read_only_disk_the_old_plugin_stays() {
    let scene = Scene::new();
    let look = format!("cat {PLUGIN}; stat -c '%i %a %Y' {PLUGIN}; ls -A /opt/cni/bin");
    for (break_it, repair, reason) in [
        (
            "cat /dev/zero > /opt/cni/bin/filler 2>/dev/null",
            "rm /opt/cni/bin/filler",
            "No space left on device",
        ),
        ("mount -o remount,ro /opt/cni/bin", "mount -o remount,rw /opt/cni/bin", "Read-only file system"),
    ] {
        scene.sh(&format!(
            "mount -t tmpfs -o size=64m none /opt/cni/bin; echo old > {PLUGIN}; chmod 755 {PLUGIN}"
        ));
        scene.sh(&format!("{break_it}; true"));
        let before = scene.sh(&look);
        let complaint = scene.install().unwrap_err();
        assert!(complaint.contains(&format!("cannot write {PLUGIN}: {reason}")), "{complaint}");
        assert_eq!(scene.sh(&look), before);
        scene.sh(repair);
        assert_eq!(scene.install().unwrap().lines().count(), 3);
        scene.sh("umount /opt/cni/bin");
    }
}

#[test]
fn on_a_full_disk_the_old_configuration_stays() {
    let scene = Scene::new();
    scene.install().unwrap();
    scene.sh("mount -t tmpfs -o size=8k none /etc/cni/net.d");
    scene.0.start_agent("node1").unwrap();
    let old = scene.sh(&format!("cat {CONFIG}"));
    scene.sh("cat /dev/zero > /etc/cni/net.d/filler 2>/dev/null; true");
    let uplink = scene.0.status("node1").unwrap().network.unwrap().uplink;
    scene.sh(&format!("ip link set {uplink} mtu 1400"));
    testkit::wait_until(DEADLINE, "the agent says what it cannot write", || {
        let status = scene.0.status("node1").unwrap();
        assert!(status.agent.unwrap().ready, "Pods are added by the old one");
        let said = format!("cannot write {CONFIG}: No space left on device");
        status.problems.iter().any(|one| one.problem.contains(&said))
    });
    assert_eq!(
        scene.sh(&format!("cat {CONFIG}; ls -A /etc/cni/net.d")),
        format!("{old}10-midonet.conflist\nfiller\n")
    );
    scene.sh("rm /etc/cni/net.d/filler");
    testkit::wait_until(DEADLINE, "the agent writes it", || {
        scene.0.status("node1").unwrap().agent.unwrap().ready && scene.sh(&format!("cat {CONFIG}")) != old
    });
}
