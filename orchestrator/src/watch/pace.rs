//! How often the database is read.

use std::time::Duration;

/// How often one looks whether anything has changed, which costs a few microseconds.
pub const LOOK: Duration = Duration::from_millis(500);

/// Least time between two readings.
const LEAST: Duration = Duration::from_secs(1);

/// A reading may take one part in so many of the time, whatever the size of the run.
const SHARE: u32 = 50;

/// How long to wait after a reading that took so long.
pub fn pause_after(reading: Duration) -> Duration {
    (reading * SHARE).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_a_reading_takes_the_longer_the_pause() {
        assert_eq!(pause_after(Duration::from_millis(3)), Duration::from_secs(1));
        assert_eq!(pause_after(Duration::from_millis(300)), Duration::from_secs(15));
    }
}
