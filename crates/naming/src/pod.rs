use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What names a Pod in a cluster: its namespace and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The Pod's name, unique in its namespace.
    pub name: String,
}

impl PodKey {
    /// A key of the two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The text is not `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" does not name a Pod: write namespace/name")]
pub struct ParsePodKeyError(String);

impl FromStr for PodKey {
    type Err = ParsePodKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(ParsePodKeyError(text.to_owned())),
        }
    }
}
