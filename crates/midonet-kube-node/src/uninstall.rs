//! Takes the network off a node: afterwards it is as it was before the agent first ran there.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::backend::record::live_ports;
use crate::backend::traces::Removal;
use crate::backend::{names, traces};
use crate::config::Paths;
use crate::{install, kernel_settings, lock, proxy, stdout};

/// How many retired interfaces are deleted at once.
const SLICE: usize = 32;

/// So many Pods are named.
const MOST: usize = 20;

/// What is removed, and from where.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where things are on this node.
    #[command(flatten)]
    pub paths: Paths,

    /// Where the container runtime looks for CNI plugins.
    #[arg(long, env = "MIDONETKUBE_CNIBINDIR", default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,

    /// Where the Pods' addresses are kept.
    #[arg(long, default_value = "/var/lib/cni/networks/midonet-pod-network")]
    pub ipam_dir: PathBuf,

    /// Also if Pods still have interfaces: they lose their network.
    #[arg(long)]
    pub force: bool,
}

/// Removes everything, as far as it is there: known files by their names, never a tree that a setting names. What
/// fails does not keep the rest from being tried.
///
/// # Errors
/// An agent runs, Pods still have interfaces and `force` is not given, or some of it cannot be removed.
pub fn uninstall(args: &Options) -> Result<()> {
    plumbing::sysctl::set_root(&args.paths.sysctl_dir);
    let _lock = lock::take(&args.paths.state_dir)?;
    let pods = live_ports()?;
    ensure!(
        args.force || pods.is_empty(),
        "{} Pods on this node still have interfaces: {}: drain the node first, or give --force, and they lose their \
         network",
        pods.len(),
        some_of(&pods.iter().map(|(_, alias)| alias.pod.to_string()).collect::<Vec<_>>())
    );
    let mut work = Work::default();
    // First what makes the runtime add Pods.
    work.step("the CNI configuration", remove_config(&args.paths.cni_config_path));
    for file in install::files(&args.cni_bin_dir) {
        work.file(&file);
    }
    for (link, alias) in &pods {
        let what = format!("the interface of Pod {}", alias.pod);
        work.step(&what, plumbing::link::delete_by_name(&link.name).map(|()| true).map_err(Into::into));
    }
    work.step("retired interfaces", delete_retired());
    let of_networks = traces::remove_embedded(&args.paths.bpf_dir);
    for Removal { what, removed } in std::iter::once(traces::remove_node_pair()).chain(of_networks) {
        work.step(&what, removed);
    }
    match kernel_settings::restore(&args.paths.state_dir) {
        Ok(given) => given.iter().for_each(|setting| work.tell(format_args!("given back: {setting}"))),
        Err(error) => work.errors.push(error),
    }
    let addresses = ipam::remove(&args.ipam_dir).map_err(Into::into);
    work.step(&format!("the addresses in {}", args.ipam_dir.display()), addresses);
    work.directory(&args.paths.cache_dir, &objects::Cache::files(&args.paths.cache_dir));
    work.step(&args.paths.socket.display().to_string(), remove_socket(&args.paths.socket));
    let state_dir = &args.paths.state_dir;
    let files = names::files(state_dir);
    if !files.is_empty() {
        work.directory(&names::directory(state_dir), &files);
    }
    work.directory(
        state_dir,
        &[kernel_settings::path(state_dir), proxy::record_path(state_dir), lock::path(state_dir)],
    );
    work.end()
}

/// The first of many names.
fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST);
    let first = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

#[derive(Debug, Default)]
struct Work {
    errors: Vec<anyhow::Error>,
    /// Why what was done could not be printed.
    unheard: Option<anyhow::Error>,
}

impl Work {
    /// Prints a line. The work goes on also if that fails; it is said at the end.
    fn tell(&mut self, text: impl Display) {
        if self.unheard.is_none() {
            self.unheard = stdout::line(text).err();
        }
    }

    /// Says what was removed; notes what could not be.
    fn step(&mut self, what: &str, removed: Result<bool>) {
        match removed {
            Ok(true) => self.tell(format_args!("removed: {what}")),
            Ok(false) => {}
            Err(error) => self.errors.push(error.context(format!("cannot remove {what}"))),
        }
    }

    /// Removes a file of ours, and what a process that was killed was writing in its place.
    fn file(&mut self, path: &Path) {
        let unfinished = atomic_file::leftovers(path).map_err(Into::into);
        let removed = unfinished.and_then(|files| {
            files
                .iter()
                .map(|file| file.as_path())
                .chain([path])
                .try_fold(false, |any, file| Ok(remove_file(file)? || any))
        });
        self.step(&path.display().to_string(), removed);
    }

    /// Removes these files, and their directory if it is empty then. What else is in it is not ours.
    fn directory(&mut self, directory: &Path, files: &[PathBuf]) {
        for file in files {
            self.file(file);
        }
        match fs::remove_dir(directory) {
            Ok(()) => self.tell(format_args!("removed: {}", directory.display())),
            // In a container it is a mount.
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ResourceBusy].contains(&error.kind()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                self.tell(format_args!("left: {}: it is a link to a directory", directory.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.tell(format_args!("left: {}: there are other files in it", directory.display()));
            }
            Err(error) => self.step(&directory.display().to_string(), Err(error.into())),
        }
    }

    fn end(self) -> Result<()> {
        if self.errors.is_empty() {
            return self.unheard.map_or(Ok(()), Err);
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

/// Only a socket: the setting may name anything.
fn remove_socket(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => remove_file(path),
        Ok(_) => bail!("it is no socket: left alone"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn delete_retired() -> Result<bool> {
    let mut some = false;
    while plumbing::link::delete_retired(SLICE)? > 0 {
        some = true;
    }
    Ok(some)
}

fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
