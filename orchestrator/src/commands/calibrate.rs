//! `evolve calibrate`: how noisy this machine is.

use super::text::printable;
use crate::cli::{CalibrateArgs, Overrides};
use crate::config::Config;
use crate::exit_code::{ExitCode, Failure};
use crate::report::calibration::Calibration;

pub(super) async fn calibrate(arguments: &CalibrateArgs) -> Result<ExitCode, Failure> {
    let overrides = Overrides { no_sandbox: arguments.no_sandbox, ..Overrides::default() };
    let config = Config::read(&arguments.config, &overrides).map_err(Failure::usage)?;
    let calibration = measure(&config, arguments.trials).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&calibration).unwrap_or_default());
    } else {
        print!("{}", printable(&calibration.text()));
    }
    Ok(ExitCode::Success)
}

/// Runs the baseline so many times and says what the trials tell about the machine.
#[expect(clippy::unused_async, reason = "measuring will wait")]
async fn measure(config: &Config, _trials: u32) -> Result<Calibration, Failure> {
    let name = config.problem.problem.name();
    Err(Failure::usage(format!("{name}: this version can't calibrate yet")))
}
