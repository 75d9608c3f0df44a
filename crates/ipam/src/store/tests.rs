mod one_by_one;
mod steps;

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::mem;

use proptest::prelude::*;

use super::files::SPARE;
use super::*;
use steps::{OWNERS, Step, steps};

/// A network's directory, and what others do to it.
struct Network {
    _data: tempfile::TempDir,
    directory: PathBuf,
    owners: PathBuf,
}

fn owner(n: usize) -> Attachment {
    // Some share their container; the last has no place in the index.
    let id = ["a", "b", "b", "c", "d e"][n];
    let ifname = ["eth0", "eth0", "eth1", "eth0", "eth0"][n];
    Attachment { container_id: id.into(), ifname: ifname.into() }
}

fn address(n: usize) -> IpAddr {
    let n16 = u16::try_from(n).unwrap();
    let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n16]);
    if n.is_multiple_of(2) { IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()]) } else { v6 }
}

impl Network {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (directory, owners) = (data.path().join("net"), data.path().join(".owners/net"));
        Self { _data: data, directory, owners }
    }

    fn store(&self) -> Store {
        Store::open(&self.directory).unwrap()
    }

    fn write(&self, name: &str, content: &str) {
        let file = File::options().write(true).create_new(true).open(self.directory.join(name));
        let _ = file.and_then(|mut file| file.write_all(content.as_bytes()));
    }

    /// Every file that has this content: what the reference's walk finds.
    fn walk(&self, content: &str) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for directory in [self.directory.clone(), self.directory.join("sub")] {
            for entry in fs::read_dir(directory).into_iter().flatten().map(|e| e.unwrap().path()) {
                let is_address = entry.file_name().unwrap().to_str().unwrap().parse::<IpAddr>().is_ok();
                if is_address && fs::read(&entry).unwrap().trim_ascii() == content.as_bytes() {
                    found.insert(entry.strip_prefix(&self.directory).unwrap().to_owned());
                }
            }
        }
        found
    }

    fn reservations(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().map(|e| e.unwrap().path());
        let is_address =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<IpAddr>().is_ok();
        let mut found: Vec<PathBuf> = entries.filter(is_address).collect();
        found.sort();
        found
    }

    fn check_held(&self, content: &str) -> Result<(), TestCaseError> {
        let held = self.store().held(content).unwrap();
        let found: BTreeSet<PathBuf> = held.into_iter().map(|r| r.name).collect();
        prop_assert_eq!(found, self.walk(content), "who holds what: {:?}", content);
        Ok(())
    }

    fn step(&self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Add(n, addresses) => {
                let (owner, mut store) = (owner(*n), self.store());
                let held = store.held(&key(&owner)).unwrap();
                let pending = store.prepare(&owner).unwrap();
                let mut taken: Vec<IpAddr> = addresses.iter().map(|a| address(*a)).collect();
                taken.retain(|address| pending.claim(*address).unwrap());
                drop(pending);
                if taken.len() > 1 { store.note(&owner, &held, &taken) } else { store.undo(&taken) }
            }
            Step::Del(n) => {
                let mut store = self.store();
                let held = store.held(&key(&owner(*n))).unwrap();
                store.release(&held).unwrap();
            }
            Step::Read(n) => {
                self.check_held(&key(&owner(*n)))?;
                self.check_held(&owner(*n).container_id)?;
            }
            Step::Gc(n) => {
                self.store().retain(|_, r| !r.is_empty() && r.owner() != key(&owner(*n)).as_bytes()).unwrap();
            }
            Step::Restore(n, a) => {
                crate::reserve(&self.directory, &owner(*n), address(*a)).unwrap();
            }
            Step::ForeignAdd(n, a) => self.write(&address(*a).to_string(), &key(&owner(*n))),
            Step::ForeignDel(n) => {
                for name in self.walk(&key(&owner(*n))) {
                    fs::remove_file(self.directory.join(name)).unwrap();
                }
            }
            Step::ForeignOld(n, a) => self.write(&address(*a).to_string(), &owner(*n).container_id),
            Step::ForeignCrash(a) => self.write(&address(*a).to_string(), ""),
            Step::Torn(n, a) => {
                let key = key(&owner(*n));
                self.write(&address(*a).to_string(), &key[..key.len() - 2]);
            }
            Step::CrashInAdd(n, a, at) => {
                let (owner, mut store) = (owner(*n), self.store());
                let held = store.held(&key(&owner)).unwrap();
                let pending = store.prepare(&owner).unwrap();
                let claimed = *at > 0 && pending.claim(address(*a)).unwrap();
                if let (true, 2.., Some(index)) = (claimed, at, &store.index) {
                    let mut names: Vec<_> = held.iter().map(|r| r.name.display().to_string()).collect();
                    names.push(address(*a).to_string());
                    index.put(key(&owner).as_bytes(), &names);
                }
                mem::forget(pending);
            }
            Step::CrashInDel(pick, put) => {
                let (mut store, all) = (self.store(), self.reservations());
                if !all.is_empty() {
                    let path = pick.get(&all);
                    let content = fs::read_to_string(path).unwrap();
                    store.held(content.trim()).unwrap();
                    store.directory.remove(path.file_name().unwrap().as_ref()).unwrap();
                    if let (true, Some(index)) = (put, &store.index) {
                        index.put(content.trim().as_bytes(), &[]);
                    }
                }
            }
            Step::IndexLost => {
                let _ = fs::remove_dir_all(&self.owners);
            }
            Step::IndexCut(length) => {
                let index = File::options().write(true).open(self.owners.join("index"));
                let _ = index.map(|index| index.set_len(*length).unwrap());
            }
            Step::IndexWrong(n, a) => {
                let Attachment { container_id, ifname } = owner(*n);
                if self.owners.join("index").exists() {
                    let page = page::replace(
                        &[0; 4096],
                        format!("{container_id} {ifname}").as_bytes(),
                        &address(*a).to_string(),
                    );
                    fs::write(self.owners.join("index"), page.unwrap()).unwrap();
                }
            }
            Step::SpareLost => {
                let _ = fs::remove_file(self.owners.join(SPARE));
            }
            Step::SpareShared(pick) => {
                let all = self.reservations();
                if !all.is_empty() {
                    let _ = fs::hard_link(pick.get(&all), self.owners.join(SPARE));
                }
            }
            Step::FormerLink(n) => {
                let all = self.reservations();
                if let (Some(first), true) = (all.first(), self.owners.exists()) {
                    let _ = fs::hard_link(first, self.owners.join(format!("{n} eth0 10.0.0.2")));
                }
            }
            Step::Touch(network, index) => {
                let now = FileTimes::new().set_modified(SystemTime::now());
                for (touched, path) in [(network, &self.directory), (index, &self.owners.join("index"))] {
                    if *touched && path.exists() {
                        File::open(path).unwrap().set_times(now).unwrap();
                    }
                }
            }
            Step::Subdirectory(n, a) => {
                fs::create_dir_all(self.directory.join("sub")).unwrap();
                self.write(&format!("sub/{}", address(*a)), &key(&owner(*n)));
            }
            Step::NoSubdirectory => {
                let _ = fs::remove_dir_all(self.directory.join("sub"));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever changed what before: what an owner holds is what reading everything says.
    #[test]
    fn who_holds_what_is_what_the_files_say(steps in steps()) {
        let network = Network::new();
        for step in &steps {
            network.step(step)?;
        }
        for n in 0..OWNERS {
            network.step(&Step::Read(n))?;
        }
    }
}
