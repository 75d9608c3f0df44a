//! The sources depend on each other in one direction: no files of a crate import each other in a circle, and nothing but
//! `main` knows a program's command line.
//!
//! A file depends on the files that define what it names; what a module merely re-exports (`pub use`) is traced to where
//! it is defined. Tests may import what they like.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// A path of names, from the crate's root.
type Names = Vec<String>;

/// One file of a crate.
struct Module {
    file: PathBuf,
    /// The paths that it imports or names, from the crate's root.
    named: BTreeSet<Names>,
    /// What it re-exports: the name here, and where it is from. A `*` stands for all.
    exports: Vec<(String, Names)>,
}

/// Where a library's crate has its programs.
const PROGRAMS: &str = "bin";

type Modules = BTreeMap<Names, Module>;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every directory of sources.
fn crates() -> Vec<PathBuf> {
    let root = repository();
    let libraries = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> =
        libraries.chain([root.join("bench"), root.join("tests")]).map(|path| path.join("src")).collect();
    all.retain(|path| path.is_dir());
    let programs = all.iter().flat_map(|source| fs::read_dir(source.join(PROGRAMS)).into_iter().flatten());
    let programs: Vec<PathBuf> = programs.map(|entry| entry.unwrap().path()).collect();
    all.extend(programs);
    all
}

fn modules(source: &Path) -> Modules {
    let mut modules = Modules::new();
    let mut directories = vec![source.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Programs are crates of their own.
                if path != source.join(PROGRAMS) {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let names = names_of(path.strip_prefix(source).unwrap());
                if !names.iter().any(|name| name == "tests") {
                    modules.insert(names.clone(), Module::read(&path, &names));
                }
            }
        }
    }
    modules
}

/// `a/b.rs` and `a/b/mod.rs` are `a::b`; a program's root is apart from the library's.
fn names_of(file: &Path) -> Names {
    let mut names: Names =
        file.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if names.last().is_some_and(|last| last == "mod") || names == ["lib"] {
        names.pop();
    }
    names
}

impl Module {
    fn read(file: &Path, names: &Names) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let at = if names == &["main"] { Names::new() } else { names.clone() };
        let mut reader = Reader { at, named: BTreeSet::new(), exports: Vec::new() };
        reader.visit_file(&syntax);
        Self { file: file.to_owned(), named: reader.named, exports: reader.exports }
    }
}

struct Reader {
    at: Names,
    named: BTreeSet<Names>,
    exports: Vec<(String, Names)>,
}

impl Reader {
    /// The path from the crate's root; `None` for one of another crate.
    fn resolve_from_root(&self, path: &[String]) -> Option<Names> {
        let mut at = self.at.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop();
            }
            _ => return None,
        }
        rest = &rest[1..];
        while rest.first().is_some_and(|name| name == "super") {
            at.pop();
            rest = &rest[1..];
        }
        at.extend(rest.iter().filter(|name| *name != "self").cloned());
        Some(at)
    }

    fn import(&mut self, tree: &UseTree, before: &[String], exported: bool) {
        let mut path = before.to_vec();
        let (name, here) = match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.import(&inner.tree, &path, exported);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, before, exported));
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => ("*".to_owned(), "*".to_owned()),
        };
        if name != "*" {
            path.push(name);
        }
        // A module of this one is imported without `self::` in front, too.
        let local = || exported.then(|| self.at.iter().chain(&path).cloned().collect());
        if let Some(path) = self.resolve_from_root(&path).or_else(local) {
            if exported {
                self.exports.push((here, path));
            } else {
                self.named.insert(path);
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    // `pub(super)` names a module and depends on nothing of it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(module) => &module.attrs,
            Item::Impl(block) => &block.attrs,
            Item::Fn(function) => &function.attrs,
            Item::Use(import) => {
                if !is_test(&import.attrs) {
                    let exported = !matches!(import.vis, Visibility::Inherited);
                    self.import(&import.tree, &[], exported);
                }
                return;
            }
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.named.extend(self.resolve_from_root(&names));
        visit::visit_path(self, path);
    }
}

/// The file that defines what a path names.
fn definition(modules: &Modules, path: &[String], depth: usize) -> Option<Names> {
    assert!(depth < 16, "re-exports of {path:?} have no end");
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let Some((name, further)) = rest.split_first() else { return Some(module.to_vec()) };
    let exports = &modules[module].exports;
    for (exported, from) in exports {
        let mut target = from.clone();
        if exported == "*" {
            target.push(name.clone());
        } else if exported != name {
            continue;
        }
        target.extend(further.iter().cloned());
        let found = definition(modules, &target, depth + 1);
        if exported != "*" || found.as_ref().is_some_and(|found| found.len() > length) {
            return found;
        }
    }
    Some(module.to_vec())
}

fn dependencies(modules: &Modules) -> BTreeMap<&Names, BTreeSet<Names>> {
    let of = |(names, module): (_, &Module)| {
        let mut all: BTreeSet<Names> =
            module.named.iter().filter_map(|path| definition(modules, path, 0)).collect();
        all.remove(names);
        (names, all)
    };
    modules.iter().map(of).collect()
}

/// Whatever is left after all files that depend on nothing else of it are gone.
fn circle<'a>(dependencies: &BTreeMap<&'a Names, BTreeSet<Names>>) -> BTreeMap<&'a Names, BTreeSet<Names>> {
    let mut left = dependencies.clone();
    loop {
        let known: BTreeSet<Names> = left.keys().map(|names| (*names).clone()).collect();
        for all in left.values_mut() {
            all.retain(|names| known.contains(names));
        }
        // Neither what depends on none of the rest, nor what none of the rest depends on, is in a circle.
        let used: BTreeSet<Names> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|names, all| !all.is_empty() && used.contains(*names));
        if left.len() == before {
            return left;
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for source in crates() {
        let modules = modules(&source);
        for (names, on) in circle(&dependencies(&modules)) {
            let on: Vec<_> = on.iter().map(|names| names.join("::")).collect();
            found.push(format!("{} -> {}", modules[names].file.display(), on.join(", ")));
        }
    }
    assert!(found.is_empty(), "files that import each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn only_main_knows_the_command_line() {
    let mut programs = 0;
    for source in crates() {
        let modules = modules(&source);
        let cli = vec!["cli".to_owned()];
        programs += usize::from(modules.contains_key(&cli));
        // What runs the commands of the lab.
        let commands = ["main", "commands"];
        for (names, all) in dependencies(&modules) {
            let first = names.first().map(String::as_str).unwrap_or_default();
            let below = first == "cli" || names.len() == 1 && commands.contains(&first);
            assert!(
                below || !all.contains(&cli),
                "{} imports the command line",
                modules[names].file.display()
            );
        }
    }
    assert!(programs >= 3, "the agent's, midokube's and the lab's");
}

#[test]
fn circles_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; pub use a::A;");
    write("a.rs", "pub struct A; fn f() { crate::b::g() }");
    write("b.rs", "use crate::c::C; pub fn g() {}");
    write("c.rs", "use super::A; pub struct C;");
    let modules = modules(directory.path());
    let circle: Vec<String> = circle(&dependencies(&modules)).keys().map(|names| names.join("::")).collect();
    assert_eq!(circle, ["a", "b", "c"]);
    write("c.rs", "#[cfg(test)] mod tests { use super::super::A; } pub struct C;");
    let modules = self::modules(directory.path());
    assert!(self::circle(&dependencies(&modules)).is_empty());
}

/// Every package that a command of cargo would compile for the programs, with its features.
fn features(edges: &str, packages: &[&str]) -> BTreeSet<String> {
    let mut cargo = std::process::Command::new("cargo");
    cargo.args(["tree", "--locked", "--prefix", "none", "--format", "{p} [{f}]", "--edges", edges]);
    let output = cargo.args(packages).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// The words after a variable of the Makefile.
fn variable(name: &str) -> Vec<String> {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let line = makefile.lines().find_map(|line| line.strip_prefix(&format!("{name} = "))).unwrap();
    line.split_whitespace()
        .filter(|word| !["--release", "--locked"].contains(word))
        .map(str::to_owned)
        .collect()
}

/// Else all that has other features, and what depends on it, is compiled twice by `make test`.
#[test]
fn tests_and_programs_have_the_same_features() {
    let tested = variable("TESTED");
    let tested = features("normal,build,dev", &tested.iter().map(String::as_str).collect::<Vec<_>>());
    let programs = ["midonet-kube-node", "midokube", "midonet-kube-controllers", "lab", "bench"];
    let programs: Vec<&str> = programs.iter().flat_map(|name| ["-p", *name]).collect();
    let built = features("normal,build", &programs);
    let twice: Vec<_> = built.difference(&tested).collect();
    assert!(twice.is_empty(), "with other features in tests, or not in them at all: {twice:#?}");
}
