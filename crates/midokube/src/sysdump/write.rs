//! Putting what there is into the archive, with an index of it.

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::archive::{Archive, Refused};
use super::part::{Missing, Parts};
use crate::API_VERSION;

/// The directory that everything is in.
const DIRECTORY: &str = "midokube-sysdump";

/// Bytes that a node's name may take in a file's name.
const LONGEST: usize = 63;

/// What is left for the index.
const INDEX: u64 = 4 << 20;

/// The archive, and what became of each file.
pub(super) struct Writer<W: Write> {
    archive: Archive<W>,
    index: Index,
}

/// What is in the archive: its first thing to read, and its last to be written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    api_version: &'static str,
    kind: &'static str,
    /// Of the program that made it.
    midokube: &'static str,
    /// When: seconds since 1970.
    time: u64,
    files: Vec<Listed>,
    /// What is not in it, and why.
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    bytes: usize,
}

impl<W: Write> Writer<W> {
    /// An archive of at most so many bytes before compression, its index apart.
    pub(super) fn new(out: W, time: u64, most: u64) -> Self {
        let (files, missing) = (Vec::new(), Vec::new());
        let index = Index {
            api_version: API_VERSION,
            kind: "Sysdump",
            midokube: env!("CARGO_PKG_VERSION"),
            time,
            files,
            missing,
        };
        Self { archive: Archive::new(out, time, most.saturating_add(INDEX)), index }
    }

    /// Adds what is the whole cluster's; or a node's, in a directory of its name.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn add(&mut self, node: Option<&str>, parts: Parts) -> Result<()> {
        let directory = node.map_or_else(String::new, |node| format!("nodes/{}/", safe(node)));
        for file in parts.files {
            let name = format!("{directory}{}", file.name);
            match self.archive.add(&format!("{DIRECTORY}/{name}"), file.text.as_bytes()) {
                Ok(()) => self.index.files.push(Listed { name, bytes: file.text.len() }),
                Err(Refused::TooLarge) => {
                    self.lacks(name, "the archive is as large as it may be: --max-size".to_owned());
                }
                Err(Refused::Io(error)) => return Err(error).context("cannot write the archive"),
            }
        }
        for Missing { name, why } in parts.missing {
            self.lacks(format!("{directory}{name}"), why);
        }
        Ok(())
    }

    fn lacks(&mut self, name: String, why: String) {
        self.index.missing.push(Missing { name, why });
    }

    /// Writes the index and ends the archive. Gives what it was written to, its bytes before compression, and what is not
    /// in it.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub(super) fn finish(mut self) -> Result<(W, u64, Vec<Missing>)> {
        let index = serde_json::to_string_pretty(&self.index)? + "\n";
        match self.archive.add(&format!("{DIRECTORY}/index.json"), index.as_bytes()) {
            Ok(()) => {}
            Err(Refused::TooLarge) => {
                bail!("the archive has more files than its index has space for: ask fewer nodes")
            }
            Err(Refused::Io(error)) => return Err(error).context("cannot write the archive"),
        }
        let (bytes, out) = self.archive.finish().context("cannot write the archive")?;
        Ok((out, bytes, self.index.missing))
    }
}

/// A node's name as that of a directory: nothing leads out of it.
fn safe(node: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let plain: String = node.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let plain = plain.trim_matches(['.', '_']);
    let start = plain.len().saturating_sub(LONGEST);
    let end = plain.get(start..).unwrap_or_default();
    if end.is_empty() { "unnamed".to_owned() } else { end.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::part::File;
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for (name, want) in [
            ("node1.example", "node1.example"),
            ("/run/lab/node1/api", "run_lab_node1_api"),
            ("../../etc", "etc"),
            ("..", "unnamed"),
            ("", "unnamed"),
        ] {
            assert_eq!(safe(name), want);
        }
        assert_eq!(safe(&"n".repeat(253)).len(), LONGEST);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let file = |name: &str, size: usize| File { name: name.into(), text: "x".repeat(size) };
        let mut writer = Writer::new(Vec::new(), 0, 4096);
        let missing = vec![Missing { name: "log.txt".into(), why: "refused".into() }];
        let large = usize::try_from(INDEX).unwrap();
        writer
            .add(Some("a"), Parts { files: vec![file("small", 10), file("large", large + 4096)], missing })
            .unwrap();
        let (_, _, missing) = writer.finish().unwrap();
        let names: Vec<_> = missing.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["nodes/a/large", "nodes/a/log.txt"]);
    }
}
