//! Rights, directories and what else is on the node.

use std::fs;
use std::io;
use std::path::Path;

use naming::alias::CLUSTER_NETWORK;
use nix::unistd::{AccessFlags, access};

use super::Finding;
use crate::config::{Config, NetworkKind, Paths};
use crate::{capabilities, cni_config, leaks};

pub(super) fn check(args: &Config) -> Vec<Finding> {
    let mut findings = vec![rights(args.network)];
    findings.extend(directories(&args.paths));
    findings.extend(addresses(&args.ipam_type));
    findings.push(sysctls(&args.paths.sysctl_dir));
    findings.push(other_networks(&args.paths.cni_config_path));
    if let Some(directory) = &args.manifests {
        let what = format!("manifests in {}", directory.display());
        findings.push(match fs::read_dir(directory) {
            Ok(_) => Finding::good(what),
            Err(error) => Finding::missing(what, error, "make the directory, or correct --manifests"),
        });
    }
    findings
}

fn rights(network: NetworkKind) -> Finding {
    let what = "capabilities";
    match capabilities::missing(network) {
        Ok(missing) if missing.is_empty() => Finding::good(what),
        Ok(missing) => {
            let all: Vec<_> = missing.iter().map(|(name, why)| format!("{name} (for {why})")).collect();
            let remedy = "run it as root; in a container add them to securityContext.capabilities";
            Finding::missing(what, format!("there is no {}", all.join(", no ")), remedy)
        }
        Err(error) => Finding::missing(what, format!("{error:#}"), "mount /proc"),
    }
}

fn directories(paths: &Paths) -> Vec<Finding> {
    let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let needed = [
        ("the agent's directory", "--state-dir", paths.state_dir.clone()),
        ("the socket's directory", "--socket", parent(&paths.socket)),
        ("the CNI configuration's directory", "--cni-config-path", parent(&paths.cni_config_path)),
    ];
    let mut findings: Vec<_> = needed
        .into_iter()
        .map(|(what, flag, directory)| {
            let what = format!("{what} {}", directory.display());
            match writable(&directory) {
                Ok(()) => Finding::good(what),
                Err(error) => Finding::missing(what, error, format!("make it writable, or correct {flag}")),
            }
        })
        .collect();
    let cache = format!("the directory for an outage {}", paths.cache_dir.display());
    findings.push(match writable(&paths.cache_dir) {
        Ok(()) => Finding::good(cache),
        Err(error) => Finding::warning(
            cache,
            format!("{error}: an agent that starts while the API server is away would know no Nodes"),
            "make it writable, or correct --cache-dir",
        ),
    });
    findings
}

/// Where the plugin keeps addresses: the agent repairs what is leaked of them.
fn addresses(ipam_type: &str) -> Option<Finding> {
    let directory = leaks::keeps_files(ipam_type).then(|| ipam::directory(None, CLUSTER_NETWORK))?;
    let what = format!("the directory of addresses {}", directory.display());
    Some(match writable(&directory) {
        Ok(()) => Finding::good(what),
        Err(error) => Finding::warning(
            what,
            format!("{error}: leaked addresses are not given back"),
            "make it writable, in a container mount it",
        ),
    })
}

/// An IPAM plugin that the CNI plugin executes; its own is part of it. The agent's start does not look for it: who
/// needs it is the next ADD, whose error names it, and an agent that does not start would repair nothing.
pub(crate) fn ipam_plugin(args: &Config) -> Option<Finding> {
    let (name, directory) = (&args.ipam_type, &args.cni_bin_dir);
    if name == ipam::IN_PROCESS {
        return None;
    }
    let what = format!("the IPAM plugin {name}");
    // It is a file's name, and must not lead elsewhere.
    if name.is_empty() || name.contains('/') {
        return Some(Finding::invalid(what, "this is no name of a plugin", "correct --ipam-type"));
    }
    let plugin = directory.join(name);
    Some(if access(&plugin, AccessFlags::X_OK).is_ok() && plugin.is_file() {
        Finding::good(what)
    } else if directory.is_dir() {
        let problem = format!("there is no program {}", plugin.display());
        Finding::missing(what, problem, "install it there, or correct --ipam-type or --cni-bin-dir")
    } else {
        let problem = format!("there is no directory {} to look for it", directory.display());
        Finding::warning(what, problem, "correct --cni-bin-dir, in a container mount it")
    })
}

/// Whether files can be made in a directory, or the directory can. Tries nothing.
fn writable(directory: &Path) -> io::Result<()> {
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(io::Error::other(format!("{} is no directory", existing.display())));
    }
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    access(existing, wanted).map_err(|errno| io::Error::other(format!("{}: {errno}", existing.display())))
}

fn sysctls(root: &Path) -> Finding {
    let setting = root.join("ipv4/ip_forward");
    let what = format!("the node's settings in {}", root.display());
    match access(&setting, AccessFlags::W_OK) {
        Ok(()) => Finding::good(what),
        Err(errno) => Finding::missing(
            what,
            errno,
            "where /proc/sys is read-only, mount the host's /proc/sys/net and name it with --sysctl-dir",
        ),
    }
}

/// The runtime takes the first configuration by name.
fn other_networks(config: &Path) -> Finding {
    let what = "the CNI configuration is the first";
    let before = cni_config::before(config);
    if before.is_empty() {
        return Finding::good(what);
    }
    let problem = format!(
        "{} in {} comes first, so the container runtime uses that network",
        before.join(", "),
        config.parent().unwrap_or(Path::new("/")).display()
    );
    Finding::warning(what, problem, "remove it")
}
