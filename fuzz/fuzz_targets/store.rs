//! The allocator on a data directory in which anything may lie: whatever it is asked, it ends, gives no address
//! twice, loses none, and touches nothing outside the network's directory.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use cni::{Attachment, Environment, NetworkConfig};
use ipam::{Config, Ipam};
use libfuzzer_sys::fuzz_target;
use midonet_kube_fuzz::edit::Edit;
use midonet_kube_fuzz::sandbox::{self, Thing, everything};
use midonet_kube_fuzz::{CONFIGURATIONS, check_error};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

/// The most things and calls of one input: they are costly, and more of them find nothing new.
const MOST: usize = 12;

#[derive(Debug, Arbitrary)]
struct Session {
    found: Vec<Found>,
    calls: Vec<Call>,
}

/// What lies there before the first call.
#[derive(Debug, Arbitrary)]
struct Found {
    directory: u8,
    name: Name,
    kind: Kind,
}

#[derive(Debug, Arbitrary)]
enum Name {
    Known(u8),
    Text(String),
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Reservation { owner: u8, tail: u8 },
    File(Vec<u8>),
    Directory,
    Pipe,
    Link(u8),
}

#[derive(Debug, Arbitrary)]
struct Call {
    verb: u8,
    owner: u8,
    args: Args,
    configuration: u8,
    edits: Vec<Edit>,
}

#[derive(Debug, Arbitrary)]
enum Args {
    None,
    Known(u8),
    Text(String),
}

const DIRECTORIES: &[&str] =
    &["/data/net", "/data/.owners/net", "/data/net/sub", "/data", "/var/lib/cni/networks/net"];
const NAMES: &[&str] = &[
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.5",
    "10.0.0.6",
    "10.0.0.8",
    "fd00::2",
    "fd00::3",
    "fd00::4",
    "fd00::5",
    "fd00:0::6",
    "::ffff:10.0.0.4",
    "last_reserved_ip.0",
    "last_reserved_ip.1",
    "lock",
    ".pending",
    "sub",
    "c1 eth0 10.0.0.3",
    "c2 eth0 fd00::4",
    "net",
    ".owners",
    "255.255.255.255",
];
const TARGETS: &[&str] =
    &["/outside/file", "/outside", "/outside/absent", "10.0.0.4", "../../outside/file", "/pipe", "."];
const OWNERS: &[(&str, &str)] = &[("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0"), ("c3", "eth0")];
const VERBS: &[&str] = &["ADD", "ADD", "DEL", "CHECK", "STATUS", "GC"];
const ARGS: &[&str] =
    &["IP=10.0.0.4", "IP=fd00::4", "IP=10.0.0.1", "IP=../../outside/file", "IgnoreUnknown=1;X=Y"];

fn pick<T: Copy>(list: &[T], number: u8) -> T {
    list[usize::from(number) % list.len()]
}

fuzz_target!(|session: Session| sandbox::run(move || session.run()));

/// Who holds the addresses that calls gave, by the files that say so.
type Living = BTreeMap<PathBuf, Attachment>;

impl Session {
    fn run(&self) {
        sandbox::clear();
        furnish();
        for found in self.found.iter().take(MOST) {
            // What cannot be there is not there.
            let _ = found.put();
        }
        let before = everything(Path::new("/"));
        let (mut living, mut own) = (Living::new(), Own::default());
        for call in self.calls.iter().take(MOST) {
            call.run(&mut living, &mut own);
        }
        let after = everything(Path::new("/"));
        for (path, owner) in &living {
            let content = format!("{}\r\n{}", owner.container_id, owner.ifname);
            assert_eq!(
                after.get(path),
                Some(&Thing::File(content.into_bytes())),
                "{} is lost",
                path.display()
            );
        }
        check_outside(before, after, &own);
    }
}

/// What a node may have, beside the network's directory.
fn furnish() {
    for directory in ["/data", "/outside", "/dev"] {
        fs::create_dir(directory).expect("make a directory");
    }
    fs::write("/outside/file", "not ours").expect("write a file");
    fs::write("/resolv.conf", "nameserver 10.0.0.1\n").expect("write a file");
    symlink("/data", "/link").expect("make a link");
    mkfifo("/pipe", Mode::S_IRWXU).expect("make a pipe");
    mknod("/dev/zero", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).expect("make a device");
}

/// Outside the networks' directories everything is as it was, but for their parents.
fn check_outside(mut before: BTreeMap<PathBuf, Thing>, after: BTreeMap<PathBuf, Thing>, own: &Own) {
    let inside = |path: &Path| own.directories.iter().any(|directory| path.starts_with(directory));
    for (path, thing) in after.iter().filter(|(path, _)| !inside(path)) {
        match before.remove(path) {
            Some(old) => assert_eq!(*thing, old, "{} is changed", path.display()),
            None => assert!(
                *thing == Thing::Directory && own.parents.contains(path),
                "{} is made: {thing:?}",
                path.display()
            ),
        }
    }
    before.retain(|path, _| !after.contains_key(path) && !inside(path));
    assert!(before.is_empty(), "removed: {before:?}");
}

impl Found {
    fn put(&self) -> std::io::Result<()> {
        let directory = Path::new(pick(DIRECTORIES, self.directory));
        fs::create_dir_all(directory)?;
        let path = directory.join(match &self.name {
            Name::Known(number) => pick(NAMES, *number),
            // One name: what has more parts would lie somewhere else.
            Name::Text(name) if !name.contains('/') => name,
            Name::Text(_) => return Ok(()),
        });
        match &self.kind {
            Kind::Reservation { owner, tail } => {
                let (id, ifname) = pick(OWNERS, *owner);
                let key = format!("{id}\r\n{ifname}");
                let content = [key.as_str(), id, "", &format!(" {key}\n"), &format!("{id}\n{ifname}")];
                write(&path, pick(&content, *tail).as_bytes())
            }
            Kind::File(content) => write(&path, content),
            Kind::Directory => fs::create_dir(path),
            Kind::Pipe => Ok(mkfifo(&path, Mode::S_IRWXU)?),
            Kind::Link(target) => symlink(pick(TARGETS, *target), path),
        }
    }
}

/// Makes a file; not where a link leads.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    File::create_new(path)?.write_all(content)
}

impl Call {
    fn run(&self, living: &mut Living, own: &mut Own) {
        let mut document =
            serde_json::from_str(pick(&CONFIGURATIONS, self.configuration)).expect("it is JSON");
        for edit in self.edits.iter().take(MOST) {
            edit.apply(&mut document);
        }
        let configuration = cni::document(document.to_string().into()).expect("it is JSON");
        let env = self.environment();
        // As the allocator's own program does it.
        let conf = match NetworkConfig::parse(&configuration, env.command) {
            Ok(conf) => conf,
            Err(error) => return check_error(&error),
        };
        let (call, valid) = (env.call(&configuration), &conf.valid_attachments);
        let config = Config::read(call.config, call.args);
        let directory = config.as_ref().map(|config| config.directory.clone()).unwrap_or_default();
        let (id, ifname) = pick(OWNERS, self.owner);
        let owner = Attachment { container_id: id.into(), ifname: ifname.into() };
        let verb = pick(VERBS, self.verb);
        let before = reserved(&directory);
        let answer = match verb {
            "ADD" => Ipam::InProcess.add(&call).map(Some),
            "DEL" => Ipam::InProcess.del(&call).map(|()| None),
            "CHECK" => Ipam::InProcess.check(&call).map(|()| None),
            "STATUS" => Ipam::InProcess.status(&call).map(|()| None),
            _ => Ipam::InProcess.gc(&call, valid).map(|()| None),
        };
        if let Ok(config) = &config {
            own.note(config);
        }
        // By its real path: others may lead to it.
        let directory = fs::canonicalize(&directory).unwrap_or(directory);
        let mut of_directory = living.clone();
        of_directory.retain(|path, _| path.starts_with(&directory));
        match answer {
            Ok(Some(allocation)) => {
                for ip in allocation.ips {
                    let path = directory.join(ip.address.addr().to_string());
                    assert!(!before.contains_key(&path), "{path:?} was taken: {before:?}");
                    assert_eq!(living.insert(path.clone(), owner.clone()), None, "{path:?} is given twice");
                }
            }
            Ok(None) if verb == "DEL" => {
                living.retain(|path, holder| !path.starts_with(&directory) || *holder != owner)
            }
            Ok(None) if verb == "GC" => {
                living.retain(|path, holder| !path.starts_with(&directory) || valid.contains(holder));
            }
            Ok(None) => {}
            Err(error) => {
                assert!(
                    verb != "CHECK"
                        || !matches!(error, ipam::Error::NotFound { .. })
                        || !of_directory.values().any(|o| *o == owner),
                    "CHECK does not find {owner:?}: {of_directory:?}"
                );
                if matches!(verb, "ADD" | "CHECK" | "STATUS") {
                    assert_eq!(reserved(&directory), before, "{verb} failed and changed something: {error}");
                }
                check_error(&error.into());
            }
        }
    }

    fn environment(&self) -> Environment {
        let (id, ifname) = pick(OWNERS, self.owner);
        let variable = |name: &str| {
            let value = match name {
                "CNI_COMMAND" => pick(VERBS, self.verb),
                "CNI_CONTAINERID" => id,
                "CNI_NETNS" => "/var/run/netns/pod",
                "CNI_IFNAME" => ifname,
                "CNI_ARGS" => match &self.args {
                    Args::None => "",
                    Args::Known(number) => pick(ARGS, *number),
                    Args::Text(text) => text,
                },
                "CNI_PATH" => "/opt/cni/bin",
                _ => "",
            };
            Some(value.to_owned())
        };
        Environment::read(variable).ok().flatten().expect("the variables are good")
    }
}

/// The reservations of a directory that say whose they are: an empty file is the rest of a crash.
fn reserved(directory: &Path) -> BTreeMap<PathBuf, Thing> {
    let directory = fs::canonicalize(directory).unwrap_or_default();
    let mut found = everything(&directory);
    found.retain(|path, thing| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let says = matches!(thing, Thing::File(content) if !content.is_empty());
        says && name.parse::<std::net::IpAddr>().is_ok()
    });
    found
}

/// Where calls may write.
#[derive(Default)]
struct Own {
    /// The networks' directories, and those of their owners' names beside them.
    directories: BTreeSet<PathBuf>,
    /// Their parents, which may be made; a path with `..` in it has more of them.
    parents: BTreeSet<PathBuf>,
}

impl Own {
    fn note(&mut self, config: &Config) {
        let name = config.directory.file_name().expect("a network has a name");
        let data = config.directory.parent().expect("a network's directory has a parent");
        let owners = data.join(".owners").join(name);
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        for directory in [config.directory.as_path(), owners.as_path()] {
            let here = Path::new("/").join(directory);
            self.parents.extend(here.ancestors().map(real));
            self.directories.insert(real(&here));
        }
    }
}
