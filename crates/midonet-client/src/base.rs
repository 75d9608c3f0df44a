//! The API's base URL.

use http::Uri;

use crate::OptionsError;

/// The URL without a slash at its end, and whether it is of TLS.
pub(crate) fn parse(text: &str) -> Result<(String, bool), OptionsError> {
    let fail = |why| Err(OptionsError::Url(why));
    let text = text.trim().trim_end_matches('/');
    let tls = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => true,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => false,
        _ => return fail("does not begin with https:// or http://"),
    };
    let Ok(uri) = text.parse::<Uri>() else { return fail("cannot be read") };
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return fail("has no host");
    };
    if authority.as_str().contains('@') {
        return fail("has a user or password in it, which have settings of their own");
    }
    if text.contains('?') || text.contains('#') {
        return fail("has a query or fragment");
    }
    Ok((text.to_owned(), tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_scheme_and_host_and_no_secrets() {
        let ok = |text| parse(text).unwrap();
        assert_eq!(ok("https://a:8443/midonet-api/"), ("https://a:8443/midonet-api".into(), true));
        assert_eq!(ok(" http://[2001:db8::1]:8181 "), ("http://[2001:db8::1]:8181".into(), false));
        for (text, why) in [
            ("a:8181/midonet-api", "does not begin"),
            ("/midonet-api", "does not begin"),
            ("https://", ""),
            ("https://u:secret@a/midonet-api", "has a user or password"),
            ("https://a/b?c=secret", "has a query"),
            ("https://a b/", "cannot be read"),
            ("ftp://a", "does not begin"),
            ("", ""),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(
                said.contains(why) && said.contains("; give one like") && !said.contains("secret"),
                "{said}"
            );
        }
    }
}
