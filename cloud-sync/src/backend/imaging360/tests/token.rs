//! Stories of the device token.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_right_is_told_before_anything_is_sent() {
    for (change, rule) in [
        ((|claims: &mut Value| claims["org_id"] = json!("other")) as fn(&mut Value), "token-wrong-org"),
        (|claims| claims["site_ids"] = json!([]), "token-wrong-site"),
        (|claims| claims["role"] = json!("operator"), "token-wrong-role"),
        (|claims| claims["exp"] = json!(NOW_MS / 1000 - 1), "token-expired"),
    ] {
        let rig = Rig::with(ClockQuality::Synced, jwt(change));
        assert_eq!(rig.refused().await, told("offline", rule));
        assert_eq!(kind(rig.cloud.ready().await.unwrap_err()), told("offline", rule));
        assert_eq!(rig.service.paths(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_clock_the_service_tells_whether_the_token_expired() {
    let rig = Rig::with(ClockQuality::Unset, jwt(|claims| claims["exp"] = json!(NOW_MS / 1000 - 1)));
    rig.service.next("sessions", answer(401, json!({"rule_id": "token-expired"})));
    assert_eq!(rig.refused().await, told("offline", "token-expired"));
    assert_eq!(rig.service.paths(), ["sessions"]);
    assert_eq!(rig.refused().await, told("offline", "token-expired"), "its clock is ours from then on");
    assert_eq!(rig.service.paths(), ["sessions"]);
}

#[tokio::test(start_paused = true)]
async fn a_battery_clock_that_is_years_ahead_stops_no_delivery() {
    let rig = Rig::with(ClockQuality::Rtc, jwt(|_| ()));
    rig.clock.ahead_ms.store(1000 * 365 * DAY_S, Ordering::Relaxed);
    rig.deliver().await.unwrap();
    assert_eq!(rig.cloud.notices()[0].rule, "clock-skewed");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_shown_again_until_it_is_exchanged_or_time_has_passed() {
    let rig = Rig::new();
    rig.service.next("sessions", answer(401, json!({"rule_id": "token-invalid"})));
    assert_eq!(rig.refused().await, told("offline", "token-invalid"));
    assert_eq!(kind(rig.cloud.ready().await.unwrap_err()), told("offline", "token-invalid"));
    assert_eq!(rig.service.paths(), ["sessions"]);
    std::fs::write(rig.dir.path().join("token"), jwt(|claims| claims["sub"] = json!("new"))).unwrap();
    rig.deliver().await.unwrap();

    rig.service.next("presign", answer(401, json!({"rule_id": "token-invalid"})));
    assert_eq!(rig.refused().await, told("offline", "token-invalid"));
    tokio::time::advance(Duration::from_millis(REFUSED_MS)).await;
    rig.deliver().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_from_day_twenty_and_too_early_is_no_error() {
    let old = |claims: &mut Value| claims["iat"] = json!(NOW_MS / 1000 - 20 * DAY_S);
    let rig = Rig::with(ClockQuality::Synced, jwt(old));
    rig.service.next("device/token", answer(409, json!({"rule_id": "too-early"})));
    rig.cloud.tend().await;
    rig.cloud.tend().await;
    assert_eq!(rig.service.paths(), ["device/token"], "once an hour");
    tokio::time::advance(Duration::from_secs(3600)).await;
    let newer = jwt(|claims| claims["exp"] = json!(NOW_MS / 1000 + 40 * DAY_S));
    rig.service.next("device/token", answer(200, json!({"token": newer})));
    rig.cloud.tend().await;
    assert_eq!(std::fs::read_to_string(rig.dir.path().join("token")).unwrap(), newer);
    tokio::time::advance(Duration::from_secs(3600)).await;
    rig.cloud.tend().await;
    assert_eq!(rig.service.paths().len(), 2, "the new one is young");
}
