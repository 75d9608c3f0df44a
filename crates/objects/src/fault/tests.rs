use std::io;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::*;
use crate::{Kind, Node};

fn fault(error: &kube::Error) -> Fault {
    let place = Place { url: "https://[2001:db8::1]:6443".into(), credentials: "the kubeconfig /k".into() };
    Fault::new(&Arc::new(place), Task::list(&Node::RESOURCE), error)
}

fn wrapped(error: io::Error) -> kube::Error {
    kube::Error::Service(Box::new(io::Error::other(error)))
}

#[test]
fn an_error_of_the_kernel_is_named_however_deep_it_is() {
    for (errno, setting, want) in [
        (111, false, "cannot reach the API server https://[2001:db8::1]:6443: connection refused"),
        (113, false, "cannot reach the API server https://[2001:db8::1]:6443: host unreachable"),
        (101, false, "cannot reach the API server https://[2001:db8::1]:6443: network unreachable"),
        (104, false, "cannot reach the API server https://[2001:db8::1]:6443: connection reset"),
        (110, false, "cannot reach the API server https://[2001:db8::1]:6443: timed out"),
    ] {
        let fault = fault(&wrapped(io::Error::from_raw_os_error(errno)));
        assert_eq!((fault.problem().as_str(), fault.is_setting()), (want, setting));
        assert_eq!(fault.to_string(), format!("{want}; {}", fault.remedy()));
    }
    let fault = fault(&wrapped(io::Error::new(io::ErrorKind::TimedOut, "elapsed")));
    assert!(fault.problem().ends_with(": no connection within 5s"), "{fault}");
}

#[test]
fn the_problem_with_a_certificate_is_named() {
    let day = |number: u64| UnixTime::since_unix_epoch(Duration::from_secs(number * 86400));
    let name = "192.0.2.1".try_into().unwrap();
    let presented = vec!["DnsName(\"kubernetes\")".to_owned(), "IpAddress(2001:db8::2)".to_owned()];
    for (error, want) in [
        (
            CertificateError::ExpiredContext { time: day(9), not_after: day(8) },
            "its certificate expired on 1970-01-09T00:00:00Z; renew it",
        ),
        (
            CertificateError::NotValidYetContext { time: day(1), not_before: day(8) },
            "its certificate is not valid before 1970-01-09T00:00:00Z; correct this node's clock",
        ),
        (
            CertificateError::NotValidForNameContext { expected: name, presented },
            "its certificate is for kubernetes, 2001:db8::2 and not for 192.0.2.1; use one",
        ),
        (
            CertificateError::UnknownIssuer,
            "its certificate is not signed by the certificate authority that is configured; give",
        ),
    ] {
        let error = rustls::Error::InvalidCertificate(error);
        let fault = fault(&wrapped(io::Error::new(io::ErrorKind::InvalidData, error)));
        assert!(fault.to_string().contains(want) && fault.is_setting(), "{want} in {fault}");
        assert!(!fault.to_string().contains("Some(") && !fault.to_string().contains("Error("), "{fault}");
    }
}

#[test]
fn what_a_server_says_stays_on_one_line_and_short() {
    let status = kube::core::Status::failure(&"a\nb".repeat(1000), "Forbidden").with_code(403);
    let fault = fault(&kube::Error::Api(status.boxed()));
    let text = fault.to_string();
    assert!(text.contains("does not allow to list nodes: 403 Forbidden: a b"), "{text}");
    assert!(text.contains("...; grant it to the user of the kubeconfig /k"), "{text}");
    assert!(!text.contains('\n') && text.len() < 800, "{text}");
    assert!(!fault.is_setting());
}

#[test]
fn an_answer_that_is_not_kubernetes_is_no_status() {
    let status =
        kube::core::Status::failure("Client sent an HTTP request to an HTTPS server.", "Failed to parse");
    let fault = fault(&kube::Error::Api(status.with_code(400).boxed()));
    assert!(
        fault.problem().contains("no usable answer to \"list nodes\": HTTP status 400: Client"),
        "{fault}"
    );
}

#[test]
fn a_status_is_counted_by_its_kind() {
    for (code, want) in [
        (401, Reason::Unauthorized),
        (403, Reason::Forbidden),
        (404, Reason::Other),
        (429, Reason::Throttled),
        (500, Reason::Server),
        (503, Reason::Server),
    ] {
        let status = kube::core::Status { code, ..Default::default() };
        let fault = fault(&kube::Error::Api(status.boxed()));
        assert_eq!((fault.reason(), fault.verb()), (want, Verb::List), "{code}");
    }
}
