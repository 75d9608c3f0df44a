//! `CNI_ARGS`: pairs of key and value that a runtime passes beside the configuration.

use crate::error::{Error, code};

/// The keys that the plugins of this project know.
const KNOWN: [&str; 7] = [
    "IgnoreUnknown",
    "IP",
    "MAC",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_INFRA_CONTAINER_ID",
    "K8S_POD_UID",
];

/// The pairs of `CNI_ARGS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Reads `KEY=value;KEY=value`.
    ///
    /// # Errors
    /// Code 4 for a pair without exactly one `=`, and for an unknown key unless
    /// `IgnoreUnknown` is `1` or `true`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut pairs = Vec::new();
        for pair in text.split(';') {
            match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => pairs.push((key.to_owned(), value.to_owned())),
                _ => {
                    let what = format!("CNI_ARGS: invalid pair \"{pair}\": write KEY=value;KEY=value");
                    return Err(Error::new(code::ENVIRONMENT, what));
                }
            }
        }
        let args = Self(pairs);
        let unknown: Vec<&str> =
            args.0.iter().map(|(key, _)| key.as_str()).filter(|key| !KNOWN.contains(key)).collect();
        if !args.ignores_unknown()? && !unknown.is_empty() {
            let list = unknown.join(", ");
            let what = format!("CNI_ARGS: unknown args {list}: leave them out or set IgnoreUnknown=1");
            return Err(Error::new(code::ENVIRONMENT, what));
        }
        Ok(args)
    }

    /// The value of a key; the last one counts, an empty one is none.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    fn ignores_unknown(&self) -> Result<bool, Error> {
        match self.get("IgnoreUnknown").map(str::to_lowercase).as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(Error::new(code::ENVIRONMENT, "CNI_ARGS: IgnoreUnknown: write 1 or 0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let args = Args::parse("IgnoreUnknown=True;FOO=;K8S_POD_NAME=web-0;IP=10.0.0.1;IP=10.0.0.2").unwrap();
        assert_eq!(args.get("K8S_POD_NAME"), Some("web-0"));
        assert_eq!(args.get("IP"), Some("10.0.0.2"));
        assert_eq!(args.get("FOO"), None);
        assert_eq!(Args::parse("").unwrap().get("IP"), None);
    }

    #[test]
    fn refusals() {
        for (text, want) in [
            ("IP", "invalid pair \"IP\""),
            ("IP=1=2", "invalid pair \"IP=1=2\""),
            ("IP=10.0.0.1;", "invalid pair \"\""),
            ("FOO=1;IP=10.0.0.1;BAR=2", "unknown args FOO, BAR"),
            ("FOO=1;IgnoreUnknown=0", "unknown args FOO"),
            ("IgnoreUnknown=maybe", "write 1 or 0"),
        ] {
            let error = Args::parse(text).unwrap_err();
            assert_eq!(error.code, 4);
            assert!(error.to_string().contains(want), "{text}: {error}");
        }
    }
}
