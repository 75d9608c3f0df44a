//! Who may ask: a browser of this machine that shows this page, and who knows its key.
//!
//! A page of somebody else can have a browser send requests here. It cannot set `Host`, which is the name that it resolved to
//! this address, or `Origin`. Another user of this machine can send anything, and does not have the key.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HOST, ORIGIN};

/// Names of this machine for itself.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// What the page's own requests have.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    hosts: Vec<String>,
    cookie: String,
    key: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Host,
    Origin,
    Key,
}

impl Access {
    /// Of the page at this port.
    pub(crate) fn new(port: u16, key: &str) -> Self {
        let hosts = NAMES.iter().map(|name| format!("{name}:{port}")).collect();
        // Cookies are of a host, whatever the port: another one has another page.
        Self { hosts, cookie: format!("midokube-{port}"), key: key.to_owned() }
    }

    /// Whether it was this machine that was meant.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut all = headers.get_all(HOST).iter();
        let host = all.next().and_then(|host| host.to_str().ok());
        let is_own = host.is_some_and(|host| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)));
        if is_own && all.next().is_none() { Ok(()) } else { Err(Refusal::Host) }
    }

    /// Whether no other page asks.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_own = |origin: &str| {
            let host = origin.strip_prefix("http://");
            host.is_some_and(|host| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)))
        };
        let origins = headers.get_all(ORIGIN).iter();
        let mut foreign = origins.map(|origin| !origin.to_str().is_ok_and(is_own));
        // Browsers tell that of requests without an origin, too.
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let is_cross = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        if foreign.any(|foreign| foreign) || is_cross { Err(Refusal::Origin) } else { Ok(()) }
    }

    /// Whether the one who asks has the key in a cookie.
    pub(crate) fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let has_key = pairs.any(|(name, value)| name == self.cookie && self.is_key(value));
        if has_key { Ok(()) } else { Err(Refusal::Key) }
    }

    /// Whether this is the key. It takes as long for a key that is nearly right as for any other.
    pub(crate) fn is_key(&self, key: &str) -> bool {
        let differences = self.key.bytes().zip(key.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
        key.len() == self.key.len() && differences == 0
    }

    /// What has the browser send the key from now on, to this page alone.
    pub(crate) fn cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie, self.key)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(pair).collect()
    }

    fn access() -> Access {
        Access::new(9455, "0123456789abcdef")
    }

    #[test]
    fn only_this_machine_is_meant() {
        for host in ["127.0.0.1:9455", "localhost:9455", "LocalHost:9455", "[::1]:9455"] {
            assert_eq!(access().check_host(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in [
            "127.0.0.1",
            "localhost:80",
            "evil.example:9455",
            "127.0.0.1:9455.evil.example",
            "10.0.0.1:9455",
            "",
        ] {
            assert_eq!(access().check_host(&headers(&[("host", host)])), Err(Refusal::Host), "{host}");
        }
        assert_eq!(access().check_host(&headers(&[])), Err(Refusal::Host));
        let two = headers(&[("host", "localhost:9455"), ("host", "evil.example")]);
        assert_eq!(access().check_host(&two), Err(Refusal::Host));
    }

    #[test]
    fn no_other_page_asks() {
        let own: [&[(&str, &str)]; 4] = [
            &[],
            &[("origin", "http://127.0.0.1:9455")],
            &[("origin", "http://[::1]:9455"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        for all in own {
            assert_eq!(access().check_origin(&headers(all)), Ok(()), "{all:?}");
        }
        let foreign: [&[(&str, &str)]; 6] = [
            &[("origin", "null")],
            &[("origin", "https://127.0.0.1:9455")],
            &[("origin", "http://127.0.0.1:80")],
            &[("origin", "http://evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://127.0.0.1:9455"), ("sec-fetch-site", "same-site")],
        ];
        for all in foreign {
            assert_eq!(access().check_origin(&headers(all)), Err(Refusal::Origin), "{all:?}");
        }
    }

    #[test]
    fn the_key_is_asked_for() {
        let with = |cookie: &str| access().check_key(&headers(&[("cookie", cookie)]));
        assert_eq!(with("midokube-9455=0123456789abcdef"), Ok(()));
        assert_eq!(with("a=b; midokube-9455=0123456789abcdef; c"), Ok(()));
        for bad in [
            "",
            "midokube-9455=",
            "midokube-9455=0123456789abcdeF",
            "midokube-1=0123456789abcdef",
            "midokube-9455=0123",
        ] {
            assert_eq!(with(bad), Err(Refusal::Key), "{bad}");
        }
        assert_eq!(access().check_key(&headers(&[])), Err(Refusal::Key));
    }
}
