//! `evolve doctor`: what works on this machine, and what to do about what doesn't; with `--endpoint` also whether models can be asked.

use std::path::Path;

use evaluator::Problem;
use evaluator::history::History;
use evaluator::order::Tier;
use program_db::ProgramDb;
use serde::Serialize;

use super::open;
use super::text::printable;
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};
use crate::proposer::llm::{Probe, Probed, RunContext, StepState};

const ENDPOINT: &str = "endpoint";

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    subject: &'static str,
    state: State,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Note,
    Fail,
}

pub(super) async fn doctor(
    db: Option<&Path>,
    config: Result<Config, Failure>,
    endpoint: bool,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut findings = vec![note("evolve", format!("{} on {}", env!("CARGO_PKG_VERSION"), platform()))];
    match config {
        Ok(config) => {
            examine(db, &config, endpoint, &mut findings).await;
            if endpoint {
                findings.extend(models(&config).await);
            }
        }
        Err(failure) => findings.push(fail("configuration", failure.message)),
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default());
    } else {
        for Finding { subject, state, detail } in &findings {
            let mark = match state {
                State::Ok => "ok  ",
                State::Note => "note",
                State::Fail => "FAIL",
            };
            println!("{mark}  {subject:<14} {}", detail.replace('\n', "\n                     "));
        }
    }
    let failed: Vec<&Finding> = findings.iter().filter(|finding| finding.state == State::Fail).collect();
    Ok(match failed[..] {
        [] => ExitCode::Success,
        // Everything here is well, so it is theirs.
        _ if failed.iter().all(|finding| finding.subject == ENDPOINT) => ExitCode::Endpoint,
        _ => ExitCode::Internal,
    })
}

async fn examine(db: Option<&Path>, config: &Config, asks: bool, findings: &mut Vec<Finding>) {
    findings.push(ok("configuration", config.path.display().to_string()));
    findings.push(ok("problem", config.problem.problem.name().to_owned()));
    if let Problem::Kernel(_) = config.problem.problem {
        findings.push(match evaluator::harness::read(Some(&open::harness(config))) {
            Ok(harness) => ok("MLX", {
                let what = &harness.description;
                format!(
                    "{} on {} ({}), built with {}",
                    what.mlx, what.backend, what.device, harness.rustc_version
                )
            }),
            Err(error) => fail("MLX", error.to_string()),
        });
    }
    findings.push(match open::evaluator(config, History::default()).await {
        Ok(evaluator) => {
            let by = evaluator.measured_by().clone();
            evaluator.shutdown().await;
            ok("evaluator", format!("starts; protocol {}{}", by.protocol, python(&by.parameters)))
        }
        Err(failure) => fail("evaluator", failure.message),
    });
    findings.push(sandbox().await);
    let path = db.unwrap_or(&config.database);
    findings.push(if path.exists() {
        match ProgramDb::open_read_only(path).await {
            Ok(_) => ok("database", path.display().to_string()),
            Err(error) => fail("database", error.to_string()),
        }
    } else {
        note("database", format!("{} (made by the first run)", path.display()))
    });
    findings.push(proposer(config, asks));
}

/// What each model said to a request of some tokens.
async fn models(config: &Config) -> Vec<Finding> {
    let Some(llm) = config.llm.as_ref().filter(|_| config.asks_model()) else {
        let words = "no model is configured, so nobody was asked";
        return vec![note(ENDPOINT, words.to_owned())];
    };
    let probes = match Probe::each(llm) {
        Ok(probes) => probes,
        Err(error) => return vec![fail(ENDPOINT, format!("{}\nhint: {}", error.what, error.hint))],
    };
    let mut findings = Vec::new();
    for probe in probes {
        eprintln!("{}", printable(&probe.announcement()));
        findings.push(probed(&probe.ask().await));
    }
    findings
}

fn probed(probed: &Probed) -> Finding {
    let mut lines = vec![probed.whom.clone()];
    lines.extend(probed.steps.iter().map(|step| {
        let mark = if step.state == StepState::Fails { "FAILED " } else { "" };
        format!("{mark}{}: {}", step.subject, step.words)
    }));
    lines.extend(probed.hint.as_ref().map(|hint| format!("hint: {hint}")));
    let detail = printable(&lines.join("\n"));
    match probed {
        _ if !probed.works() => fail(ENDPOINT, detail),
        _ if probed.steps.iter().any(|step| step.state == StepState::Works) => ok(ENDPOINT, detail),
        // The budget didn't let it be asked.
        _ => note(ENDPOINT, detail),
    }
}

/// Which Python evaluates, if one does.
fn python(parameters: &serde_json::Value) -> String {
    let python = &parameters["python"];
    let (Some(version), Some(interpreter)) = (python["version"].as_str(), python["interpreter"].as_str())
    else {
        return String::new();
    };
    let cold = python["cold"].as_str().map(|why| format!("\nloaded anew for every program: {why}"));
    format!("; Python {version} ({interpreter}){}", cold.unwrap_or_default())
}

/// Tries what a candidate might try, within the sandbox.
async fn sandbox() -> Finding {
    let examined = match open::launcher() {
        Ok(launcher) => evaluator::sandbox::examine(&launcher, &std::env::temp_dir()).await,
        Err(failure) => return fail("sandbox", failure.message),
    };
    let examination = match examined {
        Ok(examination) => examination,
        Err(error) => return fail("sandbox", error.to_string()),
    };
    let probes: Vec<String> = examination
        .probes
        .iter()
        .map(|probe| {
            format!("{} {}: {}", if probe.held { "held" } else { "FAILED" }, probe.name, probe.detail)
        })
        .collect();
    let probes = probes.join("\n");
    match examination.tier {
        _ if !examination.held() => fail("sandbox", format!("does not hold\n{probes}")),
        Some(Tier::Full) => ok("sandbox", format!("full\n{probes}")),
        _ => note(
            "sandbox",
            format!(
                "REDUCED: this system gives us no namespaces, so candidates see file names and processes outside \
                 (docs/security.md)\n{probes}"
            ),
        ),
    }
}

fn proposer(config: &Config, asks: bool) -> Finding {
    match open::proposer(config, &RunContext::default()) {
        Err(failure) => fail("proposer", failure.message),
        Ok(_) => match &config.llm {
            Some(llm) if config.asks_model() => {
                let key = llm.api_key.as_ref().is_some_and(|key| !key.is_empty());
                let key = if key { "with a key" } else { "without a key" };
                let models: Vec<&str> = llm.models.iter().map(|model| model.name.as_str()).collect();
                let names = config.proposer_names();
                let asked = if asks { "" } else { " (not asked: `--endpoint` does)" };
                ok("proposer", format!("{names}: {} at {} {key}{asked}", models.join(", "), llm.api_base))
            }
            _ => ok("proposer", config.proposer_names()),
        },
    }
}

fn platform() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH)
}

fn ok(subject: &'static str, detail: String) -> Finding {
    Finding { subject, state: State::Ok, detail }
}

fn note(subject: &'static str, detail: String) -> Finding {
    Finding { subject, state: State::Note, detail }
}

fn fail(subject: &'static str, detail: String) -> Finding {
    Finding { subject, state: State::Fail, detail }
}
