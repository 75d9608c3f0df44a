//! Takes the network off a node: afterwards it is as it was before the agent first ran there.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use naming::interface;

use crate::args::UninstallArgs;
use crate::install::NAMES;
use crate::network::live_ports;
use crate::{lock, settings};

/// How many dead interfaces are deleted at once.
const SLICE: usize = 32;

/// Removes everything, as far as it is there. What fails does not keep the rest from being tried.
///
/// # Errors
/// An agent runs, Pods still have interfaces and `force` is not given, or some of it cannot be removed.
pub fn uninstall(args: &UninstallArgs) -> Result<()> {
    plumbing::sysctl::look_in(&args.paths.sysctl_dir);
    let _lock = lock::take(&args.paths.state_dir)?;
    let pods = live_ports()?;
    ensure!(
        args.force || pods.is_empty(),
        "{} Pods on this node still have interfaces, {} among them: drain the node first, or give --force, and \
         they lose their network",
        pods.len(),
        pods.first().map(|(_, alias)| alias.pod.to_string()).unwrap_or_default()
    );
    let mut work = Work::default();
    // First what makes the runtime add Pods.
    work.step("the CNI configuration", remove_config(&args.paths.cni_config_path));
    for name in NAMES {
        let plugin = args.cni_bin_dir.join(name);
        work.step(&plugin.display().to_string(), remove_file(&plugin));
    }
    for (link, alias) in &pods {
        let what = format!("the interface of Pod {}", alias.pod);
        work.step(&what, plumbing::remove(&link.name).map(|()| true).map_err(Into::into));
    }
    work.step("dead interfaces", reap());
    let links = plumbing::list_ports().unwrap_or_default();
    for name in [interface::MIDO, interface::OVERLAY, interface::SHAPER] {
        let there = links.iter().any(|link| link.name == name);
        work.step(name, plumbing::remove(name).map(|()| there).map_err(Into::into));
    }
    work.step("the nftables table inet midonet-kube", remove_table());
    let pins = datapath::remove_pins(&args.paths.bpf_dir).map_err(Into::into);
    work.step(&format!("the pins in {}", args.paths.bpf_dir.display()), pins);
    match settings::give_back(&args.paths.state_dir) {
        Ok(given) => given.iter().for_each(|setting| println!("given back: {setting}")),
        Err(error) => work.errors.push(error),
    }
    for folder in [&args.ipam_dir, &args.paths.cache_dir, &args.paths.state_dir] {
        work.step(&folder.display().to_string(), remove_folder(folder));
    }
    if let (Some(parent), Some(network)) = (args.ipam_dir.parent(), args.ipam_dir.file_name()) {
        let owners = parent.join(".owners");
        work.step("the index of addresses", remove_folder(&owners.join(network)));
        // Of other networks there may be one, too.
        let _ = fs::remove_dir(&owners);
    }
    work.step(&args.paths.socket.display().to_string(), remove_file(&args.paths.socket));
    work.end()
}

#[derive(Debug, Default)]
struct Work {
    errors: Vec<anyhow::Error>,
}

impl Work {
    /// Says what was removed; notes what could not be.
    fn step(&mut self, what: &str, removed: Result<bool>) {
        match removed {
            Ok(true) => println!("removed: {what}"),
            Ok(false) => {}
            Err(error) => self.errors.push(error.context(format!("cannot remove {what}"))),
        }
    }

    fn end(self) -> Result<()> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let errors: Vec<_> = self.errors.iter().map(|error| format!("{error:#}")).collect();
        bail!("not everything is removed: repair this and run it again:\n{}", errors.join("\n"))
    }
}

/// Only the agent's own: another network may have been put in the same place.
fn remove_config(path: &Path) -> Result<bool> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    ensure!(text.contains("midonet-kube-cni"), "{} is not this agent's: left alone", path.display());
    remove_file(path)
}

fn reap() -> Result<bool> {
    let mut some = false;
    while plumbing::reap_dead(SLICE)? > 0 {
        some = true;
    }
    Ok(some)
}

fn remove_table() -> Result<bool> {
    if plumbing::nft::look()?.is_none() {
        return Ok(false);
    }
    plumbing::nft::remove()?;
    Ok(true)
}

fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn remove_folder(path: &Path) -> Result<bool> {
    match fs::remove_dir_all(path) {
        // In a container it is empty now, and a mount.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(true),
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
