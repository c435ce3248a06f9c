//! What this device can do at most: the physics behind the floor of a trial's time.

use std::time::{Duration, Instant};

use mlx_rs::error::Result;
use mlx_rs::{Array, Device, DeviceType, Dtype, ops};

/// The best that was seen. Memory is read from wherever it is quickest, caches included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// Bytes that a kernel reads in a second.
    pub bytes_per_second: f64,
    /// Multiplications with addition in a second.
    pub multiply_adds_per_second: f64,
}

/// How much quicker than the best seen something might still be: a busy machine measures low, and other types or
/// better operations than the ones tried may be quicker.
const MARGIN: f64 = 4.0;

/// No processor core that MLX runs on has ceilings below these. On a busy machine (measured: 8 programs on 2 cores) products
/// came out a hundred times too slow, and the floor above half of an honest trial's time.
const CORE: Ceilings = Ceilings { bytes_per_second: 1e10, multiply_adds_per_second: 2e10 };

/// Time for each operation that is tried.
const SPAN: Duration = Duration::from_millis(25);

impl Ceilings {
    /// Measures.
    pub fn measure() -> Result<Self> {
        let mut bytes_per_second = 0.0_f64;
        for size in [1 << 18, 1 << 22] {
            let numbers = ops::ones::<f32>(&[size])?;
            let matrix = ops::ones::<f32>(&[size / 512, 512])?;
            let vector = ops::ones::<f32>(&[512, 1])?;
            mlx_rs::transforms::eval([&numbers, &matrix, &vector])?;
            let seconds = best(|| numbers.sum(None))?.min(best(|| matrix.matmul(&vector))?);
            bytes_per_second = bytes_per_second.max(f64::from(size) * 4.0 / seconds);
        }
        let mut multiply_adds_per_second = 0.0_f64;
        let is_gpu = matches!(Device::try_default()?.get_type()?, DeviceType::Gpu);
        // Half precision is quicker on GPUs only.
        let types = if is_gpu { vec![Dtype::Float32, Dtype::Float16] } else { vec![Dtype::Float32] };
        let sides: &[i32] = if is_gpu { &[512, 2048] } else { &[128, 256, 512] };
        for dtype in types {
            for &side in sides {
                let square = ops::ones::<f32>(&[side, side])?.as_dtype(dtype)?;
                square.eval()?;
                let seconds = best(|| square.matmul(&square))?;
                multiply_adds_per_second = multiply_adds_per_second.max(f64::from(side).powi(3) / seconds);
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        Ok(Self {
            bytes_per_second: bytes_per_second.max(CORE.bytes_per_second * cores),
            multiply_adds_per_second: multiply_adds_per_second.max(CORE.multiply_adds_per_second * cores),
        })
    }

    /// Seconds that reading and multiplying this much takes at least.
    pub fn floor(&self, bytes: f64, multiply_adds: f64) -> f64 {
        let (read, multiply) = (bytes / self.bytes_per_second, multiply_adds / self.multiply_adds_per_second);
        read.max(multiply) / MARGIN
    }
}

/// Seconds of the quickest of several calls.
fn best(mut make: impl FnMut() -> Result<Array>) -> Result<f64> {
    make()?.eval()?;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < SPAN {
        let call = Instant::now();
        make()?.eval()?;
        best = best.min(call.elapsed().as_secs_f64());
    }
    Ok(best)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_whichever_takes_longer() {
        let ceilings = Ceilings { bytes_per_second: 100.0, multiply_adds_per_second: 1000.0 };
        assert_eq!(ceilings.floor(400.0, 1000.0), 1.0);
        assert_eq!(ceilings.floor(400.0, 8000.0), 2.0);
    }

    #[test]
    fn a_device_can_do_something() {
        let ceilings = Ceilings::measure().unwrap();
        assert!(ceilings.bytes_per_second > 1e8 && ceilings.multiply_adds_per_second > 1e8, "{ceilings:?}");
        assert!(ceilings.bytes_per_second < 1e14 && ceilings.multiply_adds_per_second < 1e16, "{ceilings:?}");
    }
}
