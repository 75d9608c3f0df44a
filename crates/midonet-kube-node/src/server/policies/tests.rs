use super::*;

fn name(origin: Origin, policies: &[&str], rule: Option<u32>) -> Arc<RuleName> {
    let key = |name: &&str| match name.split_once('/') {
        Some((namespace, name)) => Key::namespaced(namespace, name),
        None => Key::new(name),
    };
    Arc::new(RuleName {
        origin,
        direction: Direction::Ingress,
        policies: policies.iter().map(key).collect(),
        rule,
        name: if rule == Some(1) { "dns".into() } else { "".into() },
    })
}

fn counts(allowed: u64, denied: u64) -> Counts {
    Counts { allowed, denied, audited: 0 }
}

fn applied(origin: Origin, policy: &str, rules: usize) -> Applied {
    Applied {
        direction: Direction::Ingress,
        origin,
        policy: name(origin, &[policy], None).policies[0].clone(),
        priority: (origin != Origin::NetworkPolicy).then_some(10),
        audit: false,
        rules,
        asked: origin != Origin::Baseline,
    }
}

#[test]
fn policies_stand_in_their_order_with_the_default_deny_behind_those_that_cause_it() {
    let decided = Decided::of(vec![
        (name(Origin::Admin, &["base"], Some(1)), counts(2, 1)),
        (name(Origin::NetworkPolicy, &["shop/b"], Some(0)), counts(3, 0)),
        (name(Origin::NetworkPolicy, &["shop/b", "shop/a"], None), counts(0, 7)),
        (name(Origin::NetworkPolicy, &["shop/a"], None), counts(0, 9)),
    ]);
    let all = [
        applied(Origin::Admin, "base", 2),
        applied(Origin::NetworkPolicy, "shop/a", 0),
        applied(Origin::NetworkPolicy, "shop/b", 1),
        applied(Origin::Baseline, "last", 1),
        Applied { direction: Direction::Egress, ..applied(Origin::NetworkPolicy, "shop/a", 0) },
    ];
    let messages = applied_messages(&all, &decided);
    let shown: Vec<(String, bool, String, u64)> = messages
        .iter()
        .map(|one| {
            (one.direction.clone(), one.default_deny, one.policies.join(","), one.counts.unwrap().denied)
        })
        .collect();
    let row = |direction: &str, default, policies: &str, denied| {
        (direction.to_owned(), default, policies.to_owned(), denied)
    };
    assert_eq!(
        shown,
        [
            row("ingress", false, "base", 1),
            row("ingress", false, "shop/a", 0),
            row("ingress", false, "shop/b", 0),
            row("ingress", true, "shop/a,shop/b", 7),
            row("ingress", false, "last", 0),
            row("egress", false, "shop/a", 0),
            row("egress", true, "shop/a", 0),
        ]
    );
    let rules: Vec<(u32, &str, u64)> = messages[0]
        .rules
        .iter()
        .map(|rule| (rule.index, rule.name.as_str(), rule.counts.unwrap().allowed))
        .collect();
    assert_eq!(rules, [(0, "", 0), (1, "dns", 2)]);
    assert_eq!(
        (messages[2].counts.unwrap().allowed, messages[2].priority, messages[0].priority),
        (3, None, Some(10))
    );
    assert!(messages[4].not_asked && !messages[0].not_asked);
}
