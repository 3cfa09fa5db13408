//! The file that holds it all: damaged, newer, forgotten, another's.

use super::*;

#[test]
fn a_damaged_or_newer_file_is_told_and_left_alone_until_a_person_forgets_it() {
    let place = Place::new();
    place.used(wants(1, 11.0));
    let written = std::fs::read_to_string(place.kept()).unwrap();
    let with = |key: &str, value: Value| {
        let mut kept: Value = serde_json::from_str(&written).unwrap();
        kept[key] = value;
        std::fs::write(place.kept(), kept.to_string()).unwrap();
    };
    with("a_field_of_the_future", json!(1));
    assert_eq!(halves(&place.start().1), (11.0, Some(11)));
    with("schema", json!(2));
    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (10.0, None));
    assert_eq!(keeper.notice().unwrap().rule, "fleet-config-unreadable");
    assert_eq!(rule(&keeper.offer(wants(2, 22.0), &manager())), "config-not-kept");
    assert!(std::fs::read_to_string(place.kept()).unwrap().contains("\"schema\":2"));
    drop(keeper);
    std::fs::write(place.kept(), &written[..written.len() / 2]).unwrap();
    assert_eq!(halves(&place.start().1), (10.0, None));
    place.keeper().forget(&Actor("cli:tech".to_owned())).unwrap();
    assert!(place.kept().with_extension("unreadable").exists());
    place.used(wants(2, 22.0));
}

#[test]
fn what_a_person_at_the_station_takes_back_is_not_taken_again() {
    let place = Place::new();
    place.used(wants(7, 17.0));
    place.keeper().forget(&Actor("cli:tech".to_owned())).unwrap();
    let (keeper, config) = place.start();
    assert_eq!(halves(&config), (10.0, None));
    assert_eq!(keeper.offer(wants(7, 17.0), &manager()), Offered::Known(State::RolledBack));
    assert_eq!(rule(&keeper.offer(wants(6, 16.0), &manager())), "config-stale");
    assert!(keeper.reported().reason.unwrap().contains("at the station by tech"));
    let event = keeper.unrecorded().into_iter().find(|event| event.kind == "config.rolled-back").unwrap();
    assert_eq!(event.actor, "cli:tech");
    assert_eq!(keeper.offer(wants(8, 18.0), &manager()), Offered::Taken);
}

#[test]
fn a_second_program_on_the_same_folder_changes_nothing() {
    let place = Place::new();
    let (first, _) = place.start();
    first.offer(wants(1, 11.0), &manager());
    first.apply_by_restart().unwrap();
    let before = std::fs::read(place.kept()).unwrap();
    let (second, _) = place.start();
    assert_eq!(rule(&second.offer(wants(2, 22.0), &manager())), "config-not-kept");
    second.roll_back("no link");
    assert!(second.forget(&Actor::cli()).is_err());
    assert_eq!(std::fs::read(place.kept()).unwrap(), before);
}
