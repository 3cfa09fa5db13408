//! Each fault of a picture or of a step is named first by the check that is meant for it, and a good turn by none.
//!
//! One object of the study of quality control, which shoots them all (`./dev study`).

use turnstage_tests::turns;

#[tokio::test(start_paused = true)]
async fn each_fault_is_named_first_by_the_right_check() {
    for named in turns::faults(&["toy"]).await {
        assert!(
            named.wrong.is_empty(),
            "{} should be named by {}: {:?}",
            named.fault,
            named.rule,
            named.wrong
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_turn_has_no_findings() {
    // Print in few directions, and long plain sides.
    let good = turns::good(&["carton"], 36).await;
    assert_eq!((good.frames, good.false_alarms), (36, Vec::new()));
}
