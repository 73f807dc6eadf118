//! The printed result: cases by engines, every cell that is not `pass` explained.

use crate::outcome::{Outcome, Stop};

/// A cell: how a case ended on an engine.
enum Cell {
    Pass,
    Fail(usize),
    NotHere(usize),
    Skip(usize),
}

struct Column {
    title: String,
    cells: Vec<Cell>,
}

/// Cases × engines.
pub struct Matrix {
    cases: Vec<&'static str>,
    columns: Vec<Column>,
    failures: Vec<String>,
    reasons: Vec<String>,
    skips: Vec<String>,
}

/// The place of `text` in `list`, added if it is new.
fn index(list: &mut Vec<String>, text: &str) -> usize {
    list.iter().position(|known| known == text).unwrap_or_else(|| {
        list.push(text.to_owned());
        list.len() - 1
    })
}

impl Matrix {
    pub fn new(cases: impl Iterator<Item = &'static str>) -> Self {
        let (columns, failures, reasons, skips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Matrix { cases: cases.collect(), columns, failures, reasons, skips }
    }

    pub fn start_column(&mut self, title: &str) {
        eprintln!("engines: {title}");
        self.columns.push(Column { title: title.to_owned(), cells: Vec::new() });
    }

    /// Every case of the current column fails (`required`) or is skipped, because the engine is not there.
    pub fn absent(&mut self, missing: &str, required: bool) {
        let Some(column) = self.columns.last_mut() else { return };
        for _ in &self.cases {
            column.cells.push(if required {
                Cell::Fail(index(&mut self.failures, &format!("{}: {missing}", column.title)))
            } else {
                Cell::Skip(index(&mut self.skips, missing))
            });
        }
    }

    /// The next case of the current column.
    pub fn cell(&mut self, outcome: Outcome) {
        let Some(column) = self.columns.last_mut() else { return };
        let case = self.cases[column.cells.len()];
        column.cells.push(match outcome {
            Ok(()) => Cell::Pass,
            Err(Stop::NotHere(reason)) => Cell::NotHere(index(&mut self.reasons, &reason)),
            Err(Stop::Fail(message)) => {
                let text = format!("{}: {case}: {message}", column.title);
                eprintln!("FAIL {text}");
                Cell::Fail(index(&mut self.failures, &text))
            }
        });
    }

    fn count(&self, wanted: fn(&Cell) -> bool) -> usize {
        self.columns.iter().flat_map(|column| &column.cells).filter(|cell| wanted(cell)).count()
    }

    pub fn failed(&self) -> usize {
        self.count(|cell| matches!(cell, Cell::Fail(_)))
    }

    /// Prints the table, the reasons and the closing line.
    pub fn print(&self) {
        let widest = self.cases.iter().map(|case| case.len()).max().unwrap_or(0);
        for (number, column) in self.columns.iter().enumerate() {
            println!("{:>4} {}", format!("[{}]", number + 1), column.title);
        }
        print!("\n{:widest$}", "");
        (1..=self.columns.len()).for_each(|number| print!(" {:^8}", format!("[{number}]")));
        println!();
        for (row, case) in self.cases.iter().enumerate() {
            print!("{case:widest$}");
            for column in &self.columns {
                let text = match column.cells.get(row) {
                    Some(Cell::Pass) => "pass".to_owned(),
                    Some(Cell::Fail(n)) => format!("FAIL {}", n + 1),
                    Some(Cell::NotHere(n)) => format!("n/a {}", n + 1),
                    Some(Cell::Skip(n)) => format!("skip {}", n + 1),
                    None => "-".to_owned(),
                };
                print!(" {text:^8}");
            }
            println!();
        }
        for (label, list) in [("n/a", &self.reasons), ("skip", &self.skips), ("FAIL", &self.failures)] {
            for (number, text) in list.iter().enumerate() {
                println!("{label} {}: {text}", number + 1);
            }
        }
        let passed = self.count(|cell| matches!(cell, Cell::Pass));
        let explained = self.count(|cell| matches!(cell, Cell::NotHere(_)));
        println!("not applicable (n/a, reasons above): {explained}");
        let skipped = self.count(|cell| matches!(cell, Cell::Skip(_)));
        println!("{passed} passed, {} failed, {skipped} skipped", self.failed());
    }
}
