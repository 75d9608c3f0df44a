//! What tests read of the repository's documents.

use std::path::PathBuf;

/// The repository.
///
/// # Panics
/// Never: this crate is in it.
pub fn repository() -> PathBuf {
    let parent = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.expect("the repository is above this crate").to_owned()
}

/// The anchors of a document's headings, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}
