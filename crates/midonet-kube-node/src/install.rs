//! Puts the CNI plugin where the container runtime looks for it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cni_config::replace_file;

const PLUGIN: &str = "midonet-kube-cni";

/// The names that the plugin's program goes by; under the second it answers as an IPAM plugin.
pub(crate) const NAMES: [&str; 2] = [PLUGIN, "midonet-kube-ipam"];

/// Copies the plugin that lies beside this program. Each file is replaced in one step, so that a call
/// by the runtime meanwhile finds the old or the new one.
///
/// # Errors
/// Names the file and what could not be done with it.
pub fn install(cni_bin_dir: &Path) -> Result<()> {
    let me = std::env::current_exe().context("cannot find this program's own file")?;
    let plugin = me.with_file_name(PLUGIN);
    let contents =
        std::fs::read(&plugin).with_context(|| format!("cannot read the plugin {}", plugin.display()))?;
    for name in NAMES {
        let target = cni_bin_dir.join(name);
        if std::fs::read(&target).is_ok_and(|now| now == contents) {
            continue;
        }
        replace_file(&target, &contents, 0o755)?;
        println!("installed {}", target.display());
    }
    Ok(())
}
