//! German.

mod reasons;

use super::minutes;
use super::panel::{Away, Panel};
use crate::constancy::{Drift, Quality, Since};
use crate::emergency::StopState;
use crate::status::Situation;
use reasons::REASONS;

/// First and second line.
pub(super) fn lines(situation: &Situation) -> (String, String) {
    use Situation as S;
    let (first, second) = match situation {
        S::Starting => ("Startet".to_owned(), "Kameras und Teller werden gesucht.".to_owned()),
        S::Off => ("Aus".to_owned(), "Die Station läuft nicht.".to_owned()),
        S::Ready => ("Bereit".to_owned(), "Objekt scannen.".to_owned()),
        S::ItemSet { item } => {
            ("Bereit".to_owned(), format!("{item} steht auf dem Teller. Abstand halten, dann starten."))
        }
        S::Referencing => ("Teller sucht seinen Nullpunkt".to_owned(), "Vom Teller wegbleiben.".to_owned()),
        S::Comparing => (
            "Teller vergleicht seine Lage".to_owned(),
            "Vom Teller wegbleiben. Objekt stehen lassen.".to_owned(),
        ),
        S::Announced => ("Teller dreht gleich".to_owned(), "Vom Teller wegbleiben.".to_owned()),
        S::TurnByHand { deg } => {
            (format!("Teller auf {deg:.0}° drehen"), "Bestätigen, wenn er dort steht.".to_owned())
        }
        S::CameraAwaited { camera, frame, left_s } => (
            format!("Kamera {camera} fehlt bei Bild {frame}"),
            format!("Wieder anstecken: es geht von selbst weiter. Dafür bleiben {left_s} s."),
        ),
        S::Turning { deg } => (format!("Dreht auf {deg:.0}°"), "Vom Teller wegbleiben.".to_owned()),
        S::Shooting { frame, total, left_s, flagged } => {
            let second = match (flagged, left_s) {
                (Some(flagged), _) => {
                    format!(
                        "Bild {} {} Es wird am Ende der Drehung wiederholt.",
                        flagged.frame,
                        REASONS.or_other(&flagged.rule).was
                    )
                }
                (None, Some(left_s)) => format!("Noch etwa {} min.", minutes(*left_s)),
                (None, None) => "Vom Teller wegbleiben.".to_owned(),
            };
            (format!("Bild {frame} von {total}"), second)
        }
        S::Retaking { frame, nth, of } => {
            (format!("Bild {frame} neu, {nth} von {of}"), "Objekt stehen lassen.".to_owned())
        }
        S::Flagged { frames, rule } => (
            count(*frames, "Bild wiederholen", "Bilder wiederholen"),
            format!("Objekt stehen lassen. {}", REASONS.or_other(rule).remedy),
        ),
        S::Missing { frames } => (
            count(*frames, "Bild fehlt", "Bilder fehlen"),
            "Objekt stehen lassen, dann wiederholen.".to_owned(),
        ),
        S::Complete { frames } => {
            (format!("Alle {frames} Bilder sind gut"), "Zum Senden freigeben.".to_owned())
        }
        S::Sending { pictures } => (
            "Bereit".to_owned(),
            format!(
                "{} gesendet. Weiterarbeiten ist möglich.",
                count(*pictures, "Bild wird", "Bilder werden")
            ),
        ),
        S::Offline { pictures } => {
            ("Bereit, ohne Netz".to_owned(), format!("{} Weiterarbeiten ist möglich.", safe(*pictures)))
        }
        S::BudgetSpent { pictures } => (
            "Bereit, Datenvolumen von heute verbraucht".to_owned(),
            format!("{} Weiter morgen.", safe(*pictures)),
        ),
        S::DestinationAway { name, pictures, reason } => {
            (format!("Bereit, {name} fehlt"), format!("{} ({reason})", safe(*pictures)))
        }
        S::SignIn { pictures, reason } => {
            ("Nicht bei der Cloud angemeldet".to_owned(), format!("{} ({reason})", safe(*pictures)))
        }
        S::RoomShort { sessions } => (
            format!("Platz für {}", count(*sessions, "Sitzung", "Sitzungen")),
            "Netz verbinden oder Technik rufen.".to_owned(),
        ),
        S::RoomNone { waiting } => (
            "Kein Platz für neue Sitzung".to_owned(),
            format!(
                "{} auf Versand. Nichts wird gelöscht. Netz verbinden.",
                count(*waiting, "wartet", "warten")
            ),
        ),
        S::CameraUnplugged { camera, taken, wanted } => (
            format!("Gestoppt: Kamera {camera} fehlt"),
            format!("{taken} von {wanted} Bildern sind sicher. Der Teller bewegt sich nicht von selbst."),
        ),
        S::TableLost { deg: Some(deg) } => (
            "Gestoppt: Teller antwortet nicht".to_owned(),
            format!(
                "Verbindung fehlt: er dreht vielleicht noch bis zu {:.0} Grad. Wegbleiben.",
                deg.abs().ceil()
            ),
        ),
        S::TableLost { deg: None } => (
            "Gestoppt: Teller antwortet nicht".to_owned(),
            "Prüfen, ob er stillsteht; dann Kabel und Strom.".to_owned(),
        ),
        S::TableTilts { deg } => (
            "Gestoppt: Teller antwortet nicht".to_owned(),
            format!("Verbindung fehlt: er kippt vielleicht noch bis zu {:.0} Grad. Wegbleiben.", deg.ceil()),
        ),
        S::TableTurnsOn => (
            "Gefahr: Teller antwortet nicht".to_owned(),
            "Verbindung fehlt: er dreht weiter, bis sein Strom weg ist. Not-Halt drücken.".to_owned(),
        ),
        S::PositionUnknown => {
            ("Tellerposition unbekannt".to_owned(), "Teller frei machen, dann Nullpunkt suchen.".to_owned())
        }
        S::EmergencyStop { state } => emergency_stop(*state),
        S::StoppedBy { who, taken, wanted } => (
            format!("Gestoppt von {who}"),
            format!("{taken} von {wanted} Bildern sind sicher. Weiter, wenn der Teller frei ist."),
        ),
        S::Paused { taken, wanted } => {
            ("Pausiert".to_owned(), format!("{taken} von {wanted} Bildern sind sicher. Jederzeit weiter."))
        }
        S::Interrupted { frame, taken } => (
            format!("Unterbrochen bei Bild {frame}"),
            format!("{} sicher. Steht das Objekt noch?", count(*taken, "Bild ist", "Bilder sind")),
        ),
        S::StorageFault => (
            "Speicher nimmt keine Bilder an".to_owned(),
            "Aufnahme ist gesperrt, damit nichts verloren geht. Technik rufen.".to_owned(),
        ),
        S::OutOfService { who, reason } => (
            "Außer Betrieb".to_owned(),
            format!("{}. Keine Sitzung beginnt. {who} fragen.", reason.trim_end_matches('.')),
        ),
        S::Updating { percent, .. } => (
            percent.map_or_else(
                || "Das System wird aktualisiert".to_owned(),
                |percent| format!("Das System wird aktualisiert: {percent} %"),
            ),
            "Strom anlassen. Es endet von selbst, vielleicht mit einem Neustart.".to_owned(),
        ),
        S::SafeMode => (
            "Sicherer Modus".to_owned(),
            "Letzte Einstellungen liefen nicht. Die vorigen gelten. Aufnahme geht.".to_owned(),
        ),
        S::SafeModeClosed => (
            "Sicherer Modus".to_owned(),
            "Die Einstellungen liefen nicht, vorige gibt es nicht. Aufnahme ist gesperrt.".to_owned(),
        ),
        S::Refused { pictures } => (
            count(*pictures, "Bild abgelehnt", "Bilder abgelehnt"),
            "Sie sind sicher. Grund unter Sitzungen.".to_owned(),
        ),
        S::Drifted { drift } => drifted(drift),
        S::Look { what, todo } | S::Fault { what, todo } => (what.clone(), todo.clone()),
    };
    (first, second)
}

/// Der verdrahtete Not-Halt.
fn emergency_stop(state: StopState) -> (String, String) {
    let (first, second) = match state {
        StopState::None => (
            "Diese Plattform hat keinen Not-Halt",
            "Nichts dreht sich. Einen verdrahteten einbauen lassen und in den Einstellungen nennen.",
        ),
        StopState::Clock => (
            "Not-Halt nicht geprüft: Die Uhr ist nicht gestellt",
            "Netz verbinden, dann den Not-Halt prüfen.",
        ),
        StopState::Untested => {
            ("Not-Halt heute nicht geprüft", "Prüfung beginnen, Not-Halt drücken, dann lösen.")
        }
        StopState::Press => ("Jetzt den Not-Halt drücken", "Die Station wartet eine Minute darauf."),
        StopState::Release => ("Jetzt den Not-Halt lösen", "Die Station hat den Druck gesehen."),
        StopState::Pressed => (
            "Der Not-Halt ist gedrückt, oder sein Kabel ist unterbrochen",
            "Prüfen, dass niemand in Gefahr ist. Not-Halt lösen, dann fortsetzen.",
        ),
        StopState::Lost => ("Vom Not-Halt ist nichts zu hören", "Nichts bewegt sich. Sein Kabel prüfen."),
    };
    (first.to_owned(), second.to_owned())
}

/// What a camera's pictures lost.
fn drifted(drift: &Drift) -> (String, String) {
    let Drift { camera, quality, change, since } = drift;
    let since = match since {
        Since::Weekday { weekday } => format!("seit {}", WEEKDAYS[usize::from(*weekday) % 7]),
        Since::Date { date } => format!("seit {date}"),
        Since::Turns { turns: 1 } => "in der letzten Drehung".to_owned(),
        Since::Turns { turns } => format!("in den letzten {turns} Drehungen"),
    };
    let percent = (change.abs() * 100.0).round();
    let (what, todo) = match quality {
        Quality::Sharpness => {
            (format!("{percent} % weniger Schärfe"), "Linse reinigen. Weiterarbeiten ist möglich.")
        }
        Quality::Light if *change < 0.0 => {
            (format!("{percent} % mehr Licht"), "Lampen und Fenster prüfen. Weiterarbeiten ist möglich.")
        }
        Quality::Light => (
            format!("{percent} % weniger Licht"),
            "Prüfen, ob alle Lampen an sind. Weiterarbeiten ist möglich.",
        ),
        Quality::Colour => (
            "andere Farben".to_owned(),
            "Prüfen, ob jede Lampe an ist und alle gleich sind. Weiterarbeiten ist möglich.",
        ),
        Quality::Noise => (
            format!("{percent} % mehr Körnung"),
            "Prüfen, ob alle Lampen an sind. Weiterarbeiten ist möglich.",
        ),
    };
    (format!("Kamera {camera}: {what} {since}"), todo.to_owned())
}

const WEEKDAYS: [&str; 7] = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"];

fn safe(pictures: u64) -> String {
    match pictures {
        0 => "Kein Bild wartet.".to_owned(),
        pictures => format!("{} auf diesem Gerät sicher.", count(pictures, "Bild ist", "Bilder sind")),
    }
}

/// `1 Bild`, `2 Bilder`.
fn count<N: Into<u64>>(number: N, one: &str, many: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// What the panel says.
pub(super) const PANEL: Panel = Panel {
    to_content: "Zum Inhalt",
    main_nav: "Hauptnavigation",
    capture: "Aufnahme",
    sessions: "Sitzungen",
    menu: "Menü",
    appearance: "Darstellung",
    light: "Hell",
    dark: "Dunkel",
    as_device: "Wie das Gerät",
    language: "Sprache",
    sign_in: "Anmelden",
    sign_out: "Abmelden",
    nobody: "Dieses Gerät",
    shows_itself: "Diese Station soll sich zeigen.",
    diagnostics: "Diagnosepaket",
    simulated: "Simuliertes Gerät, von selbst freigegeben",
    all_sent: "Alles gesendet",
    sending: "Sendet {n}",
    waiting_short: "{n} warten",
    no_network: "Kein Netz",
    refused_short: "{n} abgelehnt",
    sign_in_needed: "Anmeldung abgelehnt",
    lost: "Verbindung zur Station verloren. Stand {time}.",
    not_reached: [
        "Die Station hat nicht geantwortet",
        "Ob es ausgeführt wurde, ist nicht bekannt.",
        "Prüfen, ob dieses Gerät die Station erreicht, dann nochmals drücken.",
    ],
    item: "Objekt",
    item_label: "Objektnummer oder FIN",
    item_hint: "Scannen oder eingeben",
    item_take: "Nehmen",
    recipe: "Rezept",
    change: "Ändern",
    recipe_frames: ["{n} Bild", "{n} Bilder"],
    frames: "Bilder",
    frames_at_angles: ["{n} Bild an seinem Winkel", "{n} Bilder an ihren Winkeln"],
    frames_in_order: ["{n} Bild", "{n} Bilder der Reihe nach"],
    frame: "Bild {n}",
    row: "Reihe {n}",
    degrees: "{n} Grad",
    states: [
        "noch nicht aufgenommen",
        "wird aufgenommen",
        "wird geprüft",
        "in Ordnung",
        "auffällig",
        "fehlt",
        "wiederholt, in Ordnung",
        "so behalten",
    ],
    scan: "Objekt scannen.",
    moving: "dreht",
    still: "steht still",
    no_picture: "noch kein Bild",
    camera: "Kamera {name}",
    shown_part: "{from} bis {to} von {n}",
    passed: "In Ordnung",
    to_retake: "Zu wiederholen",
    time_left: "Restzeit",
    room_for: "Platz für",
    room_sessions: "Sitzungen",
    waiting: "Warten",
    table: "Drehteller",
    table_at: "bei {n}°",
    table_unknown: "sucht beim Start seinen Nullpunkt",
    ready: "bereit",
    missing_device: "fehlt",
    drifted: ["weniger scharf", "anderes Licht", "andere Farben", "mehr Körnung"],
    not_tried: "nie an echter Hardware erprobt",
    arm: "Teller freigeben",
    not_armed: "Teller ist gesperrt",
    arm_why: "Zum Gerät gehen und prüfen, dass niemand auf dem Teller ist. Sein Bildschirm zeigt eine Zahl; hier eingeben.",
    arm_by_input: "Am Gerät: mit Schlüssel oder Pedal",
    arm_code: "Zahl auf dem Bildschirm des Geräts",
    arm_code_is: "Zahl für andere Bildschirme: {code}",
    stands_there: "Er steht dort",
    emergency_stop: "Not-Halt",
    emergency_test: "Not-Halt prüfen",
    emergency_asks: ["Jetzt drücken", "Jetzt lösen"],
    emergency_states: ["heute geprüft", "heute nicht geprüft", "keiner angegeben"],
    checks: "Geräte",
    min: "min",
    start: "Aufnahme starten",
    scan_to_start: "Erst ein Objekt scannen",
    stop: "Stopp",
    resume_at: "Weiter bei Bild {n}",
    resume: "Weiter",
    resume_confirm: "Wurde nicht bewegt: weiter",
    anew: "Drehung neu beginnen",
    retake: ["{n} Bild wiederholen", "{n} Bilder wiederholen"],
    retake_one: "Nur dieses wiederholen",
    keep: "Trotzdem behalten …",
    release: "Freigeben",
    release_when: "wenn alle {n} gut sind",
    end: "Sitzung beenden …",
    closed: "Aufnahme ist gesperrt",
    wait: "Einen Moment",
    what: "Was passiert ist",
    why: "Warum das zählt",
    todo: "Was zu tun ist",
    will: "Was passieren wird",
    end_title: "Diese Sitzung beenden",
    end_what: [
        "{n} Bild von {item} bleibt auf dieser Station.",
        "{n} Bilder von {item} bleiben auf dieser Station.",
    ],
    end_why: "Nichts aus dieser Sitzung wird gesendet, und sie lässt sich nicht fortsetzen.",
    end_do: ["Sitzung beenden, {n} Bild hier behalten", "Sitzung beenden, {n} Bilder hier behalten"],
    end_none: "Sitzung ohne Bild beenden",
    back: "Zurück",
    other_title: "Anderes Objekt gescannt",
    other_what: "{scanned} gehört nicht zu dieser Sitzung.",
    other_why: "Zwei Objekte in einer Sitzung lassen sich später nicht trennen.",
    other_todo: "Objekt wegstellen oder erst diese Sitzung beenden.",
    other_go_on: "Weiter mit {item}",
    reasons: REASONS,
    nth_of: "{n} von {m}",
    previous_flagged: "Voriges auffälliges Bild",
    next_flagged: "Nächstes auffälliges Bild",
    close: "Schließen",
    is_missing: "Bild {n} fehlt",
    missing_why: "Die Drehung hat bei {deg} eine Lücke.",
    missing_todo: "Objekt stehen lassen, dann wiederholen.",
    is_fine: "Bild {n}: {state}",
    blur: "Unschärfe",
    clipped: "Überbelichtet",
    at_most: "höchstens {n}",
    gauge: "{name} {value}, {limit} nötig",
    this_frame: "dieses Bild",
    before_it: "davor",
    after_it: "danach",
    tries: "Versuche",
    try_used: "gilt",
    keep_title: "Trotzdem behalten",
    keep_why: "Nicht jedes Bild hat die Prüfung bestanden. Name und Grund bleiben bei der Sitzung.",
    keep_name: "Ihr Name",
    keep_reason: "Grund",
    keep_do: ["{n} Bild behalten und freigeben", "{n} Bilder behalten und freigeben"],
    queue_title: ["{n} Bild wartet", "{n} Bilder warten"],
    queue_none: "Alles gesendet",
    queue_sessions: ["{n} Sitzung", "{n} Sitzungen"],
    queue_oldest: "älteste {time}",
    queue_itself: "Wird von selbst gesendet.",
    queue_room: "Platz für {n} weitere.",
    queue_label: "Wartende Sitzungen",
    send_again: "Nochmals senden",
    away: Away {
        network: "{name}: kein Netz",
        token: "{name}: Anmeldung dieser Station gilt nicht. Technik rufen.",
        other: "{name} fehlt",
        refused: "Abgelehnt",
    },
    state_help: [
        "Auf dieser Station gespeichert, nicht freigegeben",
        "Freigegeben, wartet auf Versand",
        "Wird gerade gesendet",
        "Am Ziel, mit Nachweis",
        "Abgelehnt; bleibt auf dieser Station, bis jemand nochmals sendet",
    ],
    none_yet: "Noch keine Sitzungen. Die erste beginnt unter Aufnahme.",
    none_found: "Keine Sitzung hat ein Objekt mit „{text}“.",
    search: "Nach Objekt suchen",
    search_do: "Suchen",
    today: "Heute",
    yesterday: "Gestern",
    older: "Ältere Sitzungen",
    newest: "Neueste Sitzungen",
    session_states: ["läuft", "pausiert", "unterbrochen", "in Prüfung", "freigegeben", "beendet"],
    not_read: "Die Sitzungen lassen sich nicht lesen. Technik rufen.",
    back_to_sessions: "Zurück zu den Sitzungen",
    spin: "Drehung dieser Sitzung, Pfeiltasten drehen",
    viewer_role: "360-Grad-Ansicht",
    zoom: "Zoom",
    zoom_in: "Vergrößern",
    zoom_out: "Verkleinern",
    zoom_whole: "Ganzes Bild",
    angle: "Winkel",
    previous: "Voriges Bild",
    next: "Nächstes Bild",
    play: "Abspielen",
    show: "Zeigen",
    overlays: [
        ("Schärfekarte", "diese Fassung macht keine Schärfekarte"),
        ("Überbelichtung", "diese Fassung macht keine Karte der Überbelichtung"),
        ("Maske", "diese Fassung macht keine Maske"),
        ("Tiefe", "diese Station hat keine Tiefenkamera"),
    ],
    quality: "Prüfung",
    exposure: "Belichtung",
    taken: "Aufgenommen",
    delivery: "Versand",
    proof: "Nachweis",
    proofs: ["zurückgelesen und verglichen", "vom Server bestätigt", "Prüfsumme bestätigt"],
    not_let_go: "nicht freigegeben",
    no_frames: "Diese Sitzung hat keine Bilder.",
    kept_by: "{n} auffällige behalten von {name}: {reason}",
    open_again: "Diese Sitzung fortsetzen",
    sign_in_to: "Anmelden an {station}",
    works_offline: "{site}. Geht auch ohne Internet.",
    name: "Name",
    password: "Passwort",
    show_password: "Zeigen",
    forgotten: "Vergessen? Ein Admin dieser Station setzt ein neues. Es gibt kein Standardpasswort.",
    nothing_waits: "Nichts wartet",
    not_your_role: "nicht mit Ihrer Rolle",
    needs_script: "Tasten brauchen JavaScript. Gezeigt wird der Stand beim Laden der Seite.",
};
