//! Real runtimes and engines: each case is written once and runs on every engine × runtime × mode that can do it.
//!
//! ```text
//! cargo test --test engines                      the default set: runc, crun, podman
//! ENGINES=runc,docker cargo test --test engines  a choice; ENGINES=all is everything
//! cargo test --test engines -- [--engines SET] [--record-states] [WORD]…   WORD: only the cases that contain it
//! ```
//! The result is a matrix: one row a case, one column an engine, with every cell that is not `pass` explained below it.
//! A selected engine that is not installed is skipped with the reason; with `OCI_IPC_HOOK_REQUIRE=1` it is a failure.
//!
//! As root everything happens in private mount and process id namespaces with a private `/etc` and `/run`: no daemon,
//! mount, record or user outlives the run, and an installed configuration of the machine has no say in it.

#![allow(unreachable_pub, reason = "a test binary is nobody's library")]

mod build;
mod cases;
mod container;
mod engine;
mod host;
mod image;
mod lab;
mod launch;
mod log;
mod matrix;
mod outcome;
mod profiles;
mod seen;
mod select;
mod states;

use lab::Lab;
use select::Selection;
use std::process::ExitCode;

fn main() -> ExitCode {
    let selection = match Selection::from_process() {
        Ok(selection) => selection,
        Err(message) => {
            eprintln!("engines: {message}");
            return ExitCode::from(2);
        }
    };
    if selection.list_only {
        cases::ALL.iter().copied().flatten().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    if cases::chosen(&selection).next().is_none() && !selection.record_states {
        println!("0 passed, 0 failed, 0 skipped");
        return ExitCode::SUCCESS;
    }
    let result = match lab::place() {
        lab::Place::Outside => lab::enter(&selection),
        lab::Place::Inside(scratch) => {
            Lab::set_up(scratch, selection.is_everything()).and_then(|lab| run(&lab, &selection))
        }
    };
    result.unwrap_or_else(|message| {
        eprintln!("engines: {message}");
        ExitCode::FAILURE
    })
}

fn run(lab: &Lab, selection: &Selection) -> Result<ExitCode, String> {
    if selection.record_states {
        return states::record(lab).map(|()| ExitCode::SUCCESS);
    }
    let mut matrix = matrix::Matrix::new(cases::chosen(selection).map(|case| case.name));
    for column in engine::columns(selection) {
        matrix.start_column(&column.title);
        let engine = match column.open(lab) {
            Ok(engine) => engine,
            Err(missing) => {
                matrix.absent(&missing, selection.require);
                continue;
            }
        };
        for case in cases::chosen(selection) {
            let outcome = cases::run(case, lab, engine.as_ref());
            matrix.cell(outcome);
        }
    }
    matrix.print();
    Ok(if matrix.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
