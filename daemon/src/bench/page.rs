//! The page of the documentation that a run writes: its own words around the table that was measured.

use std::path::Path;

use jiff::Timestamp;

use super::table::{Row, Table, Unmeasured};
use crate::clock::SystemClock;

/// The page with places for `{date}`, `{head}` and `{rows}`.
const WORDS: &str = include_str!("page.md");

/// Writes the page whole.
pub fn write(table: &Table, file: &Path) -> Result<(), Unmeasured> {
    let tried = format!("write {}", file.display());
    let now =
        Timestamp::from_millisecond(SystemClock::new().now().wall_ms).map_err(Unmeasured::at(&tried))?;
    let date = now.strftime("%-d %B %Y").to_string();
    std::fs::write(file, filled(table, &date)).map_err(Unmeasured::at(&tried))
}

fn filled(table: &Table, date: &str) -> String {
    let rows: String = table.rows.iter().map(line).collect();
    WORDS.replace("{date}", date).replace("{head}", &table.head()).replace("{rows}", rows.trim_end())
}

fn line(row: &Row) -> String {
    let [value, limit, verdict] = row.figures();
    let cells = [row.what.as_str(), &value, &limit, &verdict, &row.note].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_date_its_machine_and_every_row() {
        let mut table = Table::new();
        table.rows.push(Row::limited("core record", (1.214, "x"), 1.3, "25 ms | 20 ms".to_owned()));
        table.rows.push(Row::unmeasured("libvips", Unmeasured("no module".to_owned())));
        let page = filled(&table, "1 May 2027");
        assert!(page.contains("| core record | 1.21 x | 1.30 x | ok | 25 ms \\| 20 ms |\n"), "{page}");
        assert!(page.contains("| libvips |  |  | not measured | no module |"), "{page}");
        assert!(page.contains("1 May 2027") && page.contains(&table.head()), "{page}");
        assert!(!page.contains('{'), "a place was left open: {page}");
    }
}
