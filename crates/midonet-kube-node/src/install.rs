//! Puts the CNI plugin where the container runtime looks for it, and this program beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cni_config::replace_file;
use crate::stdout;

const PLUGIN: &str = "midonet-kube-cni";

/// What is laid into the runtime's directory of plugins: a name there, and the name of the program beside this one.
/// Under its second name the plugin answers as an IPAM plugin. This program is there for `uninstall`, which has to run
/// when no image and no DaemonSet is left.
const FILES: [(&str, &str); 3] =
    [(PLUGIN, PLUGIN), ("midonet-kube-ipam", PLUGIN), ("midonet-kube-node", "midonet-kube-node")];

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
    let me = std::env::current_exe().context("cannot find this program's own file")?;
    for (name, program) in FILES {
        let source = if me.ends_with(program) { me.clone() } else { me.with_file_name(program) };
        let contents = std::fs::read(&source)
            .with_context(|| format!("cannot read the program {}", source.display()))?;
        let target = cni_bin_dir.join(name);
        if std::fs::read(&target).is_ok_and(|now| now == contents) {
            continue;
        }
        replace_file(&target, &contents, 0o755)?;
        stdout::line(format_args!("installed {}", target.display()))?;
    }
    Ok(())
}
