//! Settings under /proc/sys/net, of the network namespace that the calling thread is in.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::family::Family;

const ROOT: &str = "/proc/sys/net";

static ROOT_OVERRIDE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the path of the settings for this process; only the first call counts. A container without privileges has
/// /proc/sys read-only, but may have /proc/sys/net mounted elsewhere.
pub fn set_root(root: &Path) {
    let _first = ROOT_OVERRIDE.set(root.to_owned());
}

fn path(setting: &str) -> PathBuf {
    ROOT_OVERRIDE.get().map_or(Path::new(ROOT), PathBuf::as_path).join(setting)
}

/// Sets a setting. Nothing is written if it has the value already, so that read-only settings may be enough.
///
/// # Errors
/// There is no such setting, or it cannot be written.
pub fn set(setting: &str, value: &str) -> Result<()> {
    change(setting, value).map(|_| ())
}

/// Sets several settings. In the kernel, the trees of all namespaces have one name, and each look-up from the
/// top takes longer the more namespaces there are: so there is only one.
pub(crate) fn set_all(settings: &[(String, &str)]) -> Result<()> {
    if settings.is_empty() {
        return Ok(());
    }
    let root = path("");
    let open_root = File::open(&root).map_err(|error| Error::new(format!("open {}", root.display()), error));
    let tree = open_root?;
    for (setting, value) in settings {
        let open =
            |flags| openat(&tree, setting.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).map(File::from);
        let set = || -> io::Result<()> {
            let mut now = String::new();
            open(OFlag::O_RDONLY)?.read_to_string(&mut now)?;
            if now.trim() == *value { Ok(()) } else { open(OFlag::O_WRONLY)?.write_all(value.as_bytes()) }
        };
        set().map_err(|error| Error::new(format!("set {} to {value}", path(setting).display()), error))?;
    }
    Ok(())
}

/// A setting before it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its path below /proc/sys/net.
    pub setting: String,
    /// Its value.
    pub value: String,
}

/// Sets a setting, and returns what it was; `None` if it had the value already.
///
/// # Errors
/// See [`set`].
pub fn change(setting: &str, value: &str) -> Result<Option<Before>> {
    let path = path(setting);
    let what = || format!("set {} to {value}", path.display());
    let now = fs::read_to_string(&path).map_err(|error| Error::new(what(), error))?;
    if now.trim() == value {
        return Ok(None);
    }
    fs::write(&path, value).map_err(|error| Error::new(what(), error))?;
    Ok(Some(Before { setting: setting.to_owned(), value: now.trim().to_owned() }))
}

/// The value of a setting.
///
/// # Errors
/// There is no such setting.
pub fn read(setting: &str) -> Result<String> {
    let path = path(setting);
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| Error::new(format!("read {}", path.display()), error))?;
    Ok(text.trim().to_owned())
}

/// Whether the kernel has IPv6: not if it was built without, or booted with ipv6.disable=1, and then it refuses
/// every request about IPv6. One look-up outside of /proc/sys/net, where look-ups are slow.
pub fn has_ipv6() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| Path::new("/proc/net/if_inet6").exists())
}

/// Enables forwarding in this namespace.
///
/// An interface that learns IPv6 routes from router advertisements (accept_ra = 1) ignores them once the node
/// forwards IPv6: it is set to accept them all the same (2).
///
/// Returns what was changed, and how it was.
///
/// # Errors
/// A setting cannot be written.
pub fn enable_forwarding(families: &[Family]) -> Result<Vec<Before>> {
    let mut changed = Vec::new();
    for family in families {
        match family {
            Family::V4 => changed.extend(change("ipv4/ip_forward", "1")?),
            Family::V6 if is("ipv6/conf/all/forwarding", "1") => {}
            Family::V6 => {
                for interface in interfaces()? {
                    let accepts = format!("ipv6/conf/{interface}/accept_ra");
                    if is(&accepts, "1") {
                        changed.extend(change(&accepts, "2")?);
                    }
                }
                changed.extend(change("ipv6/conf/all/forwarding", "1")?);
            }
        }
    }
    Ok(changed)
}

/// Whether this namespace forwards packets of that family.
pub fn forwards(family: Family) -> bool {
    match family {
        Family::V4 => is("ipv4/ip_forward", "1"),
        Family::V6 => is("ipv6/conf/all/forwarding", "1"),
    }
}

/// A setting's name for sysctl(8), which writes a dot in an interface's name as a slash.
pub(crate) fn name(setting: &str) -> String {
    let parts = setting.split('/').map(|part| part.replace('.', "/"));
    ["net".to_owned()].into_iter().chain(parts).collect::<Vec<_>>().join(".")
}

/// Whether an interface accepts IPv4 packets only if the route to their source leads out of it (rp_filter = 1;
/// the larger of the setting of all interfaces and its own counts).
pub fn filters_strictly(interface: &str) -> bool {
    let value = |interface: &str| {
        let setting = format!("ipv4/conf/{interface}/rp_filter");
        let text = fs::read_to_string(path(&setting)).unwrap_or_default();
        text.trim().parse::<u8>().unwrap_or_default()
    };
    value("all").max(value(interface)) == 1
}

fn interfaces() -> Result<Vec<String>> {
    let root = path("ipv6/conf");
    let list = fs::read_dir(&root).map_err(|error| Error::new(format!("list {}", root.display()), error))?;
    let real = list.flatten().filter(|entry| entry.file_name() != "all" && entry.file_name() != "default");
    Ok(real.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Whether a setting exists and has that value.
pub(crate) fn is(setting: &str, value: &str) -> bool {
    fs::read_to_string(path(setting)).is_ok_and(|now| now.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_names_of_sysctl() {
        assert_eq!(name("ipv4/conf/eth0/forwarding"), "net.ipv4.conf.eth0.forwarding");
        assert_eq!(name("ipv6/conf/eth0.100/accept_ra"), "net.ipv6.conf.eth0/100.accept_ra");
    }
}
