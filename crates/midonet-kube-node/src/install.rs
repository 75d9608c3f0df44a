//! Puts the CNI plugin where the container runtime looks for it, and this program beside it.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use atomic_file::Durability;

use crate::stdout;

const PLUGIN: &str = "midonet-kube-cni";

/// What is laid into the runtime's directory of plugins: a name there, and the name of the program beside this one.
/// Under its second name the plugin answers as an IPAM plugin. This program is there for `uninstall`, which has to run
/// when no image and no DaemonSet is left.
const FILES: [(&str, &str); 3] =
    [(PLUGIN, PLUGIN), ("midonet-kube-ipam", PLUGIN), ("midonet-kube-node", "midonet-kube-node")];

/// The names of those that the container runtime executes.
pub(crate) const PLUGINS: [&str; 2] = [PLUGIN, "midonet-kube-ipam"];

/// The files that are laid there.
pub(crate) fn files(cni_bin_dir: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.into_iter().map(|(name, _)| cni_bin_dir.join(name))
}

/// Copies the programs. Each file is replaced in one step, so that a call by the runtime meanwhile finds the old or the
/// new one.
///
/// # Errors
/// Names the file and what could not be done with it.
pub fn install(cni_bin_dir: &Path) -> Result<()> {
    for (name, _) in FILES {
        if put(cni_bin_dir, name)? {
            stdout::line(format_args!("installed {}", cni_bin_dir.join(name).display()))?;
        }
    }
    Ok(())
}

/// Copies the program that has this name there, unless it is there already with these contents and may be executed.
///
/// # Errors
/// Names the file and what could not be done with it.
pub(crate) fn put(cni_bin_dir: &Path, name: &str) -> Result<bool> {
    let me = std::env::current_exe().context("cannot find this program's own file")?;
    let program = FILES.iter().find(|(known, _)| *known == name).map_or(name, |(_, program)| program);
    let source = if me.ends_with(program) { me } else { me.with_file_name(program) };
    let contents =
        std::fs::read(&source).with_context(|| format!("cannot read the program {}", source.display()))?;
    let target = cni_bin_dir.join(name);
    let is_executable = |file: &Metadata| file.permissions().mode() & 0o111 != 0;
    if std::fs::metadata(&target).is_ok_and(|file| is_executable(&file))
        && std::fs::read(&target).is_ok_and(|now| now == contents)
    {
        return Ok(false);
    }
    atomic_file::replace(&target, &contents, 0o755, Durability::Synced)
        .with_context(|| format!("cannot write {}", target.display()))?;
    Ok(true)
}
