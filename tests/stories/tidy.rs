//! House rules that a script can see, so that people need not: size, order, and what may stand where.
//!
//! Every rule looks at the files of the checkout as text and says path, line and what to do. An exception is a line
//! in [`ONLY_IN`], with its reason beside it.

mod source;

use std::path::{Path, PathBuf};

use source::{Function, Source, words};

/// Lines of a Rust file without its inline tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function from `fn` to its last brace.
const FUNCTION_LINES_MAX: usize = 70;
/// May wait: another process that is watched from outside has no event to wait for; the others are doubles that take
/// their time in tests whose clock is paused, which a reader of single functions cannot see.
const MAY_SLEEP: &[&str] = &[
    "tests/src/browser.rs",
    "tests/src/lib.rs",
    "cloud-sync/src/uploader/tests.rs",
    "hw-tests/tests/liars/main.rs",
    "drivers/src/camera/gphoto2/tests/dslr.rs",
];
/// Their functions may be long: one match over every situation, so that the compiler misses no sentence.
const TABLES: &[&str] = &["daemon/src/words/"];
/// Names that say nothing about what is in a file.
const EMPTY_NAMES: &[&str] = &["common.rs", "helpers.rs", "manager.rs", "misc.rs", "util.rs", "utils.rs"];

/// Words that product code below `under` may use in the files that begin with one of `allowed` only.
struct OnlyIn {
    words: &'static [&'static str],
    under: &'static str,
    allowed: &'static [&'static str],
    why: &'static str,
}

const ONLY_IN: &[OnlyIn] = &[
    OnlyIn {
        words: &["sled::", "use sled;"],
        under: "",
        allowed: &["cloud-sync/src/store/sled.rs"],
        why: "the index can be exchanged, and what sled needs for durability and repair is in one place",
    },
    OnlyIn {
        words: &["tokio::spawn(", "spawn_local(", ".spawn("],
        under: "",
        // The others spawn threads, not tasks.
        allowed: &[
            "daemon/src/run.rs",
            "drivers/src/camera/on_thread.rs",
            "drivers/src/link/ble",
            // Ends with the helper process, whose thread hears that the station is gone while the camera hangs.
            "drivers/tether/src/serve.rs",
            "cloud-sync/src/spool",
            // Devices of the tests live beside the station, as real ones do.
            "hw-tests/src/wire",
            "hw-tests/fake-v4l2/src",
        ],
        why: "the tasks start in one place and end together",
    },
    OnlyIn {
        words: &["thread::spawn(", "thread::Builder"],
        under: "",
        allowed: &[
            "drivers/src/camera/on_thread.rs",
            "drivers/src/link/ble",
            // Ends with the helper process, whose thread hears that the station is gone while the camera hangs.
            "drivers/tether/src/serve.rs",
            "cloud-sync/src/spool",
            "hw-tests/src/wire",
            "hw-tests/fake-v4l2/src",
        ],
        why: "a thread nobody waits for outlives its owner: blocking cameras and the spool's writer have theirs",
    },
    OnlyIn {
        words: &["SystemTime::now", "Timestamp::now", "Zoned::now"],
        under: "",
        allowed: &["daemon/src/clock.rs", "hw-tests/src/main.rs"],
        why: "only the clock knows how far the wall clock can be trusted",
    },
    OnlyIn {
        words: &["anyhow::", "anyhow!(", "bail!("],
        under: "",
        allowed: &["daemon/src/main.rs", "daemon/src/run.rs", "daemon/src/cli", "hw-tests/src/main.rs"],
        why: "only what ends by showing an error may hold one that nobody decides on; elsewhere it is an enum",
    },
    OnlyIn {
        words: &["mpsc::channel()"],
        under: "",
        allowed: &[],
        why: "every queue has a limit: std's sync_channel or tokio's channel",
    },
    OnlyIn {
        words: &["fs::write(", "File::create", "fs::rename(", "fs::remove_", "fs::create_dir"],
        under: "drivers/",
        allowed: &[],
        why: "drivers never writes to the disk",
    },
    OnlyIn {
        words: &["std::net", "tokio::", "Command::new(", "SystemTime", "Instant::now"],
        under: "pipeline/",
        allowed: &[],
        why: "pipeline has no network, no clock, no child process: the same bytes give the same verdict",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// Files of the checkout below `folder` that are not build output, as paths below `root`.
fn files(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the checkout is readable") {
        let entry = entry.expect("the checkout is readable");
        let name = entry.file_name().into_string().expect("names are text");
        let output = name == ".git" || name == "dist" || name == "shared" || name.starts_with("target");
        if entry.file_type().expect("the checkout is readable").is_dir() {
            if !output {
                found.extend(files(root, &entry.path()));
            }
        } else {
            let path = entry.path().strip_prefix(root).expect("below the root").to_owned();
            found.push(path.into_os_string().into_string().expect("names are text"));
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let root = root();
    let rust = |path: &String| path.ends_with(".rs") && !path.contains("/generated/");
    let all: Vec<_> =
        files(&root, &root).into_iter().filter(rust).map(|path| Source::read(&root, &path)).collect();
    assert!(all.len() > 10, "found only {} Rust files below {}", all.len(), root.display());
    all
}

#[track_caller]
fn nothing(found: Vec<String>, what_to_do: &str) {
    assert!(found.is_empty(), "{what_to_do}:\n  {}\n", found.join("\n  "));
}

#[test]
fn no_file_is_too_long_to_read() {
    let long = sources().into_iter().filter(|s| s.length() > FILE_LINES_MAX);
    nothing(
        long.map(|s| format!("{}: {} lines", s.path, s.length())).collect(),
        &format!("split what has more than {FILE_LINES_MAX} lines (inline tests not counted)"),
    );
}

#[test]
fn no_function_is_too_long_to_read() {
    nothing(
        sources()
            .iter()
            .filter(|s| !TABLES.iter().any(|t| s.path.starts_with(t)))
            .flat_map(long_functions)
            .collect(),
        &format!("divide functions of more than {FUNCTION_LINES_MAX} lines"),
    );
}

fn long_functions(source: &Source) -> Vec<String> {
    let lines = |span: &std::ops::Range<usize>| source.line(span.end) - source.line(span.start) + 1;
    let long = source.functions().filter(|f| lines(&f.span) > FUNCTION_LINES_MAX);
    long.map(|f| format!("{}:{}: {} has {}", source.path, source.line(f.span.start), f.name, lines(&f.span)))
        .collect()
}

#[test]
fn no_test_waits_for_real_time_to_pass() {
    nothing(
        sources().iter().flat_map(real_sleeps).collect(),
        "wait for a state, or pause the clock: #[tokio::test(start_paused = true)]",
    );
}

fn real_sleeps(source: &Source) -> Vec<String> {
    if MAY_SLEEP.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let functions: Vec<_> = source.functions().collect();
    let product = source.product();
    let sleeps = ["sleep(", "sleep_until("].into_iter().flat_map(|word| words(&source.code, word));
    sleeps
        .filter(|at| source.is_test() || !product[*at..].starts_with("sleep"))
        .filter(|at| match functions.iter().rfind(|f| f.span.contains(at)) {
            Some(within) if is_test(within) => !is_paused(source, within),
            // A helper may sleep where every asynchronous test of its file has a paused clock.
            _ => {
                let mut tests =
                    functions.iter().filter(|f| is_test(f) && f.header.contains("tokio")).peekable();
                tests.peek().is_none() || !tests.all(|f| is_paused(source, f))
            }
        })
        .map(|at| format!("{}:{}", source.path, source.line(at)))
        .collect()
}

fn is_test(function: &Function) -> bool {
    function.header.contains("test]") || function.header.contains("test(")
}

fn is_paused(source: &Source, function: &Function) -> bool {
    function.header.contains("start_paused") || source.code[function.span.clone()].contains("time::pause()")
}

#[test]
fn some_things_stand_in_one_place_only() {
    nothing(
        sources().iter().flat_map(strays).collect(),
        "move it, or add the file to ONLY_IN in tests/stories/tidy.rs with a reason",
    );
}

fn strays(source: &Source) -> Vec<String> {
    if source.is_test() || !source.path.contains("/src/") {
        return Vec::new();
    }
    let product = source.product();
    let rules = ONLY_IN.iter().filter(|rule| source.path.starts_with(rule.under));
    let rules = rules.filter(|rule| !rule.allowed.iter().any(|allowed| source.path.starts_with(allowed)));
    rules
        .flat_map(|rule| rule.words.iter().map(move |word| (rule, *word)))
        .flat_map(|(rule, word)| {
            // "crate::store::sled::" is ours; "Command::spawn()" starts a process and takes nothing.
            let another = |at: usize| match word {
                "sled::" => product[..at].ends_with("::"),
                ".spawn(" => product[at + word.len()..].starts_with(')'),
                _ => false,
            };
            let all = product.match_indices(word).map(|(at, _)| at);
            let found: Vec<_> = all.filter(|at| !another(*at)).collect();
            found.into_iter().map(move |at| (rule, word, at))
        })
        .map(|(rule, word, at)| format!("{}:{}: \"{word}\": {}", source.path, source.line(at), rule.why))
        .collect()
}

#[test]
fn nothing_is_left_unfinished() {
    nothing(sources().iter().flat_map(unfinished).collect(), "finish it, or describe it in an issue");
}

fn unfinished(source: &Source) -> Vec<String> {
    let code = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[", "ignore")];
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let lines = source.text.lines().zip(source.code.lines()).enumerate();
    lines
        .filter(|(_, (text, left))| {
            code.iter().any(|mark| left.contains(mark))
                || notes.iter().any(|mark| text.split_once("//").is_some_and(|(_, note)| note.contains(mark)))
        })
        .map(|(number, (text, _))| format!("{}:{}: {}", source.path, number + 1, text.trim()))
        .collect()
}

#[test]
fn every_file_is_named_for_what_is_in_it() {
    let empty = |path: &&String| EMPTY_NAMES.iter().any(|name| path.rsplit('/').next() == Some(name));
    let root = root();
    let all = files(&root, &root);
    nothing(all.iter().filter(empty).cloned().collect(), "name the file for the one reason it exists");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let root = root();
    let text =
        [".rs", ".toml", ".md", ".service", ".sh", ".html", ".js", ".css", ".py", "dev", ".ci/run", "build"];
    let mut found = Vec::new();
    for path in files(&root, &root).iter().filter(|path| text.iter().any(|end| path.ends_with(end))) {
        let Ok(content) = std::fs::read_to_string(root.join(path)) else { continue };
        let lines = content.lines().enumerate().filter(|(_, line)| names_a_machine(line));
        found.extend(lines.map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())));
    }
    nothing(found, "use a path below the checkout, a temporary folder or a setting");
}

/// Folders in which people and build machines keep checkouts.
fn names_a_machine(line: &str) -> bool {
    let folders = ["home", "root", "Users", "work"].map(|name| format!("/{name}/"));
    let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}~*)".contains(c));
    folders.iter().any(|folder| line.match_indices(folder.as_str()).any(|(at, _)| begins(at)))
}

#[test]
fn every_driver_has_its_line_among_the_hardware() {
    let page =
        std::fs::read_to_string(root().join("docs/hardware.md")).expect("docs/hardware.md is readable");
    let names: Vec<_> = sources().iter().filter(|s| is_device(&s.path)).flat_map(driver_names).collect();
    assert!(names.contains(&"sim".to_owned()), "no simulator among the drivers: {names:?}");
    let unknown = names.into_iter().filter(|name| !page.contains(&format!("`{name}`")));
    nothing(unknown.collect(), "say in docs/hardware.md what the driver was tried with, as `name`");
}

fn is_device(path: &str) -> bool {
    ["drivers/src/turntable/", "drivers/src/camera/", "drivers/src/io/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// The name in every `Driver { name: … }` of the file's product code: a literal, or a constant of the same file.
fn driver_names(source: &Source) -> Vec<String> {
    let product = source.product();
    let tables = words(&product, "Driver {").filter(|at| !product[..*at].ends_with("struct "));
    tables
        .filter_map(|at| {
            let (_, value) = source.text[at..].split_once("name: ")?;
            if let Some(literal) = value.strip_prefix('"') {
                return literal.split('"').next();
            }
            let constant = format!("const {}: &str = \"", value.split(',').next()?);
            source.text.split_once(&constant)?.1.split('"').next()
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(path: &str, text: &str) -> Source {
        Source::new(path, text.to_owned())
    }

    #[test]
    fn a_function_of_71_lines_is_found_and_one_of_70_is_not() {
        let of = |lines: usize| format!("\nfn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert_eq!(long_functions(&rust("a.rs", &of(71))), ["a.rs:2: f has 71"]);
        assert!(long_functions(&rust("a.rs", &of(70))).is_empty());
    }

    #[test]
    fn a_sleep_in_a_test_is_found_unless_the_clock_is_paused() {
        let real = "#[tokio::test]\nasync fn t() { sleep(D).await; }\n";
        let paused = "#[tokio::test(start_paused = true)]\nasync fn t() { sleep(D).await; help().await }\n";
        let helper = "async fn help() { tokio::time::sleep(D).await }\n";
        assert_eq!(real_sleeps(&rust("tests/stories/a.rs", real)), ["tests/stories/a.rs:2"]);
        assert!(real_sleeps(&rust("tests/stories/a.rs", &format!("{paused}{helper}"))).is_empty());
        assert_eq!(real_sleeps(&rust("tests/stories/a.rs", &format!("{paused}{helper}{real}"))).len(), 2);
        assert_eq!(real_sleeps(&rust("tests/stories/a.rs", helper)).len(), 1);
        let inline = format!("{helper}#[cfg(test)]\nmod tests {{\n{real}}}\n");
        assert_eq!(real_sleeps(&rust("daemon/src/a.rs", &inline)), ["daemon/src/a.rs:5"]);
    }

    #[test]
    fn a_task_or_a_file_in_the_wrong_place_is_found() {
        let found = |path: &str, text: &str| strays(&rust(path, text)).len();
        assert_eq!(found("daemon/src/session.rs", "fn f() { tokio::spawn(g()); }"), 1);
        assert_eq!(found("daemon/src/session.rs", "fn f() { set.spawn(g()); command.spawn(); }"), 1);
        assert_eq!(found("daemon/src/run.rs", "fn f() { set.spawn(g()); }"), 0);
        assert_eq!(found("drivers/src/camera/x.rs", "fn f() { std::fs::write(a, b); }"), 1);
        assert_eq!(
            found("drivers/src/camera/x.rs", "#[cfg(test)]\nmod tests { fn f() { fs::write(a, b) } }"),
            0
        );
        assert_eq!(found("cloud-sync/src/spool.rs", "use crate::store::sled::Index; let d: sled::Db;"), 1);
        assert_eq!(found("cloud-sync/src/spool.rs", "// sled::Db would do"), 0);
    }

    #[test]
    fn unfinished_marks_are_found_in_code_and_comments() {
        let marked = format!(
            "fn f() {{ {}) }}\n// {}: later\nlet a = \"b\";\n",
            concat!("to", "do!("),
            concat!("TO", "DO")
        );
        assert_eq!(unfinished(&rust("a.rs", &marked)).len(), 2);
    }

    #[test]
    fn a_home_folder_is_found_and_a_word_within_a_path_is_not() {
        let home = format!("/{}/", "home");
        assert!(names_a_machine(&format!("open(\"{home}me/x\")")));
        assert!(!names_a_machine(&format!("docs{home}x and ${{dir}}{home}x")));
    }

    #[test]
    fn driver_names_come_from_their_tables_alone() {
        let text = "struct Driver { name: u8 }\nconst D: Driver = Driver {\n  name: \"grbl\",\n};\nlet x = Y { name: \"no\" };\n";
        assert_eq!(driver_names(&rust("drivers/src/turntable/grbl.rs", text)), ["grbl"]);
        let text = "const D: Driver =\n  Driver { name: NAME, open };\nconst NAME: &str = \"sim\";\n";
        assert_eq!(driver_names(&rust("drivers/src/turntable/sim.rs", text)), ["sim"]);
    }
}
