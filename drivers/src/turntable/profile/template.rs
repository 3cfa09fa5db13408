//! Command templates: the text that a table takes, with what differs from move to move in braces.

/// A command, read from `+CT,TURNANGLE={deg:0};`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    /// Degrees with their sign, and so many digits after the point.
    Deg(usize),
    /// Degrees without their sign.
    AbsDeg(usize),
    /// Steps with their sign.
    Steps,
    /// Steps without their sign, zeros in front up to so many digits.
    AbsSteps(usize),
    /// One of two words: forward, backward.
    Dir(String, String),
    /// Speed in the profile's unit.
    Speed(usize),
    /// Tilt in degrees.
    Tilt(usize),
}

/// What goes into a template.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Values {
    /// Degrees as the table counts them.
    pub deg: f64,
    /// Steps as the table counts them.
    pub steps: i64,
    /// Counter-clockwise seen from above.
    pub forward: bool,
    /// Speed in the profile's unit.
    pub speed: f64,
    /// Tilt in degrees.
    pub tilt: f64,
}

impl Template {
    /// Reads a template. The error names what cannot be read and what could stand there.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, tail)) = rest.split_once('{') {
            let (inner, after) =
                tail.split_once('}').ok_or_else(|| format!("\"{text}\" has a {{ without its }}"))?;
            pieces.push(Piece::Text(plain.to_owned()));
            pieces.push(piece(inner).ok_or_else(|| {
                format!(
                    "{{{inner}}} in \"{text}\" is none of {{deg:2}}, {{absdeg:2}}, {{steps}}, {{abssteps:4}}, \
                     {{dir:forward|backward}}, {{speed:0}}, {{tilt:0}}"
                )
            })?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text for these values.
    pub fn fill(&self, values: &Values) -> String {
        let write = |piece: &Piece| match piece {
            Piece::Text(plain) => plain.clone(),
            Piece::Deg(digits) => format!("{:.*}", digits, positive_zero(values.deg, *digits)),
            Piece::AbsDeg(digits) => format!("{:.*}", digits, values.deg.abs()),
            Piece::Steps => values.steps.to_string(),
            Piece::AbsSteps(width) => format!("{:0width$}", values.steps.unsigned_abs()),
            Piece::Dir(forward, backward) => (if values.forward { forward } else { backward }).clone(),
            Piece::Speed(digits) => format!("{:.*}", digits, values.speed),
            Piece::Tilt(digits) => format!("{:.*}", digits, positive_zero(values.tilt, *digits)),
        };
        self.0.iter().map(write).collect()
    }

    /// It counts in steps, so that steps a turn must be known.
    pub fn counts_steps(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Steps | Piece::AbsSteps(_)))
    }

    /// The speed of a move stands in the command itself.
    pub fn tells_speed(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Speed(_)))
    }

    /// It can only say how far, not which way.
    pub fn is_one_way(&self) -> bool {
        let counts = |piece: &Piece| matches!(piece, Piece::AbsDeg(_) | Piece::AbsSteps(_));
        self.0.iter().any(counts) && !self.0.iter().any(|piece| matches!(piece, Piece::Dir(..)))
    }

    /// The text of a template in which nothing differs.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }
}

/// `-0` would be another text than the table knows.
fn positive_zero(value: f64, digits: usize) -> f64 {
    let half = 0.5 * 10f64.powi(-(digits.min(9) as i32));
    if value.abs() < half { 0.0 } else { value }
}

fn piece(inner: &str) -> Option<Piece> {
    let (name, format) = inner.split_once(':').unwrap_or((inner, ""));
    let digits = |default: usize| match format {
        "" => Some(default),
        digits => digits.parse().ok().filter(|n| *n <= 9),
    };
    Some(match name {
        "deg" => Piece::Deg(digits(2)?),
        "absdeg" => Piece::AbsDeg(digits(2)?),
        "steps" if format.is_empty() => Piece::Steps,
        "abssteps" => Piece::AbsSteps(digits(1)?),
        "dir" => {
            let (forward, backward) = format.split_once('|')?;
            Piece::Dir(forward.to_owned(), backward.to_owned())
        }
        "speed" => Piece::Speed(digits(0)?),
        "tilt" => Piece::Tilt(digits(0)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, values: Values) -> String {
        Template::read(text).unwrap().fill(&values)
    }

    #[test]
    fn commands_are_written_as_the_tables_want_them() {
        let values = Values { deg: -22.5, steps: -128, forward: false, speed: 1200.4, tilt: -0.2 };
        assert_eq!(fill("+CT,TURNANGLE={deg:0};", Values { deg: 10.4, ..values }), "+CT,TURNANGLE=10;");
        assert_eq!(fill("CT+TURNSINGLE({dir:1|0},{absdeg:2});", values), "CT+TURNSINGLE(0,22.50);");
        assert_eq!(fill("x{abssteps:4}", values), "x0128");
        assert_eq!(fill("#p{steps}.", values), "#p-128.");
        assert_eq!(fill("G1 A{deg:3} F{speed}\n", values), "G1 A-22.500 F1200\n");
        assert_eq!(fill("+CR,TILTVALUE={tilt};", values), "+CR,TILTVALUE=0;");
    }

    #[test]
    fn a_template_that_cannot_be_read_says_what_could_stand_there() {
        for wrong in ["{degree}", "x{abssteps:w4}", "{deg:99}", "{dir:1}", "{steps:3}", "{deg"] {
            let what = Template::read(wrong).unwrap_err();
            assert!(what.contains(wrong), "{what}");
        }
        assert!(Template::read("x{abssteps:4}").unwrap().is_one_way());
        assert!(!Template::read("#p{steps}.").unwrap().is_one_way());
    }
}
