//! The policies of files, directories and standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use objects::PolicyManifests;

/// So many bytes of policies are sent to an agent at most: gRPC takes 4 MiB.
const LARGEST: usize = 3 << 20;

/// So many bytes of a file are read at most.
const LARGEST_FILE: u64 = 64 << 20;

/// The files of a directory that are read.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// What stands for standard input.
const STDIN: &str = "-";

/// Reads the policies of files, of the files of directories, and of standard input (`-`), each as a document of its own.
///
/// # Errors
/// One cannot be read, or has something else than Kubernetes objects: named, with the line. There is no policy, or too many.
pub(super) fn policies(paths: &[PathBuf], namespace: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut others = 0;
    for path in paths {
        for (name, text) in texts(path)? {
            let (policies, passed_over) =
                PolicyManifests::documents(&text, namespace).map_err(|error| anyhow!("{name}: {error}"))?;
            found.extend(policies);
            others += passed_over;
        }
    }
    if found.is_empty() && !paths.is_empty() {
        bail!(
            "there is no NetworkPolicy and no ClusterNetworkPolicy in it ({others} other objects): name files that have some \
             with -f"
        );
    }
    let size: usize = found.iter().map(String::len).sum();
    if size > LARGEST {
        bail!(
            "its {} policies have {size} bytes, the limit is {LARGEST}: preview fewer at a time",
            found.len()
        );
    }
    Ok(found)
}

/// One list of all of them, to be read from standard input.
pub(super) fn list(policies: &[String]) -> String {
    format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}]}}"#, policies.join(", "))
}

/// The texts of a file or directory, each with its name.
fn texts(path: &Path) -> Result<Vec<(String, String)>> {
    if path == Path::new(STDIN) {
        return Ok(vec![("standard input".to_owned(), read("standard input", io::stdin().lock())?)]);
    }
    let name = |path: &Path| path.display().to_string();
    let open = |path: &Path| {
        let file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok((name(path), read(&name(path), file)?))
    };
    if !path.is_dir() {
        return Ok(vec![open(path)?]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("cannot read the directory {}", path.display()))?;
    let is_manifest = |path: &PathBuf| {
        let known = path.extension().is_some_and(|own| EXTENSIONS.iter().any(|known| own == *known));
        known && path.is_file()
    };
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).filter(is_manifest).collect();
    files.sort();
    files.iter().map(|path| open(path)).collect()
}

fn read(name: &str, from: impl Read) -> Result<String> {
    let mut text = String::new();
    let read = from.take(LARGEST_FILE + 1).read_to_string(&mut text);
    let bytes = read.with_context(|| format!("cannot read {name}"))?;
    if bytes as u64 > LARGEST_FILE {
        bail!("{name} has more than {LARGEST_FILE} bytes: it cannot be a file of policies");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> String {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\nspec: {{podSelector: {{}}}}\n"
        )
    }

    #[test]
    fn files_and_the_manifests_of_directories_are_read_and_become_one_list() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("b.yaml"), policy("b")).unwrap();
        fs::write(
            path("a.yml"),
            format!("{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n", policy("a")),
        )
        .unwrap();
        fs::write(path("notes.txt"), "no manifest").unwrap();
        fs::create_dir(path("deeper.yaml")).unwrap();
        fs::write(path("deeper.yaml").join("c.yaml"), policy("c")).unwrap();
        let found = policies(&[directory.path().to_owned()], "shop").unwrap();
        assert!(found.len() == 2 && found[0].contains("\"a\"") && found[1].contains("\"b\""), "{found:?}");
        let text = list(&found);
        let again = PolicyManifests::read(&text, "default").unwrap();
        assert_eq!(again.policies.len(), 2);
        assert!(again.policies.iter().all(|policy| policy.key.namespace() == Some("shop")), "{text}");
        assert_eq!(policies(&[], "shop").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("bad.yaml"), "# one\n---\na: [1\n").unwrap();
        fs::write(path("other.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n").unwrap();
        fs::write(path("binary.yaml"), b"\xff\xfe").unwrap();
        for (name, want) in [
            ("bad.yaml", "bad.yaml: the document in line 2: "),
            ("other.yaml", "(1 other objects)"),
            ("binary.yaml", "cannot read"),
            ("missing.yaml", "cannot open"),
        ] {
            let error = format!("{:#}", policies(&[path(name)], "default").unwrap_err());
            assert!(error.contains(want), "{want} in {error}");
        }
    }
}
