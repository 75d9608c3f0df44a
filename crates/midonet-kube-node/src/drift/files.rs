//! The agent's files on its node: what somebody removed or replaced is repaired, and what the agent cannot repair is
//! told. The CNI configuration and the pins, which follow from the cluster's objects, are the [`detector`](super::detector)'s.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nodeapi::Socket;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::Drift;
use super::events::{DEBOUNCE, Events};
use crate::agent::Agent;
use crate::check::{self, State};
use crate::cni_config;
use crate::config::Config;
use crate::install;
use crate::lock::{self, Lock};
use crate::problems::{Origin, Problem};

/// What could not be repaired is tried again after so long, besides on every change.
const RETRY: Duration = Duration::from_secs(5);

/// The least time between two checks: who removes the same again and again does not keep the agent busy.
const GAP: Duration = Duration::from_millis(250);

/// The files that only this agent needs, as they should be.
#[derive(Debug)]
pub struct Files {
    args: Config,
    socket: Socket,
    lock: Lock,
    /// The plugin's files that were seen whole.
    seen: BTreeSet<PathBuf>,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// What somebody else removed or changed, and is repaired.
    pub repaired: Vec<Drift>,
    /// Why the plugin cannot reach the agent.
    pub unserved: Option<String>,
    /// What the agent cannot repair.
    pub problems: Vec<Problem>,
}

impl Files {
    /// Those of a running agent.
    pub fn new(args: &Config, socket: Socket, lock: Lock) -> Self {
        Self { args: args.clone(), socket, lock, seen: BTreeSet::new() }
    }

    /// Checks, and repairs what it can. To be called within a runtime, which the socket needs.
    pub fn check(&mut self) -> Report {
        let mut report = Report::default();
        self.check_lock(&mut report);
        self.check_socket(&mut report);
        for name in install::PLUGINS {
            self.check_plugin(name, &mut report);
        }
        report.problems.extend(ipam_plugin(&self.args));
        report.problems.extend(foreign_config(&self.args.paths.cni_config_path));
        report
    }

    /// The lock before the socket: an agent that was started meanwhile serves its own.
    fn check_lock(&mut self, report: &mut Report) {
        if self.lock.is_in_place() {
            return;
        }
        let path = lock::path(&self.args.paths.state_dir);
        match lock::take(&self.args.paths.state_dir) {
            Ok(lock) => {
                self.lock = lock;
                report.repaired.push(Drift::new("lock", format!("{} is gone", path.display())));
            }
            Err(error) => report.problems.push(Problem::new(
                "lock",
                path.display().to_string(),
                format!("{error:#}: it was removed, and a second agent may undo this one's work"),
                "end the other agent; if the directory was removed under a container, delete its Pod",
            )),
        }
    }

    fn check_socket(&self, report: &mut Report) {
        let Some(problem) = self.socket.problem() else { return };
        match self.socket.recreate() {
            Ok(()) => report.repaired.push(Drift::new("socket", problem)),
            Err(error) => {
                report.unserved = Some(format!(
                    "{problem}, and no Pod can be added: {error}; if its directory was removed under a container, delete \
                     the agent's Pod"
                ));
            }
        }
    }

    /// Whether the container runtime can execute the plugin. Another version of it is none of this agent's business.
    fn check_plugin(&mut self, name: &str, report: &mut Report) {
        let directory = &self.args.cni_bin_dir;
        let path = directory.join(name);
        if is_program(&path) {
            self.seen.insert(path);
            return;
        }
        let was_there = self.seen.contains(&path);
        // Where the directory was never seen, as in a container without it, nobody knows what is in it.
        if !was_there && !directory.is_dir() {
            return;
        }
        let put = if was_there {
            install::put(directory, name).map(drop)
        } else {
            Err(anyhow::anyhow!("not installed"))
        };
        match put {
            Ok(()) => {
                let detail = format!("{} is gone or no program", path.display());
                report.repaired.push(Drift::new("plugin", detail));
            }
            Err(error) => {
                let problem = format!("there is no such program ({error:#}), so no Pod can be added");
                let remedy = format!(
                    "run `midonet-kube-node install --cni-bin-dir {}` on the node, or delete the agent's Pod, whose start \
                     does",
                    directory.display()
                );
                report.problems.push(Problem::new("plugin", path.display().to_string(), problem, remedy));
            }
        }
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.len() > 0 && file.permissions().mode() & 0o111 != 0)
}

/// An IPAM plugin that the CNI plugin executes.
fn ipam_plugin(args: &Config) -> Option<Problem> {
    let found = check::ipam_plugin(args).filter(|_| args.cni_bin_dir.is_dir())?;
    let (State::Warning(problem) | State::Invalid(problem) | State::Missing(problem)) = found.state else {
        return None;
    };
    Some(Problem::new(
        "ipam_plugin",
        args.cni_bin_dir.join(&args.ipam_type).display().to_string(),
        format!("{}, so no Pod can be added", problem.problem),
        problem.remedy.clone(),
    ))
}

/// A configuration that the runtime takes instead of the agent's.
fn foreign_config(own: &Path) -> Option<Problem> {
    let before = cni_config::before(own);
    let first = before.first()?;
    Some(Problem::new(
        "foreign_cni_config",
        own.with_file_name(first).display().to_string(),
        format!(
            "it sorts before {}, so the container runtime gives new Pods that network and not this one",
            own.file_name().unwrap_or_default().display()
        ),
        format!("remove {} from {}", before.join(", "), own.parent().unwrap_or(Path::new("/")).display()),
    ))
}

/// Checks now, whenever something changes in the directories, and now and then.
pub async fn watch(agent: &Agent, files: &Arc<Mutex<Files>>, events: &Events) {
    let mut changes = events.files();
    loop {
        events.watch_directories();
        let shared = Arc::clone(files);
        let checked = tokio::task::spawn_blocking(move || {
            shared.lock().unwrap_or_else(PoisonError::into_inner).check()
        });
        let mut again = events.period();
        match checked.await {
            Ok(Report { repaired, unserved, problems }) => {
                if unserved.is_some() {
                    again = again.min(RETRY);
                }
                agent.repairs().note(&repaired);
                agent.set_unserved(unserved);
                agent.set_problems(Origin::Files, problems);
            }
            Err(error) => warn!(%error, "cannot check the agent's files"),
        }
        // Directories that were made again.
        events.watch_directories();
        sleep(GAP).await;
        if timeout(again, changes.changed()).await.is_ok() {
            sleep(DEBOUNCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        root: tempfile::TempDir,
        files: Files,
        _listener: nodeapi::Listener,
    }

    impl Scene {
        fn new(further: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = |name: &str| root.path().join(name).display().to_string();
            let mut line = vec![
                format!("--cni-config-path={}", path("net.d/10-midonet.conflist")),
                format!("--cni-bin-dir={}", path("bin")),
                format!("--socket={}", path("run/api")),
                format!("--state-dir={}", path("state")),
            ];
            line.extend(further.iter().map(|word| (*word).to_owned()));
            let args = Config::from_flags(line);
            let lock = lock::take(&args.paths.state_dir).unwrap();
            let listener = nodeapi::listen(&args.paths.socket).unwrap();
            for directory in ["net.d", "bin"] {
                fs::create_dir(root.path().join(directory)).unwrap();
            }
            for name in install::PLUGINS {
                let program = root.path().join("bin").join(name);
                fs::write(&program, "x").unwrap();
                fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
            }
            let mut files = Files::new(&args, listener.socket(), lock);
            let first = files.check();
            assert!(first.repaired.is_empty() && first.unserved.is_none(), "{first:?}");
            Self { root, files, _listener: listener }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }
    }

    fn kinds(report: &Report) -> (Vec<&str>, Vec<&str>) {
        let repaired = report.repaired.iter().map(|finding| finding.what).collect();
        (repaired, report.problems.iter().map(|problem| problem.what).collect())
    }

    #[tokio::test]
    async fn socket_and_lock_are_put_back() {
        let mut scene = Scene::new(&[]);
        fs::remove_dir_all(scene.path("run")).unwrap();
        fs::remove_dir_all(scene.path("state")).unwrap();
        let report = scene.files.check();
        assert_eq!(kinds(&report), (vec!["lock", "socket"], vec![]), "{report:?}");
        assert!(lock::take(&scene.path("state")).is_err(), "the new lock is held");
        assert_eq!(kinds(&scene.files.check()), (vec![], vec![]));
    }

    #[tokio::test]
    async fn a_socket_that_cannot_be_made_is_told() {
        let mut scene = Scene::new(&[]);
        let socket = scene.path("run/api");
        fs::remove_file(&socket).unwrap();
        fs::create_dir(&socket).unwrap();
        let report = scene.files.check();
        let reason = report.unserved.unwrap();
        assert!(
            reason.contains(&socket.display().to_string()) && reason.contains("no Pod can be added"),
            "{reason}"
        );
        fs::remove_dir(&socket).unwrap();
        let report = scene.files.check();
        assert_eq!((report.unserved.is_none(), report.repaired.len()), (true, 1));
    }

    #[tokio::test]
    async fn an_agent_that_has_the_lock_by_now_is_told() {
        let mut scene = Scene::new(&[]);
        fs::remove_file(scene.path("state/lock")).unwrap();
        let other = lock::take(&scene.path("state")).unwrap();
        assert_eq!(kinds(&scene.files.check()), (vec![], vec!["lock"]));
        drop(other);
        assert_eq!(kinds(&scene.files.check()), (vec!["lock"], vec![]));
    }

    #[tokio::test]
    async fn a_plugin_that_cannot_be_put_back_is_told_with_the_remedy() {
        // Beside this test's own program there is none.
        let mut scene = Scene::new(&[]);
        for (name, harm) in [("midonet-kube-cni", false), ("midonet-kube-ipam", true)] {
            let path = scene.path("bin").join(name);
            if harm {
                fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
            let report = scene.files.check();
            assert_eq!(kinds(&report), (vec![], vec!["plugin"]), "{report:?}");
            let Problem { object, remedy, .. } = &report.problems[0];
            assert!(
                *object == path.display().to_string() && remedy.contains("midonet-kube-node install"),
                "{report:?}"
            );
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        // Another version of it is no fault.
        fs::write(scene.path("bin/midonet-kube-cni"), "another").unwrap();
        assert_eq!(kinds(&scene.files.check()), (vec![], vec![]));
    }

    #[tokio::test]
    async fn a_configuration_that_comes_first_is_told() {
        let mut scene = Scene::new(&[]);
        for other in ["99-other.conf", "05-other.conflist.bak", "10-midonet.conflist", ".05-other.conf.new"] {
            fs::write(scene.path("net.d").join(other), "{}").unwrap();
        }
        assert_eq!(kinds(&scene.files.check()), (vec![], vec![]));
        for other in ["05-other.conflist", "00-another.json"] {
            fs::write(scene.path("net.d").join(other), "{}").unwrap();
        }
        let report = scene.files.check();
        assert_eq!(kinds(&report), (vec![], vec!["foreign_cni_config"]));
        let Problem { object, remedy, .. } = &report.problems[0];
        assert!(
            object.ends_with("00-another.json") && remedy.contains("00-another.json, 05-other.conflist"),
            "{report:?}"
        );
    }

    #[tokio::test]
    async fn an_ipam_plugin_that_is_not_there_is_told() {
        let mut scene = Scene::new(&["--ipam-type=host-local"]);
        assert_eq!(kinds(&scene.files.check()), (vec![], vec!["ipam_plugin"]));
        let path = scene.path("bin/host-local");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(kinds(&scene.files.check()), (vec![], vec![]));
    }
}
