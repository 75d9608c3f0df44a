//! Links between the documents of the repository lead somewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use e2e::documents::{anchors, repository};

/// The documents: in these directories of the repository.
const DIRECTORIES: [&str; 4] = [".", "docs", "deploy", "tests/cluster"];

fn documents() -> Vec<PathBuf> {
    let entries = DIRECTORIES
        .iter()
        .flat_map(|directory| fs::read_dir(repository().join(directory)).unwrap().flatten());
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// What the links of a text lead to: `[...](this)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.starts_with("http")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{} links to {link}, which is not there", document.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&target).unwrap());
                assert!(found.iter().any(|one| one == anchor), "{}: {link}: {found:?}", document.display());
            }
        }
    }
}
