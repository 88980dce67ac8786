//! The floors of the engine: a file uses only files on lower floors or on its own, and no import forms a cycle.
//! `CONTRIBUTING.md` has the map. And what else the sources must not do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, the lowest first: folders and files of `src`.
const FLOORS: [&[&str]; 10] = [
    &["sync"],
    &["time"],
    &["delivery", "error", "keys", "need", "options", "stats", "topics"],
    &["log"],
    &["wait"],
    &["state"],
    &["core"],
    &["handles"],
    &[""], // lib.rs
    &["models", "python"],
];

/// One import: the file and line that contain it, and the module that it names.
struct Import {
    from: String,
    at: String,
    to: String,
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The path of a file's module, without `crate`: "" is lib.rs, "log::chunk" is src/log/chunk.rs.
fn module(file: &Path) -> String {
    let file = file.strip_prefix("src").expect("it is below").with_extension("");
    let parts: Vec<_> = file.iter().map(|part| part.to_str().expect("a plain name").to_owned()).collect();
    let parts: Vec<_> = parts.into_iter().filter(|part| part != "mod" && part != "lib").collect();
    parts.join("::")
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn expand(path: &str) -> Vec<String> {
    let Some(open) = path.find('{') else { return vec![path.trim().to_owned()] };
    let prefix = path[..open].trim();
    let inside = path[open + 1..path.rfind('}').expect("it is closed")].trim();
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for character in inside.chars() {
        match character {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            '{' => (depth += 1, part.push(character)).1,
            '}' => (depth -= 1, part.push(character)).1,
            _ => part.push(character),
        }
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|rest| format!("{prefix}{rest}")).collect()
}

/// The module that a path names, seen from a module: its longest prefix that is a module. None: it belongs to another
/// crate.
fn resolve(path: &str, from: &str, modules: &BTreeSet<String>) -> Option<String> {
    let from: Vec<&str> = from.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut base: Vec<&str> = match parts[0] {
        "crate" => Vec::new(),
        "self" => from.clone(),
        "super" => from[..from.len() - 1].to_vec(),
        // A module below, by its name.
        name if modules.contains(&[&from[..], &[name]].concat().join("::")) && !from.is_empty() => {
            parts.insert(0, "self");
            from.clone()
        }
        _ => return None,
    };
    let mut rest = &parts[1..];
    while let Some((&"super", more)) = rest.split_first() {
        base.pop();
        rest = more;
    }
    let mut found = base.clone();
    for part in rest {
        base.push(part);
        if modules.contains(&base.join("::")) {
            found.clone_from(&base);
        }
    }
    Some(found.join("::"))
}

/// The paths of every `use`, and other paths that begin with `crate`.
fn imports(file: &Path, modules: &BTreeSet<String>) -> Vec<Import> {
    let from = module(file);
    let text = fs::read_to_string(file).expect("it can be read");
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        // A visibility is not an import.
        let code = line.split("//").next().unwrap_or("").replace("(in crate::python)", "");
        let statement = code.strip_prefix("pub ").or(code.strip_prefix("pub(crate) ")).unwrap_or(&code);
        let paths = if let Some(path) = statement.strip_prefix("use ") {
            let mut path = path.to_owned();
            while !path.contains(';') {
                path.push_str(lines.next().expect("a use has an end").1);
            }
            expand(path.trim_end_matches(';'))
        } else if line.starts_with("#[cfg(test)]")
            && text.lines().nth(number + 1).is_some_and(|next| next.ends_with('{'))
        {
            break; // the tests of a file are at its end
        } else {
            let words = code.split(|character: char| !(character.is_alphanumeric() || "_:".contains(character)));
            words.filter(|word| word.starts_with("crate::")).map(str::to_owned).collect()
        };
        let at = format!("{}:{}", file.display(), number + 1);
        for to in paths.iter().filter_map(|path| resolve(path, &from, modules)).filter(|to| *to != from) {
            found.push(Import { from: from.clone(), at: at.clone(), to });
        }
    }
    found
}

fn floor(module: &str) -> usize {
    let room = module.split("::").next().unwrap_or("");
    FLOORS.iter().position(|floor| floor.contains(&room)).unwrap_or_else(|| panic!("{room} is on no floor"))
}

fn all_imports() -> Vec<Import> {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    let modules: BTreeSet<String> = found.iter().map(|file| module(file)).collect();
    let is_code = |file: &&PathBuf| !file.ends_with("tests.rs") && !file.iter().any(|part| part == "tests");
    found.iter().filter(is_code).flat_map(|file| imports(file, &modules)).collect()
}

#[test]
fn imports_go_down() {
    let up: Vec<_> = all_imports()
        .iter()
        .filter(|import| floor(&import.to) > floor(&import.from))
        .map(|import| format!("{}: {} goes up to {}", import.at, import.from, import.to))
        .collect();
    assert!(up.is_empty(), "\n{}", up.join("\n"));
}

#[test]
fn no_imports_go_round() {
    let imports = all_imports();
    let mut uses: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for import in &imports {
        uses.entry(&import.from).or_default().entry(&import.to).or_insert(&import.at);
    }
    let reaches = |start: &str, end: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for &to in uses.get(module).into_iter().flat_map(BTreeMap::keys) {
                if to == end {
                    return true;
                }
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        false
    };
    let round: Vec<_> = uses
        .iter()
        .flat_map(|(&from, targets)| targets.iter().map(move |(&to, at)| (from, to, at)))
        .filter(|&(from, to, _)| reaches(to, from))
        .map(|(from, to, at)| format!("{at}: {from} uses {to}"))
        .collect();
    assert!(round.is_empty(), "these go round:\n{}", round.join("\n"));
}

/// On Windows each foreign function needs the name of its DLL at compile time. PyO3 gives one to what it declares. What
/// this crate declared itself would compile everywhere, and would not link there.
#[test]
fn foreign_functions_are_declared_by_others() {
    let mut sources = Vec::new();
    files(Path::new("src"), &mut sources);
    let mut declared = Vec::new();
    for file in sources {
        let source = fs::read_to_string(&file).expect("it is text");
        for (number, line) in source.lines().enumerate() {
            let block = line.trim().trim_start_matches("unsafe ").strip_prefix("extern");
            if block.is_some_and(|block| block.ends_with('{') && !block.contains("fn ")) {
                declared.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(declared.is_empty(), "\n{}", declared.join("\n"));
}

#[test]
fn paths_are_read_as_the_compiler_does() {
    let modules: BTreeSet<String> = ["", "log", "log::chunk", "state", "state::acks"].map(str::to_owned).into();
    assert_eq!(expand("a::{b, c::{d, e}}"), ["a::b", "a::c::d", "a::c::e"]);
    assert_eq!(resolve("crate::log::chunk::NIL", "state", &modules).as_deref(), Some("log::chunk"));
    assert_eq!(resolve("super::acks::Acks", "state::groups", &modules).as_deref(), Some("state::acks"));
    assert_eq!(resolve("super::State", "state::groups", &modules).as_deref(), Some("state"));
    assert_eq!(resolve("acks::Acks", "state", &modules).as_deref(), Some("state::acks"));
    assert_eq!(resolve("crate::Error", "python", &modules).as_deref(), Some(""));
    assert_eq!(resolve("std::fmt", "state", &modules), None);
}
