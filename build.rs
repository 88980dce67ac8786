//! Takes the docstrings of the binary from the stub, `python/mpmc_queue/_mpmc_queue.pyi`, so that they are written only
//! once.
//!
//! Defines the macro `doc!`: `doc!(Queue)` is the docstring of a class, `doc!(Queue.enqueue)` that of a method or
//! property,
//! `doc!(estimate_size)` that of a function.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

const STUB: &str = "python/mpmc_queue/_mpmc_queue.pyi";

fn main() {
    println!("cargo:rerun-if-changed={STUB}");
    if env::var_os("CARGO_FEATURE_PYTHON").is_none() {
        return;
    }
    let stub = fs::read_to_string(STUB).unwrap_or_else(|error| panic!("{STUB}: {error}"));
    let mut macros = String::from("macro_rules! doc {\n");
    for (name, text) in docstrings(&stub) {
        writeln!(macros, "({name}) => {{ {text:?} }};").expect("a string takes all");
    }
    macros.push_str("}\n");
    let out = env::var_os("OUT_DIR").expect("cargo says where");
    fs::write(Path::new(&out).join("docs.rs"), macros).expect("the directory is cargo's");
}

/// Names and docstrings of the classes and of their members.
fn docstrings(stub: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut class = "";
    let mut lines = stub.lines();
    while let Some(line) = lines.next() {
        let (indent, code) = split(line);
        let code = code.strip_prefix("async ").unwrap_or(code);
        let name = if let Some(rest) = code.strip_prefix("class ").filter(|_| indent == 0) {
            class = identifier(rest);
            class.to_owned()
        } else if let Some(rest) = code.strip_prefix("def ").filter(|_| indent == 0) {
            identifier(rest).to_owned()
        } else if let Some(rest) = code.strip_prefix("def ").filter(|_| indent == 4) {
            format!("{class}.{}", identifier(rest))
        } else {
            continue;
        };
        // The end of the signature, then the docstring that follows.
        let mut last = line;
        while !last.ends_with(':') && !last.ends_with("...") {
            let Some(next) = lines.next() else { return found };
            last = next;
        }
        let Some(first) = lines.clone().next().and_then(|next| split(next).1.strip_prefix("\"\"\"")) else { continue };
        lines.next();
        found.push((name, docstring(first, indent + 4, &mut lines)));
    }
    found
}

/// One docstring, without its indentation. Its first line has already been read.
fn docstring<'a>(first: &'a str, indent: usize, lines: &mut impl Iterator<Item = &'a str>) -> String {
    if let Some(only) = first.strip_suffix("\"\"\"") {
        return only.to_owned();
    }
    let mut text = vec![first];
    for line in lines {
        let line = line.get(indent.min(line.len())..).unwrap_or("");
        if let Some(last) = line.strip_suffix("\"\"\"") {
            text.push(last);
            break;
        }
        text.push(line);
    }
    let text = text.join("\n");
    assert!(!text.contains('\\'), "no escapes in docstrings: they would have to be read as Python does: {text}");
    text.trim_end().to_owned()
}

fn split(line: &str) -> (usize, &str) {
    let code = line.trim_start();
    (line.len() - code.len(), code)
}

fn identifier(code: &str) -> &str {
    code.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap_or("")
}
