//! What a machine mounts so that its programs may use their real paths and nothing reaches the host:
//! decided here, without touching anything.

use std::fmt;
use std::path::{Path, PathBuf};

/// Directories that every machine has for itself, empty at first.
const PRIVATE: [&str; 4] = ["/run", "/var/lib/cni", "/etc/cni/net.d", "/opt/cni/bin"];

/// What no machine has at first, whatever the host has: it is made and removed there as on a host.
const ABSENT: [&str; 1] = ["/var/lib/midonet-kube-node"];

/// Directories made inside `/run`: what a running system has there.
const RUN_DIRS: [&str; 2] = ["/run/netns", "/run/lock"];

/// A directory of the host that stays visible in a machine at its own path, whatever is mounted above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) dir: PathBuf,
    /// Whether the machine may write to it. It may write to nothing else of the host.
    pub(crate) writable: bool,
}

impl Kept {
    pub(crate) fn writable(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writable: true }
    }

    pub(crate) fn read_only(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), writable: false }
    }
}

/// One step of setting a machine up, in its own mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// No mount made from here on reaches the host.
    MakePrivate,
    /// Makes every mount read-only. What is held already, and what is mounted later, is not.
    ReadOnly,
    /// Takes hold of a directory (slot of [`KEPT_MAX`]) before something is mounted over it.
    Hold(usize, PathBuf),
    /// Puts the directory of a slot back at its path.
    Restore(usize, PathBuf),
    /// Makes a directory; there already is fine.
    Mkdir(PathBuf),
    /// Hides the entry of that name in the lower directory of an overlay, from its upper directory.
    Whiteout(PathBuf),
    /// Mounts a file system.
    Mount { fstype: &'static str, target: PathBuf, data: String },
    /// Shows a directory at a second place.
    Bind(PathBuf, PathBuf),
}

/// What it does, after "cannot".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakePrivate => write!(f, "make its mounts private"),
            Self::ReadOnly => write!(f, "make the host's mounts read-only"),
            Self::Hold(_, dir) => write!(f, "open {}", dir.display()),
            Self::Restore(_, dir) => write!(f, "show the host's {} in it", dir.display()),
            Self::Mkdir(dir) => write!(f, "make directory {}", dir.display()),
            Self::Whiteout(file) => write!(f, "make whiteout {}", file.display()),
            Self::Mount { fstype, target, .. } => write!(f, "mount {fstype} at {}", target.display()),
            Self::Bind(from, to) => write!(f, "show {} at {}", from.display(), to.display()),
        }
    }
}

/// How many directories of the host a machine may hold on to.
pub(crate) const KEPT_MAX: usize = 4;

/// The steps for a machine. `kept` are absolute directories of the host; one that lies in another comes
/// after it. `is_dir` tells what the host has, and `run_is_var_run` whether its `/var/run` leads to `/run`.
pub(crate) fn plan(kept: &[Kept], is_dir: impl Fn(&Path) -> bool, run_is_var_run: bool) -> Vec<Step> {
    let kept: Vec<_> = kept.iter().take(KEPT_MAX).enumerate().collect();
    let hold = |writable: bool| {
        let of_this_kind = kept.iter().filter(move |(_, kept)| kept.writable == writable);
        of_this_kind.map(|(slot, kept)| Step::Hold(*slot, kept.dir.clone()))
    };
    let mut steps = vec![Step::MakePrivate];
    steps.extend(hold(true));
    steps.push(Step::ReadOnly);
    steps.extend(hold(false));
    steps.push(mount("proc", "/proc", ""));
    steps.push(mount("sysfs", "/sys", ""));
    steps.push(mount("bpf", "/sys/fs/bpf", "mode=700"));
    steps.push(mount("tmpfs", "/run", "mode=755"));
    steps.extend(RUN_DIRS.map(|dir| Step::Mkdir(dir.into())));
    if !run_is_var_run {
        steps.push(Step::Bind("/run".into(), "/var/run".into()));
    }

    // A mount needs a directory to sit on. Where the host has none it is made in a layer over the
    // nearest directory that exists, so that the host does not get it. All layers come first: one
    // that came after a mount would hide it.
    let mounted = || PRIVATE.iter().map(Path::new).filter(|dir| *dir != Path::new("/run"));
    let base_of =
        |dir: &Path| dir.ancestors().skip(1).find(|a| is_dir(a)).unwrap_or(Path::new("/")).to_owned();
    let made = mounted().filter(|dir| !is_dir(dir)).map(|dir| (base_of(dir), dir));
    let absent = ABSENT
        .iter()
        .filter_map(|dir| Path::new(dir).parent().map(|parent| (base_of(Path::new(dir)), parent)));
    let mut layered: Vec<PathBuf> = Vec::new();
    for (base, dir) in made.chain(absent) {
        if !layered.contains(&base) {
            steps.extend(layer(&base, layered.len()));
            layered.push(base.clone());
        }
        steps.extend(missing(dir, &base));
    }
    steps.extend(mounted().map(|dir| Step::Mount {
        fstype: "tmpfs",
        target: dir.into(),
        data: "mode=755".into(),
    }));

    for (slot, kept) in kept {
        steps.extend(missing(&kept.dir, Path::new("/")));
        steps.push(Step::Restore(slot, kept.dir.clone()));
    }
    steps
}

fn mount(fstype: &'static str, target: &str, data: &str) -> Step {
    Step::Mount { fstype, target: target.into(), data: data.into() }
}

/// A writable layer over `base` that lives in the machine's memory.
fn layer(base: &Path, number: usize) -> Vec<Step> {
    let store = PathBuf::from(format!("/run/.layers/{number}"));
    let (upper, work) = (store.join("upper"), store.join("work"));
    let data = format!("lowerdir={},upperdir={},workdir={}", base.display(), upper.display(), work.display());
    let absent = ABSENT.iter().map(Path::new).filter(|dir| dir.parent() == Some(base));
    let whiteouts = absent.filter_map(|dir| dir.file_name()).map(|name| Step::Whiteout(upper.join(name)));
    let mut steps = vec![Step::Mkdir("/run/.layers".into()), Step::Mkdir(store)];
    steps.extend([Step::Mkdir(upper.clone()), Step::Mkdir(work)]);
    steps.extend(whiteouts);
    steps.push(Step::Mount { fstype: "overlay", target: base.to_owned(), data });
    steps
}

/// Makes every missing directory between `base` and `dir`.
fn missing(dir: &Path, base: &Path) -> Vec<Step> {
    let mut steps: Vec<_> =
        dir.ancestors().take_while(|a| *a != base).map(|a| Step::Mkdir(a.to_owned())).collect();
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(steps: &[Step], want: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(want).unwrap_or_else(|| panic!("not in {steps:#?}"))
    }

    fn mounts_on(target: &'static str) -> impl Fn(&Step) -> bool {
        move |step| matches!(step, Step::Mount { target: t, .. } if t == Path::new(target))
    }

    #[test]
    fn mounts_become_private_first() {
        assert_eq!(plan(&[], |_| true, true).first(), Some(&Step::MakePrivate));
    }

    #[test]
    fn existing_directories_need_no_overlay_unless_something_is_hidden() {
        let steps = plan(&[], |_| true, true);
        let layers = steps.iter().filter(|s| matches!(s, Step::Mount { fstype: "overlay", .. }));
        assert_eq!(layers.count(), 1, "{steps:#?}");
        let hidden =
            position(&steps, |s| matches!(s, Step::Whiteout(w) if w.ends_with("upper/midonet-kube-node")));
        assert!(hidden < position(&steps, mounts_on("/var/lib")));
        for dir in PRIVATE {
            assert!(steps.iter().any(|s| mounts_on(dir)(s)), "{dir}");
        }
    }

    #[test]
    fn a_missing_directory_is_made_in_an_overlay() {
        let host = ["/", "/etc", "/opt", "/var", "/var/lib", "/run"].map(Path::new);
        let steps = plan(&[], |dir| host.contains(&dir), true);
        for (dir, base) in
            [("/etc/cni/net.d", "/etc"), ("/opt/cni/bin", "/opt"), ("/var/lib/cni", "/var/lib")]
        {
            let layer = position(&steps, mounts_on(base));
            let made = position(&steps, |s| s == &Step::Mkdir(dir.into()));
            let mounted = position(&steps, mounts_on(dir));
            assert!(layer < made && made < mounted, "{dir}");
        }
    }

    #[test]
    fn kept_directories_survive_the_mount_on_run() {
        let dir = PathBuf::from("/run/midokube-lab");
        let steps = plan(&[Kept::writable(&dir)], |_| true, true);
        let hidden = position(&steps, mounts_on("/run"));
        assert!(position(&steps, |s| s == &Step::Hold(0, dir.clone())) < hidden);
        assert!(position(&steps, |s| s == &Step::Mkdir(dir.clone())) > hidden);
        assert!(matches!(steps.last(), Some(Step::Restore(0, d)) if *d == dir));
    }

    #[test]
    fn writable_directories_are_held_before_everything_becomes_read_only() {
        let steps = plan(&[Kept::read_only("/a"), Kept::writable("/b")], |_| true, true);
        let read_only = position(&steps, |s| s == &Step::ReadOnly);
        assert!(position(&steps, |s| s == &Step::Hold(0, "/a".into())) > read_only);
        assert!(position(&steps, |s| s == &Step::Hold(1, "/b".into())) < read_only);
        let first_mount = position(&steps, |s| matches!(s, Step::Mount { .. } | Step::Bind(..)));
        assert!(read_only < first_mount, "what a machine mounts is for it to write to");
    }

    #[test]
    fn no_overlay_hides_a_private_directory() {
        let host = ["/", "/etc/cni/net.d", "/opt/cni/bin", "/var/lib", "/var/lib/cni", "/run"].map(Path::new);
        let steps = plan(&[], |dir| host.contains(&dir), true);
        assert!(position(&steps, mounts_on("/var/lib")) < position(&steps, mounts_on("/var/lib/cni")));
    }

    #[test]
    fn a_var_run_of_its_own_is_private_too() {
        assert!(plan(&[], |_| true, false).contains(&Step::Bind("/run".into(), "/var/run".into())));
    }
}
