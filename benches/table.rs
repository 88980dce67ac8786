//! The engine and its peers in one table: `cargo bench --bench table`. Add `-- 300` for 300 rounds.
//!
//! The contenders take turns round by round, and each round begins with another one. So other load on the machine
//! affects all of them. Each cell is the fastest of its rounds. The medians are in the JSON file.

mod contenders;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use contenders::{BATCH, Contender, RECEIVERS, STREAM, contenders, refuse_debug_builds};

/// Default number of rounds.
const ROUNDS: usize = 100;
/// Rounds before those that count. The clock rates settle in the meantime.
const WARM_UP: usize = 5;

/// A column: what is measured, and the number of receivers.
struct Column {
    what: &'static str,
    receivers: usize,
}

/// Nanoseconds of one contender in one column, for all rounds, sorted.
#[derive(Default)]
struct Cell(Vec<f64>);

impl Cell {
    fn add(&mut self, took: Duration, count: u64) {
        let nanoseconds = took.as_nanos() as f64 / count as f64;
        let at = self.0.partition_point(|&other| other < nanoseconds);
        self.0.insert(at, nanoseconds);
    }

    fn min(&self) -> f64 {
        self.0[0]
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

/// Measures everything. Returns the cells of each contender.
fn measure(contenders: &[Box<dyn Contender>], rounds: usize) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    rows.resize_with(contenders.len(), || columns().map(|_| Cell::default()).collect());
    for round in 0..WARM_UP + rounds {
        for (at, receivers) in RECEIVERS.into_iter().enumerate() {
            for turn in 0..contenders.len() {
                let who = (round + turn) % contenders.len();
                let (sending, receiving) = contenders[who].one_thread(receivers);
                let streaming = contenders[who].two_threads(receivers);
                if round >= WARM_UP {
                    rows[who][at].add(sending, BATCH);
                    rows[who][at + RECEIVERS.len()].add(receiving, BATCH * receivers as u64);
                    rows[who][at + 2 * RECEIVERS.len()].add(streaming, STREAM);
                }
            }
        }
    }
    rows
}

fn columns() -> impl Iterator<Item = Column> {
    let of = |what| RECEIVERS.map(|receivers| Column { what, receivers });
    ["send", "receive", "two threads"].into_iter().flat_map(of)
}

/// A table in Markdown.
fn table(title: &str, rows: impl Iterator<Item = (String, Vec<String>)>) -> String {
    let heads: Vec<String> = columns().map(|Column { what, receivers }| format!("{what} {receivers}")).collect();
    let mut text = format!("| {title:<32} | {} |\n|:{:-<32}-|", heads.join(" | "), "");
    (0..heads.len()).for_each(|at| write!(text, "{:->1$}:|", "", heads[at].len() + 1).unwrap());
    for (name, cells) in rows {
        write!(text, "\n| {name:<32} |").unwrap();
        cells.iter().enumerate().for_each(|(at, cell)| write!(text, " {cell:>0$} |", heads[at].len()).unwrap());
    }
    text + "\n"
}

/// All measurements, as JSON.
fn json(contenders: &[Box<dyn Contender>], rows: &[Vec<Cell>], rounds: usize) -> String {
    let lines = contenders.iter().zip(rows).flat_map(|(contender, row)| {
        columns().zip(row).map(|(Column { what, receivers }, cell)| {
            let (name, min, median) = (contender.name(), cell.min(), cell.median());
            format!(
                r#"{{"contender": "{name}", "what": "{what}", "receivers": {receivers}, "min": {min:.2}, "median": {median:.2}}}"#
            )
        })
    });
    let lines: Vec<String> = lines.collect();
    format!("{{\"unit\": \"ns\", \"rounds\": {rounds}, \"cells\": [\n  {}\n]}}\n", lines.join(",\n  "))
}

fn main() {
    refuse_debug_builds();
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS).max(1);
    let contenders = contenders();
    let rows = measure(&contenders, rounds);

    let names = || contenders.iter().map(|contender| contender.name());
    println!(
        "\nNanoseconds per message sent, per delivery received, per message from thread to thread to all receivers:\n"
    );
    let cells = |row: &Vec<Cell>| row.iter().map(|cell| format!("{:.1}", cell.min())).collect();
    println!("{}", table("ns, fastest of all rounds", names().map(String::from).zip(rows.iter().map(cells))));

    let is_ours = |name: &str| name.starts_with("mpmc_queue");
    let tokio = names().position(|name| name.starts_with("tokio")).expect("tokio is among the contenders");
    let ours = || names().zip(&rows).filter(|(name, _)| is_ours(name));
    for (how, of) in [("fastest", Cell::min as fn(&Cell) -> f64), ("median", Cell::median)] {
        let ratios = ours().map(|(name, row)| {
            let ratio = |(ours, theirs): (&Cell, &Cell)| format!("{:.2}", of(theirs) / of(ours));
            (name.to_owned(), row.iter().zip(&rows[tokio]).map(ratio).collect())
        });
        println!("{}", table(&format!("tokio / ours, {how}"), ratios));
    }

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("engine.json");
    std::fs::write(&path, json(&contenders, &rows, rounds)).expect("the target directory can be written to");
    println!("All figures: {}", path.display());
}
