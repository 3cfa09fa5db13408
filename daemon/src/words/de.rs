//! German.

use super::minutes;
use crate::status::Situation;

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
        S::Turning { deg } => (format!("Dreht auf {deg:.0}°"), "Vom Teller wegbleiben.".to_owned()),
        S::Shooting { frame, total, left_s, flagged } => {
            let second = match (flagged, left_s) {
                (Some(flagged), _) => {
                    format!(
                        "Bild {} {} Es wird am Ende der Drehung wiederholt.",
                        flagged.frame,
                        was(&flagged.rule)
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
            format!("Objekt stehen lassen. {}", remedy(rule)),
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
        S::TableLost => (
            "Gestoppt: Teller antwortet nicht".to_owned(),
            "Stopp wurde gesendet. Prüfen, ob er stillsteht.".to_owned(),
        ),
        S::PositionUnknown => {
            ("Tellerposition unbekannt".to_owned(), "Teller frei machen, dann Nullpunkt suchen.".to_owned())
        }
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
        S::Look { what, todo } | S::Fault { what, todo } => (what.clone(), todo.clone()),
    };
    (first, second)
}

/// What was wrong with a frame.
fn was(rule: &str) -> &'static str {
    match rule {
        "qc.sharpness" => "war unscharf.",
        "qc.clipped" => "war zu hell.",
        "qc.dark" => "war zu dunkel.",
        "qc.duplicate" => "war gleich einem anderen.",
        _ => "war auffällig.",
    }
}

/// What a person does about frames that a rule flagged.
fn remedy(rule: &str) -> &'static str {
    match rule {
        "qc.sharpness" => "Linse abwischen, dann wiederholen.",
        "qc.clipped" => "Fenster abdecken oder Lampe dämpfen, dann wiederholen.",
        "qc.dark" => "Prüfen, ob alle Lampen an sind, dann wiederholen.",
        _ => "Dann wiederholen.",
    }
}

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
