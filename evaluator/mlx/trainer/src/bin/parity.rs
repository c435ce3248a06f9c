//! `parity DIR...`: repeats every LoRA and DoRA run that MLX-LM recorded at or below the given folders and prints the worst
//! deviations of each. Exit code 0: all within tolerance; 1: a run deviates; 2: nothing could be compared.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::path::PathBuf;
use std::process::ExitCode;

use trainer::parity::{compare, find_runs};
use trainer::step::Execution;

fn main() -> ExitCode {
    let mut folders = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some(option) if option.starts_with('-') => {
                eprintln!("parity DIR...: repeats the runs recorded below DIR and compares");
                return ExitCode::from(2);
            }
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    if folders.is_empty() {
        eprintln!(
            "parity: name at least one folder with recorded runs, as in `parity evaluator/mlx/trainer/tests/parity`"
        );
        return ExitCode::from(2);
    }
    let (mut compared, mut failed) = (0, 0);
    for folder in &folders {
        let runs = match find_runs(folder) {
            Ok(runs) => runs,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        if runs.is_empty() {
            eprintln!(
                "error: no recorded run (a folder with expected.json) at or below {}",
                folder.display()
            );
            return ExitCode::from(2);
        }
        for run in runs {
            let name = run.display();
            match compare(&run) {
                Ok(worst) => {
                    compared += 1;
                    let passed = worst.passed();
                    failed += u32::from(!passed);
                    println!(
                        "{}  {name}: {} steps{}, worst relative deviation: losses {:.1e}, gradients {:.1e}, \
                         adapters {:.1e}, logits {:.1e} (allowed {:.0e})",
                        if passed { "ok     " } else { "FAILED " },
                        worst.steps,
                        if worst.execution == Execution::Compiled { " (compiled)" } else { "" },
                        worst.losses,
                        worst.gradients,
                        worst.adapters,
                        worst.logits,
                        worst.tolerance
                    );
                }
                Err(error) => {
                    compared += 1;
                    failed += 1;
                    println!("FAILED   {name}: {error}");
                }
            }
        }
    }
    match (compared, failed) {
        (0, _) => {
            eprintln!("error: no run among the folders given");
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
