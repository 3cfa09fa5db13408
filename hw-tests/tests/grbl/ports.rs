//! The same over the real serial link: a pseudo-terminal behind a name that stays.

use super::*;

/// Quick, so that a real clock is not kept waiting.
fn quick() -> Cable<Controller> {
    let cable = Cable::new(Controller::new(1, 120.0, 1200.0));
    cable.with(|c| c.knobs.boot = Duration::from_millis(100));
    cable
}

async fn open_port(port: &str) -> Result<Box<dyn Turntable>, TurntableError> {
    let options = options(&format!("serial = \"{port}\""));
    turnstage_drivers::turntable::check(&options).unwrap();
    turnstage_drivers::turntable::open(&options, &Surroundings::default()).await
}

/// Serves the port while something else happens; the plug may be pulled meanwhile.
async fn during<T>(cable: &Cable<Controller>, port: &mut Port, what: impl Future<Output = T>) -> T {
    tokio::pin!(what);
    tokio::select! {
        done = &mut what => done,
        () = cable.serve(port) => what.await,
    }
}

#[tokio::test]
async fn every_promise_is_kept_over_a_serial_port() {
    let folder = tempfile::tempdir().unwrap();
    let (cable, mut port) = (quick(), Port::new(&folder.path().join("usb-table")).unwrap());
    let name = port.name();
    let report = during(&cable, &mut port, async { conform(open_port(&name).await.unwrap()).await }).await;
    assert_eq!(report.broken(), [""; 0], "{report}");
    untouched(&cable);
}

#[tokio::test]
async fn an_adapter_that_is_pulled_in_mid_move_returns_under_another_number() {
    let folder = tempfile::tempdir().unwrap();
    let (cable, mut port) = (quick(), Port::new(&folder.path().join("usb-table")).unwrap());
    let name = port.name();
    let before = port.node();
    let mut table = during(&cable, &mut port, open_port(&name)).await.unwrap();
    let zero = table.reference(Reference::At(Angle::new(0.0)));
    during(&cable, &mut port, zero).await.unwrap();
    let start = truly(&cable);
    cable.cut_when(move |c| c.truly_deg(0) > start + 40.0);
    let error = during(&cable, &mut port, table.move_to(forward(300.0))).await.unwrap_err();
    assert!(matches!(error, TurntableError::LinkLost { .. }), "{error}");
    assert_eq!(table.position(), Position::Unknown);
    drop(table);
    assert!(matches!(open_port(&name).await, Err(TurntableError::Unavailable { .. })));

    port.plug().unwrap();
    assert_ne!(port.node(), before);
    let mut table = during(&cable, &mut port, open_port(&name)).await.unwrap();
    let refused = during(&cable, &mut port, table.move_to(forward(300.0))).await.unwrap();
    assert!(matches!(refused, Moved::Refused { .. }), "{refused:?}");
    assert_eq!(told(&cable), [300.0], "it was sent once");
}

#[tokio::test]
async fn a_port_where_nobody_or_somebody_else_answers_is_not_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (cable, mut port) = (quick(), Port::new(&folder.path().join("usb-table")).unwrap());
    cable.with(|c| c.knobs.banner = "start\r\necho:Marlin 2.1.2".to_owned());
    cable.with(|c| c.knobs.answers_every = u32::MAX);
    let options = options(&format!("serial = \"{}\"\nboot_ms = 300", port.name()));
    let around = Surroundings::default();
    let opening = turnstage_drivers::turntable::open(&options, &around);
    let error = during(&cable, &mut port, opening).await.err().unwrap();
    let TurntableError::WrongDevice { found, wanted, .. } = &error else { panic!("{error}") };
    assert!(found.contains("Marlin") && wanted.contains("GRBL"), "{error}");
    assert_eq!(told(&cable), [0.0; 0]);
}
