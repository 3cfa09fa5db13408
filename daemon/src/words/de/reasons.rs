//! Why a frame does not pass, rule by rule, in German: for a person at the booth who is no photographer.

use crate::words::panel::{Reason, Reasons};

/// The reasons.
pub(super) const REASONS: Reasons = Reasons {
    known: &[
        (
            "qc.sharpness",
            Reason {
                short: "unscharf",
                what: "Bild {n} ist unscharf",
                why: "Die Drehung flackert bei {deg}.",
                todo: "Linse der Kamera {camera} abwischen, dann wiederholen. Das Objekt bleibt stehen.",
                was: "war unscharf.",
                remedy: "Linse abwischen, dann wiederholen.",
            },
        ),
        (
            "qc.motion",
            Reason {
                short: "verwackelt",
                what: "Bild {n} ist verwackelt",
                why: "Das Objekt ist bei {deg} verwischt.",
                todo: "Von Teller und Kamera {camera} wegbleiben, dann wiederholen. Kommt es wieder, Technik rufen.",
                was: "war verwackelt.",
                remedy: "Von Teller und Kamera wegbleiben, dann wiederholen.",
            },
        ),
        (
            "qc.clipped",
            Reason {
                short: "zu hell",
                what: "Bild {n} ist zu hell",
                why: "Helle Stellen haben bei {deg} keine Zeichnung.",
                todo: "Fenster abdecken oder Lampe dämpfen, dann wiederholen.",
                was: "war zu hell.",
                remedy: "Fenster abdecken oder Lampe dämpfen, dann wiederholen.",
            },
        ),
        (
            "qc.dark",
            Reason {
                short: "zu dunkel",
                what: "Bild {n} ist zu dunkel",
                why: "Dunkle Stellen haben bei {deg} keine Zeichnung.",
                todo: "Prüfen, ob alle Lampen an sind, dann wiederholen.",
                was: "war zu dunkel.",
                remedy: "Prüfen, ob alle Lampen an sind, dann wiederholen.",
            },
        ),
        (
            "qc.noise",
            Reason {
                short: "körnig",
                what: "Bild {n} ist körnig",
                why: "Glatte Flächen sehen bei {deg} aus wie Sand.",
                todo: "Prüfen, ob alle Lampen an sind, dann wiederholen. Kommt es wieder, Technik rufen.",
                was: "war körnig.",
                remedy: "Prüfen, ob alle Lampen an sind, dann wiederholen.",
            },
        ),
        (
            "qc.light-drift",
            Reason {
                short: "Licht anders",
                what: "Vor Bild {n} hat sich das Licht geändert",
                why: "Die Drehung wird bei {deg} heller oder dunkler.",
                todo: "Prüfen, ob alle Lampen an sind und kein Tageslicht einfällt, dann wiederholen.",
                was: "hatte anderes Licht als das erste.",
                remedy: "Prüfen, ob alle Lampen an sind und kein Tageslicht einfällt, dann wiederholen.",
            },
        ),
        (
            "qc.colour-drift",
            Reason {
                short: "Farbe anders",
                what: "Vor Bild {n} hat sich die Farbe geändert",
                why: "Das Objekt wechselt bei {deg} die Farbe.",
                todo: "Prüfen, ob jede Lampe an ist und kein Tageslicht einfällt, dann wiederholen. Kommt es wieder, Technik rufen.",
                was: "hatte andere Farben als das erste.",
                remedy: "Prüfen, ob jede Lampe an ist und kein Tageslicht einfällt, dann wiederholen.",
            },
        ),
        (
            "qc.banding",
            Reason {
                short: "Streifen",
                what: "Bild {n} hat Streifen",
                why: "Eine Lampe flackert; bei {deg} sieht man sie als Streifen.",
                todo: "Flackernde Lampe ausschalten oder tauschen lassen, dann wiederholen.",
                was: "hatte Streifen einer flackernden Lampe.",
                remedy: "Flackernde Lampe ausschalten, dann wiederholen.",
            },
        ),
        (
            "qc.duplicate",
            Reason {
                short: "gleich einem anderen",
                what: "Bild {n} ist gleich einem anderen",
                why: "Eine Seite des Objekts erscheint doppelt, eine andere fehlt.",
                todo: "Kamera hing oder Teller stand. Wiederholen.",
                was: "war gleich einem anderen.",
                remedy: "Dann wiederholen.",
            },
        ),
        (
            "qc.not-moved",
            Reason {
                short: "Teller stand still",
                what: "Teller stand vor Bild {n} still",
                why: "Eine Seite des Objekts erscheint doppelt, eine andere fehlt.",
                todo: "Prüfen, ob das Objekt den Teller blockiert, dann wiederholen.",
                was: "zeigt, dass der Teller stillstand.",
                remedy: "Prüfen, ob das Objekt den Teller blockiert, dann wiederholen.",
            },
        ),
        (
            "qc.moved-twice",
            Reason {
                short: "Objekt zu weit bewegt",
                what: "Objekt hat sich vor Bild {n} zu weit bewegt",
                why: "Die Drehung springt bei {deg}.",
                todo: "Prüfen, ob das Objekt fest steht und nicht rutscht, dann wiederholen.",
                was: "zeigt, dass sich das Objekt zu weit bewegte.",
                remedy: "Prüfen, ob das Objekt fest steht, dann wiederholen.",
            },
        ),
        (
            "qc.loop",
            Reason {
                short: "Drehung schließt nicht",
                what: "Nach der Drehung steht das Objekt nicht wie in Bild {n}",
                why: "Einzelne Bilder können das Objekt aus falschem Winkel zeigen.",
                todo: "Prüfen, dass nichts rutscht, dann die Drehung neu beginnen.",
                was: "passt nicht zum Ende der Drehung.",
                remedy: "Prüfen, dass nichts rutscht, dann die Drehung neu beginnen.",
            },
        ),
        (
            "qc.framing",
            Reason {
                short: "schlecht im Bild",
                what: "Objekt ist in Bild {n} schlecht im Bild",
                why: "Bei {deg} ist ein Teil abgeschnitten, oder das Objekt ist klein oder steht am Rand.",
                todo: "Objekt in die Mitte des Tellers rücken, dann neu starten. Kommt es wieder, Technik rufen.",
                was: "zeigt das Objekt schlecht.",
                remedy: "Objekt in die Mitte des Tellers rücken, dann neu starten.",
            },
        ),
        (
            "qc.dirt",
            Reason {
                short: "Schmutz auf der Linse",
                what: "Bild {n} zeigt Schmutz auf der Linse",
                why: "Dieselben Flecken sind in jedem Bild der Kamera {camera}.",
                todo: "Linse der Kamera {camera} reinigen, dann wiederholen. Bleiben die Flecken, Technik rufen.",
                was: "zeigte Schmutz auf der Linse.",
                remedy: "Linse reinigen, dann wiederholen.",
            },
        ),
        (
            "qc.dead-pixels",
            Reason {
                short: "tote Bildpunkte",
                what: "Bild {n} zeigt tote Bildpunkte",
                why: "Dieselben hellen oder dunklen Punkte sind in jedem Bild der Kamera {camera}.",
                todo: "Technik rufen: Kamera {camera} braucht Wartung. Weiterarbeiten ist möglich.",
                was: "zeigte tote Bildpunkte der Kamera.",
                remedy: "Technik rufen, dann wiederholen.",
            },
        ),
        (
            "qc.near-duplicate",
            Reason {
                short: "ähnelt einem anderen",
                what: "Bild {n} ähnelt einem anderen",
                why: "Eine Seite des Objekts erscheint vielleicht doppelt.",
                todo: "Prüfen, ob der Teller drehte, dann wiederholen. Sieht das Objekt von allen Seiten gleich aus, ist es kein Fehler.",
                was: "ähnelt einem anderen.",
                remedy: "Prüfen, ob der Teller drehte, dann wiederholen.",
            },
        ),
        (
            "qc.size",
            Reason {
                short: "falsche Größe",
                what: "Bild {n} hat die falsche Größe",
                why: "Die Drehung springt bei {deg}.",
                todo: "Wiederholen. Kommt es wieder, Technik rufen: Kamera {camera} behält ihre Einstellungen nicht.",
                was: "hatte die falsche Größe.",
                remedy: "Dann wiederholen. Kommt es wieder, Technik rufen.",
            },
        ),
        (
            "qc.corrupt",
            Reason {
                short: "beschädigt",
                what: "Bild {n} ist beschädigt",
                why: "Bei {deg} fehlt ein Teil des Bildes.",
                todo: "Kabel der Kamera {camera} prüfen, dann wiederholen.",
                was: "war beschädigt.",
                remedy: "Kabel der Kamera prüfen, dann wiederholen.",
            },
        ),
        (
            "qc.too-large",
            Reason {
                short: "Datei zu groß",
                what: "Bild {n} ist zu groß für die Prüfung",
                why: "Niemand weiß, ob es gut ist.",
                todo: "Technik rufen: Kamera {camera} muss auf kleinere Bilder gestellt werden.",
                was: "war zu groß für die Prüfung.",
                remedy: "Technik rufen: Die Kamera muss auf kleinere Bilder gestellt werden.",
            },
        ),
        (
            "qc.format",
            Reason {
                short: "kein JPEG",
                what: "Bild {n} lässt sich in dieser Art nicht prüfen",
                why: "Niemand weiß, ob es gut ist.",
                todo: "Technik rufen: Kamera {camera} muss auf JPEG gestellt werden.",
                was: "ließ sich nicht prüfen.",
                remedy: "Technik rufen: Die Kamera muss auf JPEG gestellt werden.",
            },
        ),
    ],
    other: Reason {
        short: "auffällig",
        what: "Bild {n} ist auffällig",
        why: "Die Drehung hat bei {deg} einen Fehler.",
        todo: "Wiederholen; kommt es wieder, Technik rufen.",
        was: "war auffällig.",
        remedy: "Dann wiederholen.",
    },
};
