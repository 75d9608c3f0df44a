//! The environment variables of a call.

use crate::call::Call;
use crate::error::{Error, Problems, code};
use crate::json::Document;

/// `CNI_COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container to the network.
    Add,
    /// Delete the attachment.
    Del,
    /// Compare the attachment with the result of its ADD.
    Check,
    /// Tell whether ADD would work.
    Status,
    /// Release what belongs to no valid attachment.
    Gc,
    /// List the supported versions.
    Version,
}

/// The variables, checked as far as the command needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; never empty.
    pub netns: Option<String>,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// `CNI_PATH`.
    pub path: String,
    /// `CNI_NETNS_OVERRIDE`: the container's namespace may be the plugin's own.
    pub netns_override: bool,
}

impl Command {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }

    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }

    /// Whether the call is about one attachment.
    pub fn has_attachment(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }
}

impl Environment {
    /// Reads the variables with `get`; `None` without `CNI_COMMAND`: this is no call of a plugin.
    ///
    /// # Errors
    /// Code 4 with every variable that is missing or wrong.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let get = |name: &str| get(name).unwrap_or_default();
        let command = get("CNI_COMMAND");
        if command.is_empty() {
            return Ok(None);
        }
        let Some(command) = Command::parse(&command) else {
            return Err(Error::new(code::ENVIRONMENT, format!("unknown CNI_COMMAND: {command}")));
        };
        let mut problems = Problems::default();
        let missing: Vec<&str> =
            command.needs().iter().copied().filter(|name| get(name).is_empty()).collect();
        if !missing.is_empty() {
            let list = missing.join(",");
            problems.add(code::ENVIRONMENT, format!("required env variables [{list}] missing"));
        }
        let (container_id, ifname) = (get("CNI_CONTAINERID"), get("CNI_IFNAME"));
        if command.has_attachment() {
            if !container_id.is_empty() && !is_identifier(&container_id) {
                problems.add(
                    code::ENVIRONMENT,
                    format!("CNI_CONTAINERID: invalid characters in \"{container_id}\": {IDENTIFIER}"),
                );
            }
            if let Some(what) =
                Some(&ifname).filter(|name| !name.is_empty()).and_then(|name| bad_ifname(name))
            {
                problems.add(code::ENVIRONMENT, format!("CNI_IFNAME: \"{ifname}\" {what}"));
            }
        }
        problems.into_result()?;
        Ok(Some(Self {
            command,
            container_id,
            netns: Some(get("CNI_NETNS")).filter(|path| !path.is_empty()),
            ifname,
            args: get("CNI_ARGS"),
            path: get("CNI_PATH"),
            netns_override: matches!(get("CNI_NETNS_OVERRIDE").to_lowercase().as_str(), "1" | "true"),
        }))
    }

    /// The same call with this configuration, for another plugin.
    pub fn call<'a>(&'a self, config: &'a Document) -> Call<'a> {
        Call {
            container_id: &self.container_id,
            netns: self.netns.as_deref(),
            ifname: &self.ifname,
            args: &self.args,
            path: &self.path,
            config,
        }
    }
}

/// What [`is_identifier`] wants.
pub(crate) const IDENTIFIER: &str = "a letter or digit, then letters, digits, \"_\", \".\" and \"-\"";

/// Whether this is a container id or a network's name.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn bad_ifname(name: &str) -> Option<&'static str> {
    if name.len() > 15 {
        return Some("is too long: at most 15 bytes");
    }
    if name == "." || name == ".." || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return Some("is no interface name: no \".\", \"..\", \"/\", \":\" or white space");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &str) -> Result<Option<Environment>, Error> {
        let pairs: Vec<(&str, &str)> = variables.split('|').filter_map(|v| v.split_once('=')).collect();
        Environment::read(|name| {
            let short = name.trim_start_matches("CNI_");
            pairs.iter().find(|(n, _)| *n == short).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn what_each_command_needs() {
        assert_eq!(read(""), Ok(None));
        for good in [
            "COMMAND=VERSION",
            "COMMAND=STATUS",
            "COMMAND=GC|PATH=/x",
            "COMMAND=DEL|CONTAINERID=a|IFNAME=eth0",
            "COMMAND=ADD|CONTAINERID=a.b_c-9|IFNAME=0123456789abcde|NETNS=/n",
        ] {
            assert!(read(good).unwrap().is_some(), "{good}");
        }
        let got = read("COMMAND=DEL|CONTAINERID=a|IFNAME=eth0|NETNS=|NETNS_OVERRIDE=True").unwrap().unwrap();
        assert_eq!((got.netns, got.netns_override), (None, true));
    }

    #[test]
    fn refusals() {
        for (variables, want) in [
            ("COMMAND=add", "unknown CNI_COMMAND: add"),
            ("COMMAND=ADD", "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"),
            ("COMMAND=DEL", "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing"),
            ("COMMAND=GC", "required env variables [CNI_PATH] missing"),
            ("COMMAND=DEL|CONTAINERID=-a|IFNAME=eth0", "CNI_CONTAINERID: invalid characters in \"-a\""),
            ("COMMAND=DEL|CONTAINERID=a/b|IFNAME=eth0", "CNI_CONTAINERID: invalid"),
            (
                "COMMAND=DEL|CONTAINERID=a|IFNAME=0123456789abcdef",
                "CNI_IFNAME: \"0123456789abcdef\" is too long",
            ),
            ("COMMAND=DEL|CONTAINERID=a|IFNAME=..", "is no interface name"),
            ("COMMAND=DEL|CONTAINERID=a|IFNAME=a b", "is no interface name"),
            ("COMMAND=DEL|CONTAINERID=a|IFNAME=a:b", "is no interface name"),
            ("COMMAND=CHECK|CONTAINERID=!|IFNAME=a/b", "[CNI_NETNS] missing; CNI_CONTAINERID: invalid"),
        ] {
            let error = read(variables).unwrap_err();
            assert_eq!(error.code, 4, "{variables}");
            assert!(error.msg.contains(want), "{variables}: {error}");
        }
    }
}
