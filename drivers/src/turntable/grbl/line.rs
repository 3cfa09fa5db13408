//! What a GRBL controller says, line by line: nothing here waits, sends or believes.
//!
//! Source of the grammar: the GRBL 1.1 interface document. grblHAL and FluidNC add fields and banners, so a status
//! report is read by the names of its fields, and what is not understood is [`Line::Other`].

/// Axes in the order in which reports and settings count them.
pub(super) const AXES: [char; 6] = ['x', 'y', 'z', 'a', 'b', 'c'];
/// A longer line is noise: a board that boots, a wrong baud rate.
const LINE_BYTES_MAX: usize = 512;

/// One coordinate an axis, in the order of [`AXES`]; as many as the controller has.
pub(super) type Axes = Vec<f64>;

/// One line of a controller.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// A line of ours was taken: not that its motion has ended.
    Ok,
    /// A line of ours was refused, with GRBL's number.
    Error(u16),
    /// It locked itself up, with GRBL's number.
    Alarm(u16),
    /// Answer to `?`.
    Status(Status),
    /// It has just started, with how it calls itself.
    Banner(String),
    /// `[VER:…]`: its version.
    Version(String),
    /// `$100=…`: a setting.
    Setting(u16, f64),
    /// Anything else, such as `[MSG:…]`.
    Other(String),
}

/// Where it is and what it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) state: State,
    /// Machine position.
    pub(super) machine: Option<Axes>,
    /// Position in the work coordinates: the machine's less the offset.
    pub(super) work: Option<Axes>,
    /// Work offset, told now and then only.
    pub(super) offset: Option<Axes>,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Run,
    /// Held; `true` when it has come to rest.
    Hold(bool),
    Jog,
    Alarm,
    Door,
    Home,
    /// Checking, sleeping, changing a tool: it stands and takes no motion.
    Away,
}

/// Cuts a stream of bytes into lines. Empty ones are dropped, endless ones too.
#[derive(Debug, Default)]
pub(super) struct Framer {
    left: Vec<u8>,
    /// The line under way is too long: it is dropped up to its end.
    overlong: bool,
}

impl Framer {
    /// Takes bytes as they came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.left.extend_from_slice(bytes);
    }

    /// The next whole line, if there is one.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let Some(end) = self.left.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                if self.left.len() > LINE_BYTES_MAX {
                    self.left.clear();
                    self.overlong = true;
                }
                return None;
            };
            let line: Vec<u8> = self.left.drain(..=end).collect();
            let overlong = std::mem::take(&mut self.overlong) || line.len() > LINE_BYTES_MAX;
            let text = String::from_utf8_lossy(&line[..end]);
            let text = text.trim();
            if !text.is_empty() && !overlong {
                return Some(parse(text));
            }
        }
    }
}

/// Reads one line without its end.
pub(super) fn parse(text: &str) -> Line {
    read(text).unwrap_or_else(|| Line::Other(text.to_owned()))
}

fn read(text: &str) -> Option<Line> {
    if text == "ok" {
        return Some(Line::Ok);
    }
    if let Some(code) = text.strip_prefix("error:") {
        return code.trim().parse().ok().map(Line::Error);
    }
    if let Some(code) = text.strip_prefix("ALARM:") {
        return code.trim().parse().ok().map(Line::Alarm);
    }
    if let Some(report) = text.strip_prefix('<') {
        return status(report.strip_suffix('>')?).map(Line::Status);
    }
    if let Some(version) = text.strip_prefix("[VER:") {
        return Some(Line::Version(version.strip_suffix(']')?.trim_end_matches(':').to_owned()));
    }
    if let Some(setting) = text.strip_prefix('$') {
        let (number, value) = setting.split_once('=')?;
        // Some builds write what a setting means behind it.
        let value = value.split_whitespace().next()?;
        return Some(Line::Setting(number.parse().ok()?, finite(value)?));
    }
    let named = text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("grbl"));
    // "Grbl 1.1h ['$' for help]", "GrblHAL 1.1f ['$' or '$HELP' for help]", "Grbl 3.7 [FluidNC v3.7.12 '$' for help]"
    (named && text.contains("for help]")).then(|| {
        let help = text.find("['$").or_else(|| text.find("'$")).unwrap_or(text.len());
        Line::Banner(text[..help].trim_end_matches([' ', '[']).to_owned())
    })
}

fn status(report: &str) -> Option<Status> {
    let mut fields = report.split('|');
    let state = state(fields.next()?)?;
    let mut status = Status { state, machine: None, work: None, offset: None };
    for field in fields {
        match field.split_once(':') {
            Some(("MPos", axes)) => status.machine = Some(coordinates(axes)?),
            Some(("WPos", axes)) => status.work = Some(coordinates(axes)?),
            Some(("WCO", axes)) => status.offset = Some(coordinates(axes)?),
            _ => {}
        }
    }
    Some(status)
}

fn state(text: &str) -> Option<State> {
    let (name, sub) = text.split_once(':').map_or((text, None), |(name, sub)| (name, Some(sub)));
    Some(match name {
        "Idle" => State::Idle,
        "Run" => State::Run,
        "Hold" => State::Hold(sub == Some("0")),
        "Jog" => State::Jog,
        "Alarm" => State::Alarm,
        "Door" => State::Door,
        "Home" => State::Home,
        "Check" | "Sleep" | "Tool" => State::Away,
        _ => return None,
    })
}

fn coordinates(text: &str) -> Option<Axes> {
    let axes = text.split(',').map(finite).collect::<Option<Axes>>()?;
    (axes.len() <= AXES.len()).then_some(axes)
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut framer = Framer::default();
        framer.push(bytes);
        std::iter::from_fn(|| framer.next()).collect()
    }

    #[test]
    fn a_status_report_is_read_by_the_names_of_its_fields() {
        let Line::Status(status) =
            parse("<Run|WPos:1.5,-2.000,0.000|Bf:15,128|FS:900,0|WCO:10.0,0.0,0.0|Pn:P>")
        else {
            panic!("not a status")
        };
        assert_eq!(status.state, State::Run);
        assert_eq!(status.machine, None);
        assert_eq!(status.work, Some(vec![1.5, -2.0, 0.0]));
        assert_eq!(status.offset, Some(vec![10.0, 0.0, 0.0]));
        assert!(matches!(parse("<Hold:0|MPos:1.0|FS:0,0>"), Line::Status(s) if s.state == State::Hold(true)));
        assert!(
            matches!(parse("<Hold:1|MPos:1.0|FS:0,0>"), Line::Status(s) if s.state == State::Hold(false))
        );
    }

    #[test]
    fn every_banner_in_the_field_is_known_for_one() {
        for (said, name) in [
            ("Grbl 1.1h ['$' for help]", "Grbl 1.1h"),
            ("GrblHAL 1.1f ['$' or '$HELP' for help]", "GrblHAL 1.1f"),
            ("Grbl 3.7 [FluidNC v3.7.12 (wifi) '$' for help]", "Grbl 3.7 [FluidNC v3.7.12 (wifi)"),
        ] {
            assert_eq!(parse(said), Line::Banner(name.to_owned()));
        }
        assert!(matches!(parse("Marlin 2.1 ready"), Line::Other(_)));
    }

    #[test]
    fn what_is_not_whole_or_not_a_number_is_nothing_to_act_on() {
        for noise in
            ["<Idle|MPos:1.0,nan>", "<Idle|MPos:1.0", "ALARM:x", "error:", "$100=steps", "OK", "<>", "$="]
        {
            assert!(matches!(parse(noise), Line::Other(_)), "{noise}");
        }
    }

    #[test]
    fn lines_are_found_among_boot_noise_and_line_ends_of_every_kind() {
        let mut bytes = b"\xff\xfe\x00rst:0xc\r\n\r\nGrbl 1.1h ['$' for help]\r\nok\n$100=8.889\n".to_vec();
        assert_eq!(
            lines(&bytes)[1..],
            [Line::Banner("Grbl 1.1h".to_owned()), Line::Ok, Line::Setting(100, 8.889)]
        );
        bytes = [vec![b'z'; 4000], b"ok\nok\n".to_vec()].concat();
        assert_eq!(lines(&bytes), [Line::Ok], "a line without end takes only itself along");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            lines(&bytes);
        }

        #[test]
        fn foreign_text_within_the_grammar_never_panics(
            text in "(<|\\[VER:|\\$|ALARM:|error:|Grbl|ok)[ -~é\n]{0,60}(>|\\]|for help\\])?\n",
        ) {
            lines(text.as_bytes());
        }

        #[test]
        fn lines_do_not_depend_on_how_they_are_cut(cut in 0usize..60) {
            let whole = b"<Idle|MPos:1.000,2.000,3.000|FS:0,0>\r\nok\r\nerror:9\r\nALARM:3\r\n";
            let mut framer = Framer::default();
            let mut found = Vec::new();
            for part in [&whole[..cut], &whole[cut..]] {
                framer.push(part);
                found.extend(std::iter::from_fn(|| framer.next()));
            }
            prop_assert_eq!(found, lines(whole));
        }
    }
}
