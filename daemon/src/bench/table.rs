//! The table: a row for each figure, with its limit and whether it is kept.

use std::fmt;

use serde::Serialize;

use super::measure;

/// Why there is no figure: what was tried, and what the system said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unmeasured(pub String);

impl Unmeasured {
    /// For `map_err`: it failed to do this.
    pub fn at<E: fmt::Display>(tried: &str) -> impl Fn(E) -> Self {
        move |cause| Self(format!("cannot {tried}: {cause}"))
    }
}

/// How a figure stands to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Within.
    Ok,
    /// Over.
    Over,
    /// No limit: printed beside the others.
    Beside,
    /// No figure.
    Unmeasured,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which, for people.
    pub what: String,
    /// The figure in `unit`.
    pub value: Option<f64>,
    /// What the figure is counted in; `x` for a ratio.
    pub unit: &'static str,
    /// Most that is allowed, in `unit`.
    pub limit: Option<f64>,
    /// How they stand.
    pub verdict: Verdict,
    /// How it came about: absolute times, spread; or why there is no figure.
    pub note: String,
}

impl Row {
    /// A figure that must not exceed `limit`.
    pub fn limited(what: &str, (value, unit): (f64, &'static str), limit: f64, note: String) -> Self {
        let verdict = if value <= limit { Verdict::Ok } else { Verdict::Over };
        Self { what: what.to_owned(), value: Some(value), unit, limit: Some(limit), verdict, note }
    }

    /// A figure without a limit.
    pub fn beside(what: &str, (value, unit): (f64, &'static str), note: String) -> Self {
        let (what, value) = (what.to_owned(), Some(value));
        Self { what, value, unit, limit: None, verdict: Verdict::Beside, note }
    }

    /// No figure.
    pub fn unmeasured(what: &str, why: Unmeasured) -> Self {
        let what = what.to_owned();
        Self { what, value: None, unit: "", limit: None, verdict: Verdict::Unmeasured, note: why.0 }
    }
}

impl Row {
    /// Figure, limit and verdict as they are shown; empty where there is none.
    pub fn figures(&self) -> [String; 3] {
        let shown = |value: Option<f64>| value.map(|value| format!("{value:.2} {}", self.unit));
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Over => "OVER",
            Verdict::Beside => "",
            Verdict::Unmeasured => "not measured",
        };
        [shown(self.value).unwrap_or_default(), shown(self.limit).unwrap_or_default(), verdict.to_owned()]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [value, limit, verdict] = self.figures();
        match self.verdict {
            Verdict::Unmeasured => write!(f, "{:<48}  {verdict}: {}", self.what, self.note),
            _ => write!(f, "{:<48} {value:>11} {limit:>11}  {verdict:<4}  {}", self.what, self.note),
        }
    }
}

/// All figures, and how busy the machine was.
pub struct Table {
    /// In the order of measuring.
    pub rows: Vec<Row>,
    load_before: f64,
    load_after: f64,
}

impl Table {
    /// An empty one; notes the load before anything runs.
    pub fn new() -> Self {
        let load = measure::load();
        Self { rows: Vec::new(), load_before: load, load_after: load }
    }

    /// Notes the load after everything has run.
    pub fn end(&mut self) {
        self.load_after = measure::load();
    }

    /// Which program on which machine, and how busy it was; two lines.
    pub fn head(&self) -> String {
        format!(
            "turnstage {}, {}\nload average {:.1} before, {:.1} after (the benchmark's own included)",
            env!("CARGO_PKG_VERSION"),
            measure::machine(),
            self.load_before,
            self.load_after,
        )
    }

    /// No figure is over its limit.
    pub fn is_within(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Over)
    }

    /// To stdout.
    pub fn print(&self, json: bool) {
        if json {
            let head = serde_json::json!({
                "machine": measure::machine(),
                "version": env!("CARGO_PKG_VERSION"),
                "load_before": self.load_before,
                "load_after": self.load_after,
            });
            println!("{head}");
            for row in &self.rows {
                println!("{}", serde_json::json!(row));
            }
            return;
        }
        println!("{}", self.head());
        println!();
        println!("{:<48} {:>11} {:>11}", "", "measured", "limit");
        self.rows.iter().for_each(|row| println!("{}", row.to_string().trim_end()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_at_its_limit_is_ok_and_one_above_is_over() {
        let row = |value| Row::limited("a", (value, "x"), 1.3, String::new());
        assert_eq!((row(1.3).verdict, row(1.301).verdict), (Verdict::Ok, Verdict::Over));
    }

    #[test]
    fn what_could_not_be_measured_is_not_over() {
        let mut table = Table::new();
        table.rows.push(Row::unmeasured("put", Unmeasured("install strace".to_owned())));
        assert!(table.is_within());
        table.rows.push(Row::limited("a", (2.0, "x"), 1.0, String::new()));
        assert!(!table.is_within());
    }

    #[test]
    fn a_row_shows_figure_limit_verdict_and_reason() {
        let row = Row::limited("core record", (1.214, "x"), 1.3, "25 ms to 20 ms".to_owned()).to_string();
        for part in ["core record", "1.21 x", "1.30 x", "ok", "25 ms to 20 ms"] {
            assert!(row.contains(part), "{part} in {row}");
        }
        let row = Row::unmeasured("put", Unmeasured("install strace".to_owned())).to_string();
        assert!(row.contains("not measured") && row.contains("install strace"), "{row}");
    }
}
