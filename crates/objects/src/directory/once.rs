//! Manifests that are read once, for whoever compares or checks them without a cluster.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml_ng::Value;

use super::manifest::{Document, documents, objects};
use super::news::is_manifest;
use super::reader::As;
use super::workload::{Template, Workload};
use crate::kind::{Invalid, Key, Kind};
use crate::kinds::{ClusterNetworkPolicy, Namespace, NetworkPolicy};

/// Directories are in each other so often at most: a link may lead back.
const DEPTH: usize = 32;

/// Policies, and whom they are about, as manifests have them.
#[derive(Debug, Default)]
pub struct Manifests {
    /// NetworkPolicies.
    pub policies: BTreeMap<Key, Arc<NetworkPolicy>>,
    /// ClusterNetworkPolicies.
    pub cluster_policies: BTreeMap<Key, Arc<ClusterNetworkPolicy>>,
    /// Namespaces.
    pub namespaces: BTreeMap<Key, Arc<Namespace>>,
    /// Pods and what they are made from, by kind and name.
    pub workloads: BTreeMap<(&'static str, Key), Workload>,
    /// Objects that are there twice, and where: the first one counts.
    pub doubles: Vec<(String, String)>,
    /// Where each object is.
    places: BTreeMap<(&'static str, Key), Arc<str>>,
}

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}: {remedy}")]
pub struct ManifestError {
    /// A file or directory; if it is known, with the document and the line.
    place: String,
    problem: String,
    remedy: String,
}

/// As what an object is read.
enum Wanted {
    Policy(As),
    ClusterPolicy(As),
    Namespace(As),
    Workload(&'static Template),
}

impl Wanted {
    fn of(version: &str, kind: &str) -> Option<Self> {
        let policy = || As::of::<NetworkPolicy>(version, kind).map(Self::Policy);
        let cluster_policy = || As::of::<ClusterNetworkPolicy>(version, kind).map(Self::ClusterPolicy);
        let namespace = || As::of::<Namespace>(version, kind).map(Self::Namespace);
        let workload = || Template::of(version, kind).map(Self::Workload);
        policy().or_else(cluster_policy).or_else(namespace).or_else(workload)
    }
}

impl Manifests {
    /// Reads a file, or all manifests of a directory and of the directories in it, in the order of their names. Hidden ones
    /// and objects of other kinds are passed over.
    ///
    /// # Errors
    /// A file cannot be read, or an object in it is invalid.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let mut files = Vec::new();
        if path.is_dir() {
            list(path, DEPTH, &mut files)?;
        } else {
            files.push(path.to_owned());
        }
        let mut manifests = Self::default();
        for file in files {
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            for (index, document) in documents(&text).into_iter().enumerate() {
                let place = format!("{}: document {} (line {})", file.display(), index + 1, document.line);
                manifests.read_document(&document, place)?;
            }
        }
        Ok(manifests)
    }

    fn read_document(&mut self, document: &Document<'_>, place: String) -> Result<(), ManifestError> {
        let found = objects(document.text, Wanted::of).map_err(|problem| ManifestError {
            problem: in_file(document).unwrap_or(problem),
            place: place.clone(),
            remedy: "correct the file, or make manifests of it first (helm template, kubectl kustomize)"
                .into(),
        })?;
        let place: Arc<str> = place.into();
        for (wanted, value) in found {
            self.add(&wanted, &value, &place).map_err(|invalid| ManifestError {
                place: place.to_string(),
                problem: invalid.problem,
                remedy: invalid.remedy,
            })?;
        }
        Ok(())
    }

    fn add(&mut self, wanted: &Wanted, value: &Value, place: &Arc<str>) -> Result<(), Invalid> {
        match wanted {
            Wanted::Policy(how) => {
                let policy = self.read_one::<NetworkPolicy>(how, value, place)?;
                self.policies.extend(policy.map(|policy| (policy.key(), policy)));
            }
            Wanted::ClusterPolicy(how) => {
                let policy = self.read_one::<ClusterNetworkPolicy>(how, value, place)?;
                self.cluster_policies.extend(policy.map(|policy| (policy.key(), policy)));
            }
            Wanted::Namespace(how) => {
                let namespace = self.read_one::<Namespace>(how, value, place)?;
                self.namespaces.extend(namespace.map(|namespace| (namespace.key(), namespace)));
            }
            Wanted::Workload(template) => {
                let (key, workload) = template.read(value).map_err(unnamed)?;
                let workload = workload.map_err(|invalid| named(template.kind, &key, invalid))?;
                if self.is_first(template.kind, &key, place) {
                    self.workloads.insert((template.kind, key), workload);
                }
            }
        }
        Ok(())
    }

    /// Reads an object; `None`: it is there already.
    fn read_one<K: Kind>(
        &mut self,
        how: &As,
        value: &Value,
        place: &Arc<str>,
    ) -> Result<Option<Arc<K>>, Invalid> {
        let entry = how.entry::<K>(value).map_err(unnamed)?;
        let object = entry.object.map_err(|invalid| named(K::RESOURCE.kind, &entry.key, invalid))?;
        Ok(self.is_first(K::RESOURCE.kind, &entry.key, place).then(|| Arc::new(object)))
    }

    fn is_first(&mut self, kind: &'static str, key: &Key, place: &Arc<str>) -> bool {
        match self.places.entry((kind, key.clone())) {
            Entry::Vacant(places) => {
                places.insert(Arc::clone(place));
                true
            }
            Entry::Occupied(first) => {
                let problem = format!("it is in {} and in {place}: the first one counts", first.get());
                self.doubles.push((format!("{kind} {key}"), problem));
                false
            }
        }
    }
}

/// All manifests of a directory.
fn list(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ManifestError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(ManifestError {
            place: path.display().to_string(),
            problem: format!("directories are in each other more than {DEPTH} times"),
            remedy: "remove links that lead back to a directory that they are in".into(),
        });
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        names.push(entry.map_err(|error| unreadable(path, &error))?.file_name());
    }
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort_unstable();
    for name in names {
        let inner = path.join(&name);
        if inner.is_dir() {
            list(&inner, depth, files)?;
        } else if is_manifest(&name) {
            files.push(inner);
        }
    }
    Ok(())
}

/// What a parser says of a document, with the lines of the file that it is in.
fn in_file(document: &Document<'_>) -> Option<String> {
    let before = "\n".repeat(document.line - 1);
    objects(&format!("{before}{}", document.text), |_, _| None::<()>).err()
}

fn unreadable(path: &Path, error: &std::io::Error) -> ManifestError {
    ManifestError {
        place: path.display().to_string(),
        problem: format!("cannot read it: {error}"),
        remedy: "give a manifest, or a directory of manifests, that can be read".into(),
    }
}

fn unnamed(problem: String) -> Invalid {
    Invalid { problem, remedy: "give the object a name".into() }
}

fn named(kind: &str, key: &Key, invalid: Invalid) -> Invalid {
    Invalid { problem: format!("{kind} {key}: {}", invalid.problem), ..invalid }
}
