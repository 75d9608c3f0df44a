//! Names of Pods and Services on the command line.

use std::fmt;
use std::str::FromStr;

use clap::Args;

/// An object of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("a namespace and a name are expected, for example default/web"),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whose objects to show, as kubectl has it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Namespaces {
    /// Only what is of this namespace [default: all].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// What is of any namespace, also with --namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

impl Namespaces {
    /// The one; `None`: all of them.
    pub(crate) fn one(&self) -> Option<String> {
        self.namespace.clone().filter(|_| !self.all_namespaces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_parts() {
        assert_eq!("kube-system/kube-dns".parse::<Name>().unwrap().to_string(), "kube-system/kube-dns");
        for bad in ["", "web", "/web", "default/", "a/b/c"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
