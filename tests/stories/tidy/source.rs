//! Rust text, looked at just closely enough for rules about it: no parser and no dependency.
//!
//! Comments and literals are blanked first, so that every brace and word that is left is code. What is blanked keeps
//! its length and its line breaks: a place found in [`Source::code`] is the same place in the file.

use std::ops::Range;
use std::path::Path;

/// One Rust file.
pub struct Source {
    /// Path below the repository's root, with `/`.
    pub path: String,
    /// As written.
    pub text: String,
    /// With comments and literals blanked.
    pub code: String,
}

/// A function with a body.
pub struct Function {
    /// Its name.
    pub name: String,
    /// From `fn` to its last brace, as places in the code.
    pub span: Range<usize>,
    /// Its attributes and qualifiers.
    pub header: String,
}

impl Source {
    /// Takes a file's text apart.
    pub fn new(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), code: code_only(&text), text }
    }

    /// Reads one file below `root`.
    pub fn read(root: &Path, path: &str) -> Self {
        Self::new(path, std::fs::read_to_string(root.join(path)).expect("a source file is readable text"))
    }

    /// The whole file is about testing.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// Code that ships: without modules under `#[cfg(test)]`.
    pub fn product(&self) -> String {
        let mut code = self.code.clone();
        for span in inline_tests(&self.code) {
            code.replace_range(span.clone(), &blanked(&self.code[span]));
        }
        code
    }

    /// Number of the line that `place` is on, from 1.
    pub fn line(&self, place: usize) -> usize {
        1 + newlines(&self.code[..place])
    }

    /// Lines of the file but for its inline test modules.
    pub fn length(&self) -> usize {
        let tests: usize = inline_tests(&self.code).map(|span| 1 + newlines(&self.code[span])).sum();
        self.text.lines().count() - tests
    }

    /// Every function with a body, nested ones too.
    pub fn functions(&self) -> impl Iterator<Item = Function> + '_ {
        words(&self.code, "fn ").filter_map(|start| function(&self.code, start))
    }
}

/// Places where `word` stands on its own: no letter, digit or `_` before it.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(place, _)| place).filter(|place| !ends_in_name(&code[..*place]))
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

fn ends_in_name(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// As many blanks as the text has bytes, line breaks kept.
fn blanked(text: &str) -> String {
    let blank = |byte| if byte == b'\n' { '\n' } else { ' ' };
    text.bytes().map(blank).collect()
}

fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = comment(rest).or_else(|| literal(rest, ends_in_name(&code))).unwrap_or(0);
        let (taken, left) = rest.split_at(blank.max(first.len_utf8()));
        code += &if blank > 0 { blanked(taken) } else { taken.to_owned() };
        rest = left;
    }
    code
}

/// Bytes of the comment that begins here.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// Bytes of the string or character literal that begins here; a lifetime is none.
fn literal(rest: &str, in_name: bool) -> Option<usize> {
    if let Some(inner) = rest.strip_prefix('"') {
        return Some(1 + end_of_string(inner));
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut chars = inner.chars();
        let first = chars.next()?;
        let quote = if first == '\\' { 2 + inner.get(2..)?.find('\'')? } else { first.len_utf8() };
        return inner.get(quote..)?.starts_with('\'').then_some(quote + 2);
    }
    let raw = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r').filter(|_| !in_name)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let inner = raw[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - inner.len();
    Some(inner.find(&end).map_or(rest.len(), |found| start + found + end.len()))
}

fn end_of_string(inner: &str) -> usize {
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    inner.len()
}

fn function(code: &str, start: usize) -> Option<Function> {
    let name: String =
        code[start + 3..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let open = start + body(&code[start..])?;
    let end = open + block(&code[open..]);
    let header = code[..start].rfind(['{', '}', ';']).map_or(0, |before| before + 1);
    (!name.is_empty()).then(|| Function { name, span: start..end, header: code[header..start].to_owned() })
}

/// Where the body's brace is; none for a declaration that ends in `;`.
fn body(signature: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Length of the block that begins with the brace at the start of `code`.
fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Modules under `#[cfg(test)]` that are written in the file itself.
fn inline_tests(code: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    code.match_indices("#[cfg(test)]").filter_map(|(start, marker)| {
        let mut item = code[start + marker.len()..].trim_start();
        while item.starts_with("#[") {
            item = item[item.find(']')? + 1..].trim_start();
        }
        let open = code.len() - item.len() + body(item.strip_prefix("mod ").map(|_| item)?)?;
        Some(start..open + block(&code[open..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("daemon/src/x.rs", text.to_owned())
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a // {\n/* { /* \" */ } */ b \"}\\\"{\" c '{' '\\'' '\\u{7d}' r#\"\"{\"# br\"{\" <'d> e";
        let code = source(text).code;
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "<'d>", "e"]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn a_raw_identifier_and_a_name_that_ends_in_r_are_code() {
        assert_eq!(source("r#fn(number\"x\") ").code.trim_end(), "r#fn(number   )");
    }

    #[test]
    fn functions_are_found_with_their_length_and_header() {
        let source = source(
            "trait T { fn declared(&self) -> [u8; 4]; }\n#[test]\nasync fn long(\n  f: fn(u8) -> u8,\n) -> [u8; 2] {\n  fn inner() {}\n}\n",
        );
        let found: Vec<_> = source.functions().collect();
        let names: Vec<_> = found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["long", "inner"]);
        assert_eq!(source.line(found[0].span.start), 3);
        assert_eq!(newlines(&source.code[found[0].span.clone()]), 4);
        assert!(found[0].header.contains("#[test]"));
    }

    #[test]
    fn inline_test_modules_are_no_product_and_cost_no_lines() {
        let source = source(
            "fn ships() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n  fn hidden() {}\n}\nfn too() {}\n#[cfg(test)]\nmod elsewhere;\n",
        );
        assert_eq!(source.length(), 4);
        let product = source.product();
        assert!(product.contains("ships") && product.contains("too") && !product.contains("hidden"));
        assert_eq!(product.lines().count(), source.text.lines().count());
    }
}
