use std::fmt::Write;

use sha1::{Digest, Sha1};

/// The version of the mapping in Translations' names.
const VERSION: &str = "4";

/// The longest name of a custom resource, in bytes (RFC 1123 subdomain, as Kubernetes checks it).
pub const MAX_NAME: usize = 253;

/// A name that Kubernetes does not take for a custom resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no Translation can be named \"{0}\": Kubernetes takes lower-case letters, digits, \"-\" and \".\", and letters or \
     digits at both ends of each part"
)]
pub struct InvalidName(String);

/// The name of the Translation of this kind and key name: `kind.4.name`, as a name of Kubernetes.
///
/// # Errors
/// The result is none, because the key has characters that no name of an object has.
pub fn translation_name(kind: &str, name: &str) -> Result<String, InvalidName> {
    let name = make_dns(&format!("{}.{VERSION}.{name}", kind.to_lowercase()));
    if is_subdomain(&name) { Ok(name) } else { Err(InvalidName(name)) }
}

/// The text as a name of Kubernetes: "/" becomes "-" and letters lower-case. If that changes anything, "-" and the SHA-1
/// of the text follow, so that different texts have different names. What is too long is cut before the hash.
pub fn make_dns(text: &str) -> String {
    let name = text.replace('/', "-").to_lowercase();
    if name == text && name.len() <= MAX_NAME {
        return name;
    }
    let hash = sha1_hex(text.as_bytes());
    let space = MAX_NAME - hash.len() - 1;
    if name.len() <= space {
        return format!("{name}-{hash}");
    }
    let end = (0..=space).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    let head = name.get(..end).unwrap_or_default().trim_end_matches(['-', '.']);
    format!("{head}-{hash}")
}

/// The SHA-1 in lower-case hexadecimal.
pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::with_capacity(40), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn is_subdomain(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    name.len() <= MAX_NAME
        && name.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_the_legacy_project() {
        assert_eq!(make_dns("foo.bar"), "foo.bar");
        assert_eq!(make_dns("Foo.Bar"), "foo.bar-84625620bc9d2c2a323e78a21663b3b1efe9c35f");
        assert_eq!(make_dns("foo/bar"), "foo-bar-17cdeaefa5cc6022481c824e15a47a7726f593dd");
        assert_eq!(translation_name("Hoge-Fuga", "bar").unwrap(), "hoge-fuga.4.bar");
    }

    #[test]
    fn a_name_that_kubernetes_does_not_take_is_refused() {
        for name in ["web_0", "-web", "web-", "web..0", "", "wéb", "web 0", "a:b"] {
            assert!(translation_name("Pod", name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_of_any_length_is_one_of_kubernetes(
            parts in proptest::collection::vec("[a-zA-Z0-9]([-a-z0-9]{0,20}[a-zA-Z0-9])?([.][a-z0-9]{1,9}){0,3}", 1..30)
        ) {
            let key = parts.join("/");
            let name = translation_name("Pod", &key);
            prop_assert!(name.is_ok(), "{:?}", name);
        }

        #[test]
        fn long_names_differ(tail in "[a-z]{1,10}", other in "[a-z]{1,10}") {
            let head = "x".repeat(400);
            prop_assume!(tail != other);
            prop_assert_ne!(make_dns(&format!("{head}{tail}")), make_dns(&format!("{head}{other}")));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = translation_name("Pod", &text.repeat(20));
        }
    }
}
