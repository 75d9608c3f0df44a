//! Rules that are pushed together get the order that posting them to an empty chain gives.

use midonet::{Resource, Rule, RuleType};
use midonet_client::Client;
use midonet_standin::Standin;
use proptest::prelude::*;
use uuid::Uuid;

use crate::id;
use crate::start;
use crate::topology::{chain, rule};

/// A rule with this content.
fn named(name: u8, content: u8) -> Resource {
    rule("MAIN", &name.to_string(), |rule| Rule { nw_proto: content, ..rule })
}

fn rules_of(standin: &Standin) -> Vec<(Uuid, u8)> {
    let topology = standin.with_store(|store| store.topology()).unwrap();
    let (_, rules) = topology.chains.iter().find(|(chain, _)| chain.id == id("chain", "MAIN")).unwrap();
    rules.iter().map(|rule| (rule.id, rule.nw_proto)).collect()
}

async fn case(there: &[(u8, u8)], pushed: &[(u8, u8)]) -> (Vec<(Uuid, u8)>, Vec<(Uuid, u8)>, usize) {
    let (standin, client) = start().await;
    push_each(&client, &[chain("MAIN"), chain("OTHER")]).await;
    for (name, content) in there {
        push_each(&client, &[named(*name, *content)]).await;
    }
    let before = rules_of(&standin);
    let list: Vec<_> = pushed.iter().map(|(name, content)| named(*name, *content)).collect();
    let report = client.push(&list).await.unwrap();
    (before, rules_of(&standin), report.requests)
}

/// As other pushes do.
async fn push_each(client: &Client, list: &[Resource]) {
    for resource in list {
        client.push(std::slice::from_ref(resource)).await.unwrap();
    }
}

fn ids(rules: &[(Uuid, u8)], of: impl Fn(&Uuid) -> bool) -> Vec<Uuid> {
    rules.iter().map(|(id, _)| *id).filter(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rules_pushed_together(
        there in Just((0u8..8).collect::<Vec<_>>()).prop_shuffle(),
        there_count in 0usize..8,
        pushed in Just((0u8..8).collect::<Vec<_>>()).prop_shuffle(),
        pushed_count in 1usize..8,
        old in 0u8..255,
        changed in any::<u8>(),
    ) {
        let there: Vec<_> = there[..there_count].iter().map(|name| (*name, old)).collect();
        let content = |name: u8| if changed & (1 << name) == 0 { old } else { old + 1 };
        let pushed: Vec<_> = pushed[..pushed_count].iter().map(|name| (*name, content(*name))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (before, after, requests) = runtime.block_on(case(&there, &pushed));
        let list: Vec<_> = pushed.iter().rev().map(|(name, content)| (id("rule", &name.to_string()), *content)).collect();
        let is_pushed = |rule: &Uuid| list.iter().any(|(id, _)| id == rule);
        // Those that were pushed: the last one first, and with their content.
        let got: Vec<_> = after.iter().filter(|(id, _)| is_pushed(id)).copied().collect();
        prop_assert_eq!(got, list.clone());
        // The others: as they were.
        prop_assert_eq!(ids(&after, |id| !is_pushed(id)), ids(&before, |id| !is_pushed(id)));
        prop_assert!(requests <= 4 * pushed.len(), "{}", requests);
        // What was in order with its content is not touched.
        let old: Vec<_> = before.iter().filter(|(id, _)| is_pushed(id)).copied().collect();
        if old == list {
            prop_assert_eq!(&after, &before);
            prop_assert_eq!(requests, 2 * pushed.len());
        }
    }
}

#[tokio::test]
async fn a_rule_in_another_chain_is_taken_from_there() {
    let (standin, client) = start().await;
    push_each(&client, &[chain("MAIN"), chain("OTHER")]).await;
    push_each(&client, &[named(1, 6), rule("OTHER", "2", |rule| rule)]).await;
    let two = rule("MAIN", "2", |rule| Rule { rule_type: RuleType::Drop, ..rule });
    let report = client.push(&[named(1, 6), two]).await.unwrap();
    assert_eq!((report.unchanged, report.replaced, report.requests), (1, 1, 6));
    assert_eq!(rules_of(&standin), [(id("rule", "2"), 0), (id("rule", "1"), 6)]);
    let topology = standin.with_store(|store| store.topology()).unwrap();
    assert_eq!(topology.chains.iter().map(|(_, rules)| rules.len()).sum::<usize>(), 2);
}
