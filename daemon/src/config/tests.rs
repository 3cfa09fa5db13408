//! Bad configurations and what is told of them.

use super::*;

fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    match Config::from_text(Some(("station.toml", text)), environment) {
        Ok(_) => Vec::new(),
        Err(e) => e.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_shipped_configuration_is_good() {
    for text in [
        DEFAULT,
        DEMO,
        include_str!("../../../config/studio.toml"),
        include_str!("../../../config/dealership.toml"),
    ] {
        assert_eq!(problems(text, &[]), Vec::<String>::new());
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_layer_and_key() {
    let text = r#"
        [station]
        ogr = "acme"
        [storage]
        frame_bytes = "many"
        [destinations.stick]
        backend = "directory"
        rout = "/media/stick"
        [rig.cameras.main]
        driver = "simm"
        [rig.turntable]
        driver = "sim"
        sped_deg_s = 3
        [booth]
        object = "elephant"
    "#;
    let found = problems(text, &[("TURNSTAGE__UPLOADER__PARALLEL", "lots"), ("TURNSTAGE__BOGUS", "1")]);
    for wanted in [
        "station.toml: station.ogr",
        "station.toml: storage.frame_bytes",
        "station.toml: destinations.stick",
        "station.toml: rig.cameras.main",
        "station.toml: rig.turntable",
        "station.toml: booth",
        "the environment: uploader.parallel",
        "the environment: bogus",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(wanted)), "{wanted} in {found:#?}");
    }
}

#[test]
fn a_ring_that_no_camera_reads_or_that_cannot_be_is_told_by_its_key() {
    let with = |rim: &str, more: &str| {
        let rim = format!("[rig.turntable.rim]\nradius_mm = 150\nmarks = 24\nheight_mm = -7\n{rim}");
        let table = "[rig.turntable]\ndriver = \"external\"";
        problems(&format!("{more}\n{table}\n{rim}\n[rig.cameras.top]\ndriver = \"sim\"\n"), &[])
    };
    assert_eq!(with("camera = \"top\"\nmark_mm = 9", ""), [""; 0]);
    let found = with("camera = \"main\"\nmark_mm = 9", "");
    assert_eq!(found, ["station.toml: rig.turntable.rim.camera: no camera \"main\"; this rig has: top"]);
    let found = with("camera = \"top\"\nmark_mm = 90", "");
    assert!(found[0].starts_with("station.toml: rig.turntable: rim.mark_mm = 90"), "{found:?}");
    let found = problems("[rig.turntable]\ndriver = \"external\"\n", &[]);
    assert!(
        found[0].contains("rim is missing: describe the ring of marks in [rig.turntable.rim]"),
        "{found:?}"
    );
    let found = with("camera = \"top\"\nmark_mm = 9", "[motion]\nzero_deg = 5.0");
    assert!(found[0].contains("motion.zero_deg: reversed, zero_deg"), "{found:?}");
}

#[test]
fn a_cloud_is_reached_encrypted_or_on_this_machine() {
    let with = |url: &str| {
        let text = format!(
            "[destinations.cloud]\nbackend = \"imaging360\"\nurl = \"{url}\"\ntoken_file = \"device-token\"\n"
        );
        problems(&text, &[])
    };
    assert_eq!(with("https://api.360imaging.example/v1"), [""; 0]);
    assert_eq!(with("http://127.0.0.1:8080"), [""; 0]);
    for wrong in ["http://api.360imaging.example/v1", "api.360imaging.example", "https://a.example/?x=1"] {
        let found = with(wrong);
        assert!(found[0].starts_with("station.toml: destinations.cloud.url: "), "{wrong}: {found:?}");
    }
    let found =
        problems("[destinations.cloud]\nbackend = \"imaging360\"\nurl = \"https://a.example\"\n", &[]);
    assert!(found[0].contains("token_file"), "{found:?}");
}

#[test]
fn what_becomes_of_metadata_is_said_for_each_destination() {
    let folder =
        |more: &str| format!("[destinations.stick]\nbackend = \"directory\"\nroot = \"x\"\n{more}\n");
    let cloud = |more: &str| {
        format!(
            "[destinations.cloud]\nbackend = \"imaging360\"\nurl = \"https://a.example\"\ntoken_file = \"t\"\n{more}\n"
        )
    };
    let rules = |text: String| {
        let config = Config::from_text(Some(("f", &text)), Vec::new()).unwrap();
        config.destinations.values().map(Destination::metadata).collect::<Vec<_>>()
    };
    assert_eq!(rules(folder("") + &cloud("")), [MetadataRule::Write, MetadataRule::Keep]);
    let other = folder("metadata = \"strip\"") + &cloud("metadata = \"keep\"");
    assert_eq!(rules(other), [MetadataRule::Keep, MetadataRule::Strip]);
    let found = problems(&folder("metadata = \"drop\""), &[]);
    assert!(
        found[0].starts_with("station.toml: destinations.stick") && found[0].contains("strip"),
        "{found:?}"
    );
}

#[test]
fn an_impossible_value_names_the_layer_that_set_it() {
    let found = problems("[uploader]\nparallel = 99\n", &[("TURNSTAGE__LOG__LEVEL", "loud=very")]);
    assert!(found.iter().any(|p| p.starts_with("station.toml: uploader.parallel: must be 1 to 16")));
    assert!(found.iter().any(|p| p.starts_with("the environment: log.level")), "{found:?}");
}

#[test]
fn the_environment_goes_before_the_file_and_keeps_leading_zeros() {
    let environment = vec![
        ("TURNSTAGE__STATION__NAME".to_owned(), "007".to_owned()),
        ("TURNSTAGE__UPLOADER__PARALLEL".to_owned(), "3".to_owned()),
        ("TURNSTAGE_PHOTOS".to_owned(), "not ours".to_owned()),
    ];
    let config = Config::from_text(Some(("f", "[station]\nname = \"one\"\n")), environment).unwrap();
    assert_eq!(config.station.name, "007");
    assert_eq!(config.uploader.parallel, 3);
}

#[test]
fn a_syntax_error_is_told_with_its_line() {
    let found = problems("[station]\norg = \n", &[]);
    assert!(found[0].starts_with("station.toml: ") && found[0].contains("line 2"), "{found:?}");
}

#[test]
fn an_input_is_told_what_it_lacks_for_what_it_should_do() {
    let told = |text: &str| problems(text, &[]);
    assert_eq!(told("[rig.inputs.stop]\ndriver = \"sim\"\ndoes = \"stop\""), [""; 0]);
    let gpio = "[rig.inputs.stop]\ndriver = \"gpio\"\ndoes = \"stop\"\nline = \"GPIO17\"\n";
    assert_eq!(told(&format!("{gpio}bias = \"pull-up\"")), [""; 0]);
    for (text, wanted) in [
        (format!("{gpio}bias = \"pull-up\"\nactive_low = true"), "a broken wire reads as pressed"),
        (
            "[rig.inputs.stop]\ndriver = \"evdev\"\nserial = \"1\"\ndoes = \"stop\"".to_owned(),
            "normally_closed",
        ),
        ("[rig.inputs.stop]\ndriver = \"sim\"\ndoes = \"scan\"".to_owned(), "lines = true"),
        ("[rig.inputs.stop]\ndriver = \"sim\"\nlines = true\ndoes = \"start\"".to_owned(), "only scan"),
        (
            "[rig.inputs.stop]\ndriver = \"sim\"\ndoes = \"start\"\nscan_starts = true".to_owned(),
            "scan_starts",
        ),
        ("[rig.inputs.stop]\ndriver = \"sim\"\ndoes = \"halt\"".to_owned(), "unknown variant `halt`"),
        ("[rig.inputs.stop]\ndriver = \"pedal\"\ndoes = \"stop\"".to_owned(), "no such driver \"pedal\""),
        ("[rig.outputs.stop]\ndriver = \"sim\"\nshows = \"horn\"\nlevel = 2".to_owned(), "level = 2"),
        (
            "[rig.outputs.stop]\ndriver = \"relay\"\nport = \"/dev/ttyUSB0\"\nshows = \"horn\"".to_owned(),
            "by-id",
        ),
        (
            "[rig.turntable]\ndriver = \"comxim\"".to_owned(),
            "comxim is a profile: driver = \"profile\", profile = \"comxim\"",
        ),
        ("[rig.lamps.stop]\ndriver = \"sim\"".to_owned(), "turntable, cameras, inputs, outputs"),
    ] {
        let found = told(&text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{text}: {found:?}");
    }
}

#[test]
fn hours_a_zone_or_a_limit_of_updates_that_cannot_be_are_told_by_their_keys() {
    let found = problems("[update]\nwindow = \"2-5\"\ntime_zone = \"Europe/Atlantis\"\nprove_s = 1\n", &[]);
    for (at, key) in ["update.window", "update.time_zone", "update.prove_s"].into_iter().enumerate() {
        assert!(found[at].starts_with(&format!("station.toml: {key}: ")), "{found:?}");
    }
    assert_eq!(problems("[update]\nwindow = \"22:00-04:00\"\ntime_zone = \"Europe/Berlin\"\n", &[]), [""; 0]);
}

#[test]
fn a_budget_counts_on_a_metered_link_only() {
    let budget = |text: &str| {
        let config = Config::from_text(Some(("station.toml", text)), Vec::new()).unwrap();
        config.network.budget()
    };
    assert_eq!(budget("[network]\nbytes_a_day_max = 500\n"), None);
    assert_eq!(budget("[network]\nmetered = true\n"), None);
    assert_eq!(budget("[network]\nmetered = true\nbytes_a_day_max = 500\n"), Some(500));
}
