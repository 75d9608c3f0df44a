//! Rights, folders and what else is on the node.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use naming::alias::CLUSTER_NETWORK;
use naming::interface;
use nix::unistd::{AccessFlags, access};

use super::Finding;
use crate::args::{Paths, RunArgs};
use crate::network::OVERLAY_PORT;
use crate::{capabilities, leaks};

pub(super) fn look(args: &RunArgs) -> Vec<Finding> {
    let mut findings = vec![rights()];
    findings.extend(folders(&args.paths));
    findings.extend(addresses(&args.ipam_type));
    findings.push(sysctls(&args.paths.sysctl_dir));
    findings.push(overlay_port());
    findings.push(other_networks(&args.paths.cni_config_path));
    if let Some(folder) = &args.manifests {
        let what = format!("manifests in {}", folder.display());
        findings.push(match fs::read_dir(folder) {
            Ok(_) => Finding::good(what),
            Err(error) => Finding::bad(what, format!("{error}: make the folder, or correct --manifests")),
        });
    }
    findings
}

fn rights() -> Finding {
    let what = "capabilities";
    match capabilities::missing() {
        Ok(missing) if missing.is_empty() => Finding::good(what),
        Ok(missing) => {
            let all: Vec<_> = missing.iter().map(|(name, why)| format!("{name} (for {why})")).collect();
            let remedy = "run it as root; in a container add them to securityContext.capabilities";
            Finding::bad(what, format!("there is no {}: {remedy}", all.join(", no ")))
        }
        Err(error) => Finding::bad(what, format!("{error:#}: mount /proc")),
    }
}

fn folders(paths: &Paths) -> Vec<Finding> {
    let parent = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let needed = [
        ("the agent's folder", "--state-dir", paths.state_dir.clone()),
        ("the socket's folder", "--socket", parent(&paths.socket)),
        ("the CNI configuration's folder", "--cni-config-path", parent(&paths.cni_config_path)),
    ];
    let mut findings: Vec<_> = needed
        .into_iter()
        .map(|(what, flag, folder)| {
            let what = format!("{what} {}", folder.display());
            match writable(&folder) {
                Ok(()) => Finding::good(what),
                Err(error) => Finding::bad(what, format!("{error}: make it writable, or correct {flag}")),
            }
        })
        .collect();
    let cache = format!("the folder for an outage {}", paths.cache_dir.display());
    findings.push(match writable(&paths.cache_dir) {
        Ok(()) => Finding::good(cache),
        Err(error) => Finding::warning(
            cache,
            format!("{error}: an agent that starts while the API server is away would know no Nodes"),
        ),
    });
    findings
}

/// Where the plugin keeps addresses: the agent repairs what is leaked of them.
fn addresses(ipam_type: &str) -> Option<Finding> {
    let folder = leaks::keeps_files(ipam_type).then(|| ipam::directory(None, CLUSTER_NETWORK))?;
    let what = format!("the folder of addresses {}", folder.display());
    Some(match writable(&folder) {
        Ok(()) => Finding::good(what),
        Err(error) => Finding::warning(
            what,
            format!(
                "{error}: make it writable, in a container mount it, or leaked addresses are not given back"
            ),
        ),
    })
}

/// Whether files can be made in a folder, or the folder can. Tries nothing.
fn writable(folder: &Path) -> io::Result<()> {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(io::Error::other(format!("{} is no folder", existing.display())));
    }
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    access(existing, wanted).map_err(|errno| io::Error::other(format!("{}: {errno}", existing.display())))
}

fn sysctls(root: &Path) -> Finding {
    let setting = root.join("ipv4/ip_forward");
    let what = format!("the node's settings in {}", root.display());
    match access(&setting, AccessFlags::W_OK) {
        Ok(()) => Finding::good(what),
        Err(errno) => Finding::bad(
            what,
            format!(
                "{errno}: where /proc/sys is read-only, mount the host's /proc/sys/net and name it with --sysctl-dir"
            ),
        ),
    }
}

/// Another VXLAN network, most of all.
fn overlay_port() -> Finding {
    let what = format!("UDP port {OVERLAY_PORT}");
    if plumbing::find_port(interface::OVERLAY).is_ok_and(|link| link.is_some()) {
        return Finding::good(what); // our own device has it
    }
    let both: [SocketAddr; 2] =
        [(Ipv4Addr::UNSPECIFIED, OVERLAY_PORT).into(), (Ipv6Addr::UNSPECIFIED, OVERLAY_PORT).into()];
    for address in both {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Finding::bad(
                    what,
                    format!(
                        "somebody else has it: look with `ip -d link show type vxlan` and `ss -ulnp sport = \
                         {OVERLAY_PORT}`, and remove that network"
                    ),
                );
            }
            _ => {} // without IPv6 there is nobody to have it
        }
    }
    Finding::good(what)
}

/// The runtime takes the first configuration by name.
fn other_networks(config: &Path) -> Finding {
    let what = "the CNI configuration is the first";
    let (Some(folder), Some(own)) = (config.parent(), config.file_name()) else { return Finding::good(what) };
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_config = |name: &Path| {
        name.extension().is_some_and(|kind| ["conf", "conflist", "json"].iter().any(|known| kind == *known))
    };
    let mut before: Vec<String> = names
        .filter(|name| name.as_os_str() < own && is_config(Path::new(name)))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    before.sort();
    if before.is_empty() {
        return Finding::good(what);
    }
    let problem = format!(
        "{} in {} comes first, so the container runtime uses that network: remove it",
        before.join(", "),
        folder.display()
    );
    Finding::warning(what, problem)
}
