use super::*;

fn by(name: &str) -> Outcome {
    Outcome::Answered { by: name.into(), client: "10.0.0.1:4000".parse().unwrap() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn fault(expect: &Expect, outcomes: &[Outcome]) -> String {
    super::fault(expect, outcomes).unwrap_or_default()
}

#[test]
fn who_answers_is_judged() {
    let one = Expect::By { names: names(&["near"]), client: None };
    assert_eq!(fault(&one, &[by("near"), by("near")]), "");
    assert_eq!(fault(&one, &[by("near"), by("far")]), "far answers");
    assert_eq!(fault(&one, &[by("near"), Outcome::Silent { connected: false }]), "no answer");
    assert_eq!(fault(&one, &[]), "it was not tried");
    for (address, want) in
        [("10.0.0.1", ""), ("10.0.0.9", "near sees the client as 10.0.0.1 instead of 10.0.0.9")]
    {
        let seen = Expect::By { names: names(&["near"]), client: Some(address.parse().unwrap()) };
        assert_eq!(fault(&seen, &[by("near")]), want);
    }
    let each = Expect::Each { names: names(&["near", "far"]) };
    assert_eq!(fault(&each, &[by("near"), by("far")]), "");
    assert_eq!(fault(&each, &[by("near"), by("near")]), "of 2 connections none came to far");
    assert_eq!(fault(&each, &[by("near"), by("other")]), "other answers");
    let same = Expect::Same { names: names(&["near", "far"]) };
    assert_eq!(fault(&same, &[by("far"), by("far")]), "");
    assert_eq!(fault(&same, &[by("far"), by("near")]), "far and near answer in turn");
}

#[test]
fn refusal_and_silence_are_told_apart() {
    let silent = Outcome::Silent { connected: false };
    let late = Outcome::Silent { connected: true };
    let unreachable = || Outcome::Unreachable { why: "no route".into() };
    for (expect, outcome, want) in [
        (Expect::Refused, Outcome::Refused, ""),
        (Expect::Refused, silent.clone(), "no answer"),
        (Expect::Silence, silent.clone(), ""),
        (Expect::Silence, late.clone(), ""),
        (Expect::Silence, Outcome::Refused, "refused"),
        (Expect::Silence, by("near"), "near answers, and sees the client as 10.0.0.1"),
        (Expect::Reached, Outcome::Refused, ""),
        (Expect::Reached, unreachable(), "unreachable: no route"),
        (Expect::Accepted, Outcome::Reached, ""),
        (Expect::Accepted, Outcome::Refused, "refused"),
        (Expect::Accepted, late, "the connection is established, but nothing comes of it"),
        (
            Expect::Accepted,
            Outcome::TooBig { mtu: Some(1400) },
            "the path takes packets of 1400 bytes at most",
        ),
        (Expect::Silence, Outcome::Failed { why: "x".into() }, "it could not be tried: x"),
    ] {
        assert_eq!(fault(&expect, std::slice::from_ref(&outcome)), want, "{expect:?} {outcome:?}");
    }
}

#[test]
fn names_have_exactly_these_addresses() {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let resolved = |texts: &[&str]| Outcome::Resolved { addresses: addresses(texts) };
    let expect = Expect::Addresses { addresses: addresses(&["10.0.0.2", "10.0.0.1"]) };
    assert_eq!(fault(&expect, &[resolved(&["10.0.0.1", "10.0.0.2"])]), "");
    assert_eq!(fault(&expect, &[resolved(&["10.0.0.1"])]), "the addresses 10.0.0.1");
    assert_eq!(fault(&expect, &[resolved(&[])]), "the name has no address");
    assert_eq!(fault(&expect, &[Outcome::NoName { why: "there is no name x".into() }]), "there is no name x");
    assert_eq!(expect.to_string(), "the addresses 10.0.0.2, 10.0.0.1");
}
