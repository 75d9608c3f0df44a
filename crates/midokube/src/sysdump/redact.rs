//! Takes secrets out of text: what looks like one goes, rather too much than too little. Pure.

/// What stands in a secret's place.
pub(super) const REDACTED: &str = "[redacted]";

/// Names of secrets have one of these in them.
const SECRET: [&str; 10] = [
    "token",
    "password",
    "passwd",
    "secret",
    "credential",
    "authorization",
    "apikey",
    "api-key",
    "private-key",
    "key-data",
];

/// What JSON Web Tokens begin with: `{"` in base64.
const JWT: &str = "eyJ";

/// The least length of such a token.
const JWT_LENGTH: usize = 20;

/// Whether something of this name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRET.iter().any(|secret| name.contains(secret))
}

/// A text without its secrets: values of names that are those of secrets, credentials in URLs, tokens, and private keys.
pub(super) fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        let begins = line.contains("PRIVATE KEY-----") && line.contains("-----BEGIN");
        let ends = line.contains("PRIVATE KEY-----") && line.contains("-----END");
        if begins || in_key {
            if begins {
                clean.push_str(REDACTED);
                clean.push('\n');
            }
            in_key = !ends;
            continue;
        }
        clean.push_str(&self::line(line));
    }
    clean
}

/// The arguments of a program without secrets.
pub(super) fn arguments(arguments: &[String]) -> Vec<String> {
    let mut after_flag = false;
    let clean = arguments.iter().map(|argument| {
        let is_value = std::mem::take(&mut after_flag);
        if is_value && !argument.starts_with("--") {
            return REDACTED.to_owned();
        }
        match argument.split_once('=') {
            Some((name, _)) if is_secret(name) => return format!("{name}={REDACTED}"),
            None if argument.starts_with("--") && is_secret(argument) => after_flag = true,
            _ => {}
        }
        line(argument)
    });
    clean.collect()
}

fn line(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(is_word) {
        clean.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word.find(JWT).is_some_and(|at| word.len() - at >= JWT_LENGTH) {
            clean.push_str(REDACTED);
            continue;
        }
        clean.push_str(word);
        if let Some((between, value)) = value_of(word, rest) {
            clean.push_str(between);
            clean.push_str(REDACTED);
            rest = &rest[between.len() + value..];
        } else if let Some(length) = userinfo(rest) {
            clean.push_str("://");
            clean.push_str(REDACTED);
            rest = &rest["://".len() + length..];
        }
    }
    clean.push_str(rest);
    clean
}

/// What stands between a secret's name and its value, and the length of the value.
fn value_of<'a>(name: &str, rest: &'a str) -> Option<(&'a str, usize)> {
    let is_scheme = name.eq_ignore_ascii_case("bearer") || name.eq_ignore_ascii_case("basic");
    let quoted_name = rest.trim_start_matches('\\').starts_with('"');
    let after_quote = rest.trim_start_matches(['"', '\'', '\\']);
    let separated = after_quote.trim_start_matches(' ').strip_prefix([':', '=']);
    let value = match separated {
        Some(value) if is_secret(name) => value.trim_start_matches(' '),
        None if is_scheme && rest.starts_with(' ') => rest.trim_start_matches(' '),
        _ => return None,
    };
    // Of JSON a number or an object is none.
    if quoted_name && separated.is_some() && !value.starts_with(['"', '\'', '\\']) {
        return None;
    }
    let quoted = value.starts_with(['"', '\'', '\\']);
    let value = value.trim_start_matches(['"', '\'', '\\']);
    // A scheme goes with what follows it.
    let scheme =
        ["Bearer ", "Basic ", "bearer ", "basic "].into_iter().find(|scheme| value.starts_with(scheme));
    let skipped = scheme.map_or(0, str::len);
    let ends = |c: char| {
        matches!(c, '"' | '\'' | '\\' | '\n')
            || (!quoted && (c.is_whitespace() || matches!(c, ',' | '}' | '&')))
    };
    let length = value.get(skipped..)?.find(ends).unwrap_or(value.len() - skipped) + skipped;
    let between = rest.get(..rest.len() - value.len())?;
    (length > 0).then_some((between, length))
}

/// The length of `user:password` of a URL whose scheme is before it.
fn userinfo(rest: &str) -> Option<usize> {
    let authority = rest.strip_prefix("://")?;
    let end = authority
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'))
        .unwrap_or(authority.len());
    authority.get(..end)?.rfind('@')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No part of it may be found.
    const PLANTED: &str = "hunter2-Tr0ub4dor";
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";

    #[test]
    fn no_planted_secret_stays() {
        for before in [
            format!("token: {PLANTED}\n"),
            format!("  \"token\": \"{PLANTED}\",\n"),
            format!("{{\"user\":{{\"clientKeyData\":1,\"client-key-data\":\"{PLANTED}\"}}}}"),
            format!("{{\"log\":\"{{\\\"password\\\":\\\"{PLANTED}\\\"}}\"}}"),
            format!("MIDONETKUBE_MIDONET_PASSWORD={PLANTED}"),
            format!("Authorization: Bearer {PLANTED}\r\n"),
            format!("authorization=\"Basic {PLANTED}\""),
            format!("curl -H 'X-Auth-Token: {PLANTED}' http://192.0.2.1"),
            format!("got bearer {PLANTED} from it"),
            format!("http://admin:{PLANTED}@192.0.2.1:8181/midonet-api?password={PLANTED}&x=1"),
            format!("level=warn secret={PLANTED} node=a"),
            format!("\"password\" : '{PLANTED} with spaces'"),
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}\n{PLANTED}\n-----END RSA PRIVATE KEY-----\nnext"
            ),
            format!("-----BEGIN PRIVATE KEY-----\n{PLANTED}"),
        ] {
            let after = text(&before);
            assert!(!after.contains(PLANTED) && !after.contains("Tr0ub4dor"), "{before} is {after}");
            assert!(after.contains(REDACTED), "{after}");
            assert!(!text(&after).contains(PLANTED));
        }
        for before in
            [format!("a {TOKEN} b"), format!("\"{TOKEN}\""), format!("x={TOKEN}"), format!("a.{TOKEN}")]
        {
            let after = text(&before);
            assert!(!after.contains("eyJ"), "{before} is {after}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for same in [
            "midonet_kube_node_token_bucket_drops 7\n",
            "{\"tokens\": 5, \"secrets\": {\"a\": 1}, \"name\": \"x\"}",
            "10.244.1.3:80 -> [fd44::1]:443\n\n",
            "https://192.0.2.1:6443/api?x=1",
            "level=info node=\"a b\" what=tokens seen\n",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "the basics\nÄ ∞ token",
            "eyJ",
            "",
        ] {
            assert_eq!(text(same), same);
        }
        assert_eq!(
            text("a\n-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\nb\n"),
            format!("a\n{REDACTED}\nb\n")
        );
    }

    #[test]
    fn what_is_left_of_json_is_json() {
        let before = serde_json::json!({
            "token": PLANTED, "args": ["--password", "x"], "log": format!("token={PLANTED}\npassword: \"{PLANTED}\""),
            "secretName": null, "passwords": [1], "authorization": "Bearer a b",
        });
        for written in [before.to_string(), serde_json::to_string_pretty(&before).unwrap()] {
            let after = text(&written);
            let read: serde_json::Value =
                serde_json::from_str(&after).unwrap_or_else(|error| panic!("{error}: {after}"));
            assert!(!after.contains(PLANTED), "{after}");
            assert_eq!(read["passwords"], before["passwords"]);
        }
    }

    #[test]
    fn arguments_lose_values_alone() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let given = words(&[
            "agent",
            "--node-name",
            "a",
            "--midonet-password",
            PLANTED,
            "--token=x",
            "--secret",
            "--mtu=1450",
        ]);
        let want = [
            "agent",
            "--node-name",
            "a",
            "--midonet-password",
            REDACTED,
            "--token=[redacted]",
            "--secret",
            "--mtu=1450",
        ];
        assert_eq!(arguments(&given), want);
    }
}
