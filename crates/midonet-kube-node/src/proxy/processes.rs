//! Which processes there are, and which of them has a port, as far as /proc tells: in a container without the host's
//! processes (`hostPID`) it does not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// TCP_LISTEN, as /proc/net/tcp prints it.
const LISTEN: &str = "0A";

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    /// Its id.
    pub(super) id: u32,
    /// Whether it is certainly in the network namespace of this thread. /proc tells it only to who may trace that process.
    pub(super) certain: bool,
}

/// The processes of this name that are, or may be, in the network namespace of this thread.
pub(super) fn named(name: &str) -> Vec<Process> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let here = namespace("thread-self");
    let is_named = all().filter(|(_, directory)| comm(directory).as_deref() == Some(name));
    let mut found: Vec<Process> = is_named
        .filter_map(|(id, _)| match namespace(&id.to_string()) {
            Some(its) if Some(&its) != here.as_ref() => None,
            its => Some(Process { id, certain: its.is_some() }),
        })
        .collect();
    found.sort_unstable();
    found
}

/// Who listens at a TCP port in this network namespace: its name and id.
pub(super) fn listening_at(port: u16) -> Option<String> {
    let sockets: Vec<Vec<u8>> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok())
        .flat_map(|table| inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]").into_bytes())
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let has_one = |directory: &PathBuf| {
        let files = fs::read_dir(directory.join("fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|link| sockets.iter().any(|socket| link.as_os_str().as_bytes() == socket.as_slice()))
    };
    let (id, directory) = all().find(|(_, directory)| has_one(directory))?;
    Some(format!("{} (process {id})", comm(&directory)?))
}

fn all() -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

fn comm(directory: &std::path::Path) -> Option<String> {
    Some(fs::read_to_string(directory.join("comm")).ok()?.trim_end().to_owned())
}

/// The inodes of the sockets that listen at a port (`Documentation/networking/proc_net_tcp.rst`).
fn inodes(table: &str, port: u16) -> Vec<u64> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
        is_it.then(|| fields.get(9)?.parse().ok())?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_found_by_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:2809 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17 1 0 100 0 0 10 0\n\
            1: 0100007F:2809 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 18 1 0 20 4 30 10 -1\n\
            2: 00000000000000000000000000000000:2809 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 19 1\n\
            3: broken\n";
        assert_eq!(inodes(table, 10249), [17, 19]);
        assert_eq!(inodes(table, 10256), [0_u64; 0]);
    }

    #[test]
    fn who_has_a_port_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = format!("(process {})", std::process::id());
        let found = listening_at(port).unwrap();
        assert!(found.ends_with(&own), "{own} in {found}");
        drop(listener);
        assert_eq!(listening_at(port), None);
        let name = comm(&PathBuf::from("/proc/self")).unwrap();
        let own = Process { id: std::process::id(), certain: true };
        assert!(named(&name).contains(&own), "{name}");
        assert_eq!(named("no such process"), []);
        // One of another node that is a namespace of this machine is not of this one.
        assert!(!testkit::Namespace::new().run(|| named(&name)).contains(&own));
    }
}
