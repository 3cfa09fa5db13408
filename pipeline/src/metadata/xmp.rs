//! The station's own fields in an XMP packet. What others wrote there stays byte for byte.
//!
//! Ours are one `rdf:Description` of their own, put before the end of the packet's RDF and taken out again as a whole
//! when a picture is written once more. Names and meaning: `docs/metadata.md`.

use std::collections::BTreeMap;

use super::MetadataError;

/// The namespace of our fields.
pub const NAMESPACE: &str = "https://turnstage.dev/ns/capture/1.0/";
/// Every field, in the order in which they are written.
pub const FIELDS: [&str; 15] = [
    "session",
    "item",
    "camera",
    "shot",
    "take",
    "angleCommanded",
    "angleReached",
    "exposedAt",
    "exposureTime",
    "fNumber",
    "iso",
    "make",
    "model",
    "lens",
    "software",
];

/// What a segment with a packet begins with.
pub(super) const PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Written first where a character has two.
const ENTITIES: [(&str, char); 12] = [
    ("&amp;", '&'),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&apos;", '\''),
    ("&#9;", '\t'),
    ("&#10;", '\n'),
    ("&#13;", '\r'),
    ("&#39;", '\''),
    ("&#x9;", '\t'),
    ("&#xA;", '\n'),
    ("&#xD;", '\r'),
];

const OPEN: &str =
    "<rdf:Description rdf:about=\"\" xmlns:turnstage=\"https://turnstage.dev/ns/capture/1.0/\">\n";
const CLOSE: &str = "</rdf:Description>\n";
const END_OF_RDF: &[u8] = b"</rdf:RDF>";
const HEAD: &str = "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\n\
                    <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\n";
const TAIL: &str = "</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end=\"w\"?>";

/// `packet` with our fields in it, or a new packet. Fields of an earlier writing are replaced.
pub(super) fn written(
    packet: Option<&[u8]>,
    fields: &[(&'static str, String)],
) -> Result<Vec<u8>, MetadataError> {
    let mut ours = OPEN.to_owned();
    for (name, value) in fields {
        ours.push_str(&format!("<turnstage:{name}>{}</turnstage:{name}>\n", escaped(value)));
    }
    ours.push_str(CLOSE);
    let Some(packet) = packet else { return Ok([HEAD, &ours, TAIL].concat().into_bytes()) };
    let mut packet = packet.to_vec();
    while let Some(from) = place(&packet, OPEN.as_bytes()) {
        let length = place(&packet[from..], CLOSE.as_bytes()).ok_or(MetadataError::Packet)?;
        packet.drain(from..from + length + CLOSE.len());
    }
    let at = last(&packet, END_OF_RDF).ok_or(MetadataError::Packet)?;
    packet.splice(at..at, ours.into_bytes());
    Ok(packet)
}

/// Our fields as found in a packet, by name; of a foreign packet none.
pub(super) fn read(packet: &[u8]) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    if place(packet, NAMESPACE.as_bytes()).is_none() {
        return found;
    }
    for name in FIELDS {
        let open = format!("<turnstage:{name}>");
        // Ours are the last ones, should a damaged packet have others.
        let Some(begin) = last(packet, open.as_bytes()).map(|at| at + open.len()) else { continue };
        let Some(length) = place(&packet[begin..], b"</turnstage:") else { continue };
        let text = String::from_utf8_lossy(&packet[begin..begin + length]);
        found.insert(name, unescaped(&text));
    }
    found
}

fn place(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

/// Text as content of an XML element. A character that XML 1.0 (2.2) has no way to write becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match ENTITIES.iter().find(|(_, meant)| *meant == c) {
            Some((entity, _)) => out.push_str(entity),
            None if matches!(c, '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            None => out.push(c),
        }
    }
    out
}

/// Reverses [`escaped`]; an entity that it does not write stays as it is.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity));
        let (entity, c) = known.unwrap_or(&("&", '&'));
        out.push(*c);
        rest = &rest[entity.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOREIGN: &str = "<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'>\
        <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
        <rdf:Description rdf:about='' xmlns:dc='d'><dc:title>a</dc:title></rdf:Description>\
        </rdf:RDF></x:xmpmeta>        <?xpacket end='w'?>";

    #[test]
    fn a_foreign_packet_stays_as_it_is_around_ours() {
        let once = written(Some(FOREIGN.as_bytes()), &[("item", "A & B".to_owned())]).unwrap();
        let text = String::from_utf8(once.clone()).unwrap();
        let (before, rest) = text.split_once(OPEN).unwrap();
        let (_, after) = rest.split_once(CLOSE).unwrap();
        assert_eq!(format!("{before}{after}"), FOREIGN);
        assert_eq!(read(&once), BTreeMap::from([("item", "A & B".to_owned())]));
    }

    #[test]
    fn what_is_written_again_replaces_what_was_written() {
        let first = written(Some(FOREIGN.as_bytes()), &[("item", "old".to_owned())]).unwrap();
        let fields = [("item", "new".to_owned()), ("take", "2".to_owned())];
        let second = written(Some(&first), &fields).unwrap();
        assert_eq!(second, written(Some(FOREIGN.as_bytes()), &fields).unwrap());
        assert_eq!(written(Some(&second), &fields).unwrap(), second);
    }

    #[test]
    fn a_packet_without_an_end_is_left_alone() {
        assert!(matches!(written(Some(b"<rdf:RDF"), &[]), Err(MetadataError::Packet)));
        assert!(matches!(written(Some(OPEN.as_bytes()), &[]), Err(MetadataError::Packet)));
        assert_eq!(read(b"<turnstage:item>somebody else's</turnstage:item>"), BTreeMap::new());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_comes_back_as_far_as_xml_can_say_it(text in any::<String>()) {
            let packet = written(None, &[("item", text.clone())]).unwrap();
            let sayable = |c: char| match c {
                '\t' | '\n' | '\r' => c,
                '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                c => c,
            };
            let expected: String = text.chars().map(sayable).collect();
            prop_assert_eq!(read(&packet)["item"].clone(), expected);
        }
    }
}
