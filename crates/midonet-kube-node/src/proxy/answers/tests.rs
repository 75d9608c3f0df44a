use std::time::{Duration, Instant, UNIX_EPOCH};

use model::HealthCheck;
use serde_json::{Value, json};

use super::*;
use crate::proxy::state::{HealthChecks, NodeState};

/// A start, and the time so many seconds later.
struct Clock(Instant);

impl Clock {
    fn at(&self, seconds: f64) -> Now {
        let after = Duration::from_secs_f64(seconds);
        Now { monotonic: self.0 + after, wall: UNIX_EPOCH + after }
    }
}

fn state(former: Option<HealthChecks>) -> ProxyState {
    ProxyState::new(vec![Family::V4, Family::V6], former)
}

fn checks(checks: &[(&str, u32)]) -> HealthChecks {
    let check = |endpoints: u32| HealthCheck { port: 30100, local_endpoints: endpoints };
    checks.iter().map(|(key, endpoints)| ((*key).into(), check(*endpoints))).collect()
}

/// The codes of /healthz, /livez and the port of a Service with one endpoint.
fn codes(state: &ProxyState, now: Now) -> [u16; 3] {
    [healthz(state, now), livez(state, now), service(state, "shop/web", now)]
        .map(|answer| answer.status().as_u16())
}

#[test]
fn every_reason_to_be_unhealthy_has_its_code() {
    let clock = Clock(Instant::now());
    let healthy = || {
        let mut state = state(Some(checks(&[("shop/web", 1)])));
        state.applied(true, clock.at(1.0));
        state
    };
    let all = [200, 200, 200];
    assert_eq!(codes(&healthy(), clock.at(1.0)), all);
    // The API server is away for days: nothing is queued.
    assert_eq!(codes(&healthy(), clock.at(900_000.0)), all);
    // An update that waits.
    let mut state = healthy();
    state.queued(clock.at(10.0));
    state.queued(clock.at(50.0));
    assert_eq!(codes(&state, clock.at(69.9)), all, "not late yet");
    assert_eq!(codes(&state, clock.at(70.0)), [503; 3], "the oldest counts");
    state.applied(false, clock.at(80.0));
    assert_eq!(codes(&state, clock.at(80.0)), all, "and is over");
    state.queued(clock.at(81.0));
    assert_eq!(codes(&state, clock.at(82.0)), all);
    // The Node: of interest to /healthz alone.
    for (node, code) in [
        (NodeState::Unknown, 200),
        (NodeState::Staying, 200),
        (NodeState::Leaving, 503),
        (NodeState::Gone, 503),
    ] {
        let mut state = healthy();
        state.node = node;
        assert_eq!(codes(&state, clock.at(2.0)), [code, 200, 200], "{node:?}");
    }
}

#[test]
fn a_node_is_healthy_once_all_services_are_in_the_kernel() {
    let clock = Clock(Instant::now());
    let mut state = state(None);
    assert_eq!(codes(&state, clock.at(0.0)), [503; 3]);
    state.applied(false, clock.at(1.0));
    assert_eq!(codes(&state, clock.at(1.0)), [503; 3], "not all of them");
    state.applied(true, clock.at(2.0));
    assert_eq!(codes(&state, clock.at(2.0))[..2], [200, 200]);
    state.applied(false, clock.at(3.0));
    assert_eq!(codes(&state, clock.at(3.0))[..2], [200, 200]);
}

#[test]
fn what_a_former_agent_programmed_is_served_from_the_start() {
    let clock = Clock(Instant::now());
    assert_eq!(codes(&state(Some(checks(&[("shop/web", 3)]))), clock.at(0.0)), [200; 3]);
}

#[test]
fn the_body_is_kube_proxys() {
    let clock = Clock(Instant::now());
    let body = |answer: Response<String>| serde_json::from_str::<Value>(answer.body()).unwrap();
    let mut state = state(Some(checks(&[])));
    let of_families = |text: &str, healthy: bool| {
        let one = json!({"lastUpdated": text, "healthy": healthy});
        json!({"IPv4": one, "IPv6": one})
    };
    let never = "0001-01-01T00:00:00Z";
    assert_eq!(
        body(livez(&state, clock.at(1.0))),
        json!({
            "lastUpdated": "1970-01-01T00:00:01.000000000Z", "currentTime": "1970-01-01T00:00:01.000000000Z",
            "healthy": true, "status": of_families(never, true),
        })
    );
    state.applied(true, clock.at(2.0));
    state.queued(clock.at(3.0));
    state.node = NodeState::Leaving;
    let updated = "1970-01-01T00:00:02.000000000Z";
    assert_eq!(
        body(healthz(&state, clock.at(100.5))),
        json!({
            "lastUpdated": updated, "currentTime": "1970-01-01T00:01:40.500000000Z",
            "nodeEligible": false, "healthy": false, "status": of_families(updated, false),
        })
    );
    // Not eligible, but healthy: 503, and the update's own time.
    state.applied(true, clock.at(101.0));
    let answer = body(healthz(&state, clock.at(102.0)));
    let want = (&json!(false), &json!(true), &json!("1970-01-01T00:01:41.000000000Z"));
    assert_eq!((&answer["nodeEligible"], &answer["healthy"], &answer["lastUpdated"]), want);
    let one = ProxyState::new(vec![Family::V6], None);
    assert_eq!(body(livez(&one, clock.at(1.0)))["status"].as_object().unwrap().len(), 1);
}

#[test]
fn a_services_answer_is_kube_proxys_byte_for_byte() {
    let clock = Clock(Instant::now());
    let mut state = state(Some(checks(&[("shop/web", 2), ("shop/idle", 0)])));
    let answer = service(&state, "shop/web", clock.at(0.0));
    let want = "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\
                \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";
    assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, want));
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-content-type-options", "nosniff"),
        ("x-load-balancing-endpoint-weight", "2"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    // Terminating endpoints are none of these; one that is gone meanwhile has none.
    for key in ["shop/idle", "shop/gone"] {
        let answer = service(&state, key, clock.at(0.0));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{key}");
        assert_eq!(answer.headers()["x-load-balancing-endpoint-weight"], "0");
    }
    state.queued(clock.at(0.0));
    let late = service(&state, "shop/web", clock.at(61.0));
    assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        late.body().contains("\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": false"),
        "{}",
        late.body()
    );
}
