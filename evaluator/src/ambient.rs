//! What else the machine is doing, as far as the operating system tells: a trial's surroundings, which no statistics use and
//! people want to see when a machine throttles.

use serde::{Deserialize, Serialize};
use starship_battery::{Manager, State};
use sysinfo::{Components, CpuRefreshKind, RefreshKind, System};

/// The surroundings at one moment; absent is what this system doesn't tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Ambient {
    /// Load average of the last minute, for each processor: 1 is a machine with nothing idle.
    pub load: Option<f64>,
    /// The hottest sensor, in °C.
    pub temperature: Option<f64>,
    /// Mean clock of the processors in MHz.
    pub frequency: Option<f64>,
    /// Whether a battery is being drained; none without a battery.
    pub on_battery: Option<bool>,
}

impl Ambient {
    /// Looks around; takes a few milliseconds.
    pub fn read() -> Self {
        Self { load: load(), temperature: temperature(), frequency: frequency(), on_battery: on_battery() }
    }
}

fn load() -> Option<f64> {
    let processors = std::thread::available_parallelism().ok()?.get();
    Some(System::load_average().ok()?.one / processors as f64).filter(|load| load.is_finite())
}

fn temperature() -> Option<f64> {
    let components = Components::new_with_refreshed_list().ok()?;
    let temperatures = components.iter().filter_map(sysinfo::Component::temperature);
    temperatures.map(f64::from).filter(|celsius| celsius.is_finite()).reduce(f64::max)
}

fn frequency() -> Option<f64> {
    let only = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_frequency());
    let system = System::new_with_specifics(only).ok()?;
    let clocks: Vec<f64> = system.cpus().iter().map(|cpu| cpu.frequency() as f64).collect();
    crate::statistics::mean(&clocks).filter(|mean| *mean > 0.0)
}

fn on_battery() -> Option<bool> {
    let states = Manager::new().ok()?.batteries().ok()?.flatten().map(|battery| battery.state());
    states.map(|state| state == State::Discharging).reduce(|one, other| one || other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_system_tells_is_plausible() {
        let Ambient { load, temperature, frequency, .. } = Ambient::read();
        assert!(load.is_none_or(|load| (0.0..10_000.0).contains(&load)), "{load:?}");
        assert!(temperature.is_none_or(|celsius| (-100.0..300.0).contains(&celsius)), "{temperature:?}");
        assert!(frequency.is_none_or(|clock| (1.0..100_000.0).contains(&clock)), "{frequency:?}");
        #[cfg(target_os = "linux")]
        assert!(load.is_some(), "every Linux tells its load");
    }
}
