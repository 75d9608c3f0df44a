use super::*;

fn reach(spans: &[(Protocol, u16, u16)]) -> Reach {
    Reach::Spans(
        spans
            .iter()
            .map(|(protocol, first, last)| Span { protocol: *protocol, first: *first, last: *last })
            .collect(),
    )
}

fn stroke(origin: Origin, action: Action, rule: u32, reach: &Reach) -> Stroke<'_> {
    Stroke { origin, action, audit: false, rule: RuleId(rule), reach, more: Vec::new() }
}

/// The verdicts as `protocol first-last rule`, with a `!` where it is denied; others first.
fn told(list: &List) -> Vec<String> {
    let verdict = |verdict: Verdict| format!("{}{}", if verdict.allow { "" } else { "!" }, verdict.rule.0);
    let interval = |interval: &Interval| {
        let Interval { protocol, first, last, verdict: of } = interval;
        format!("{} {first}-{last} {}", protocol.name(), verdict(*of))
    };
    [verdict(list.others)].into_iter().chain(list.intervals.iter().map(interval)).collect()
}

#[test]
fn the_first_rule_wins_port_by_port() {
    let (wide, narrow, all) =
        (reach(&[(Protocol::Tcp, 10, 20)]), reach(&[(Protocol::Tcp, 15, 25)]), Reach::All);
    let admin = |action, rule, reach| stroke(Origin::Admin, action, rule, reach);
    let strokes =
        [admin(Action::Accept, 1, &wide), admin(Action::Deny, 2, &narrow), admin(Action::Deny, 3, &all)];
    let list = paint(&strokes, Ground::default());
    assert_eq!(told(&list), ["!3", "TCP 10-20 1", "TCP 21-25 !2"]);
}

#[test]
fn what_is_passed_on_is_decided_by_the_next_tier() {
    let (one, two) = (reach(&[(Protocol::Tcp, 0, 80)]), reach(&[(Protocol::Tcp, 80, u16::MAX)]));
    let strokes = [
        stroke(Origin::Admin, Action::Pass, 1, &one),
        stroke(Origin::Admin, Action::Deny, 2, &Reach::All),
        stroke(Origin::NetworkPolicy, Action::Accept, 3, &two),
        stroke(Origin::Baseline, Action::Accept, 5, &Reach::All),
    ];
    let ground = Ground { isolated: Some(RuleId(4)), ..Ground::default() };
    assert_eq!(told(&paint(&strokes, ground)), ["!2", "TCP 0-79 !4", "TCP 80-80 3"]);
    assert_eq!(told(&paint(&strokes, Ground::default())), ["!2", "TCP 0-79 5", "TCP 80-80 3"]);
}

#[test]
fn each_protocol_is_cut_by_itself_to_its_last_port() {
    let ends =
        reach(&[(Protocol::Udp, u16::MAX, u16::MAX), (Protocol::Sctp, 0, 0), (Protocol::Tcp, 0, u16::MAX)]);
    let strokes = [stroke(Origin::NetworkPolicy, Action::Accept, 1, &ends)];
    let ground = Ground { isolated: Some(RuleId(2)), ..Ground::default() };
    assert_eq!(told(&paint(&strokes, ground)), ["!2", "TCP 0-65535 1", "UDP 65535-65535 1", "SCTP 0-0 1"]);
}

#[test]
fn neighbours_that_say_the_same_are_one() {
    let cut = reach(&[(Protocol::Tcp, 1, 5), (Protocol::Tcp, 6, 9), (Protocol::Tcp, 3, 7)]);
    let strokes = [stroke(Origin::NetworkPolicy, Action::Accept, 1, &cut)];
    let ground = Ground { isolated: Some(RuleId(2)), ..Ground::default() };
    assert_eq!(told(&paint(&strokes, ground)), ["!2", "TCP 1-9 1"]);
    // As everything else: no interval at all.
    let cut = reach(&[(Protocol::Tcp, 1, 5)]);
    let strokes =
        [stroke(Origin::Admin, Action::Pass, 1, &cut), stroke(Origin::Admin, Action::Pass, 3, &Reach::All)];
    assert_eq!(told(&paint(&strokes, ground)), ["!2"]);
}

#[test]
fn many_rules_are_painted_in_one_go() {
    let reaches: Vec<Reach> = (0..60_000).map(|port| reach(&[(Protocol::Tcp, 1, port + 1)])).collect();
    let strokes: Vec<Stroke> = (1..)
        .zip(&reaches)
        .map(|(rule, reach)| stroke(Origin::NetworkPolicy, Action::Accept, rule, reach))
        .collect();
    let list = paint(&strokes, Ground { isolated: Some(RuleId(u32::MAX)), ..Ground::default() });
    assert_eq!(list.intervals.len(), 60_000);
    assert_eq!(list.verdict(Some((Protocol::Tcp, 777))).rule, RuleId(777));
}
