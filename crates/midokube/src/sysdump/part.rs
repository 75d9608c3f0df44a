//! What is in the archive of one node.

use serde::{Deserialize, Serialize};

use super::redact;

/// Bytes of a file: what is more is cut off at the end.
pub(super) const LARGEST: usize = 2 << 20;

/// What a node has of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Parts {
    pub(super) files: Vec<File>,
    pub(super) missing: Vec<Missing>,
}

/// A file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// A file that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    pub(super) name: String,
    pub(super) why: String,
}

impl Parts {
    /// Adds a file without its secrets, or why there is none.
    pub(super) fn add(&mut self, name: &str, text: anyhow::Result<String>) {
        match text {
            Ok(text) => self.files.push(File { name: name.to_owned(), text: bounded(redact::text(&text)) }),
            Err(error) => {
                let why = redact::text(&format!("{error:#}"));
                self.missing.push(Missing { name: name.to_owned(), why });
            }
        }
    }
}

/// As much of a text as a file may have.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > LARGEST {
        let end = (0..=LARGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push_str("\n[cut off here]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_bounded_and_without_secrets() {
        let mut parts = Parts::default();
        parts.add("a", Ok("ä".repeat(LARGEST)));
        parts.add("b", Ok("token=x".into()));
        parts.add("c", Err(anyhow::anyhow!("refused: password=x")));
        assert!(
            parts.files[0].text.len() < LARGEST + 20 && parts.files[0].text.ends_with("[cut off here]\n")
        );
        assert_eq!(parts.files[1].text, "token=[redacted]");
        assert_eq!(parts.missing[0].why, "refused: password=[redacted]");
    }
}
