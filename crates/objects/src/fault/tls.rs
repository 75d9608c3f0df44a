//! What is wrong with TLS, and most of all with a certificate.

use std::time::{Duration, SystemTime};

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::cause::{Cause, quote};

pub(super) fn cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidCertificate(error) => {
            let (what, remedy) = certificate(error);
            Cause::Certificate(what, remedy)
        }
        rustls::Error::InvalidMessage(_) => Cause::Tls("it answers something else than TLS".into()),
        // RFC 8446, section 6, has the names.
        rustls::Error::AlertReceived(alert) => Cause::Tls(format!("it ended the handshake: {alert:?}")),
        error => Cause::Tls(error.to_string()),
    }
}

/// What is wrong with a certificate, and what helps.
pub(super) fn certificate(error: &CertificateError) -> (String, String) {
    let renew = "renew it (kubeadm certs renew apiserver), or correct this node's clock";
    let ca = "give the certificate authority of this cluster: certificate-authority in the kubeconfig, or the \
              service account's ca.crt";
    let (what, remedy) = match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            (format!("expired on {}", date(*not_after)), renew)
        }
        CertificateError::Expired => ("has expired".into(), renew),
        CertificateError::NotValidYetContext { not_before, .. } => {
            (format!("is not valid before {}", date(*not_before)), "correct this node's clock")
        }
        CertificateError::NotValidYet => ("is not valid yet".into(), "correct this node's clock"),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ("is not signed by the certificate authority that is configured".into(), ca)
        }
        CertificateError::NotValidForNameContext { expected, presented } => (
            format!("is for {} and not for {}", names(presented), expected.to_str()),
            "use one of its names in the URL, or have it issued for this name or address too",
        ),
        CertificateError::NotValidForName => {
            ("is for another name".into(), "use its name in the URL, or have it issued for this one too")
        }
        // Such as one that is its own authority.
        CertificateError::Other(error) => (format!("cannot be used: {}", error.0), ca),
        error => (format!("cannot be used: {error}"), ca),
    };
    (what, remedy.to_owned())
}

/// rustls has names as `DnsName("a")` and `IpAddress(192.0.2.1)`.
fn names(presented: &[String]) -> String {
    let name = |text: &String| {
        let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        quote(inner.unwrap_or(text).trim_matches('"'))
    };
    if presented.is_empty() {
        "no name".into()
    } else {
        presented.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

fn date(time: UnixTime) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map_or_else(
        || "an impossible date".into(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}
