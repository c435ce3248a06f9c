//! A GPU's memory as its driver counts it, through NVIDIA's management library, which comes with the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nvml_wrapper::Nvml;

/// How often the driver is asked. An answer takes some microseconds.
const INTERVAL: Duration = Duration::from_millis(2);

/// The first NVIDIA GPU, which is the one that MLX computes on.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone)]
pub(crate) struct Gpu(Arc<Nvml>);

/// MLX's allocator is the only one that tells, elsewhere.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone)]
pub(crate) enum Gpu {}

#[cfg(not(target_os = "linux"))]
impl Gpu {
    pub(crate) fn find(_backend: &str) -> Option<Self> {
        None
    }

    fn used_bytes(&self) -> Option<u64> {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
impl Gpu {
    /// None where MLX computes on something else, or the driver doesn't tell.
    pub(crate) fn find(backend: &str) -> Option<Self> {
        if backend != "cuda" {
            return None;
        }
        let found = Nvml::init().map(|nvml| Self(Arc::new(nvml)));
        match found {
            Ok(gpu) if gpu.used_bytes().is_some() => Some(gpu),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the driver doesn't tell its memory");
                None
            }
        }
    }

    /// Memory in use on the whole device, in bytes.
    fn used_bytes(&self) -> Option<u64> {
        Some(self.0.device_by_index(0).ok()?.memory_info().ok()?.used)
    }
}

impl Gpu {
    /// Keeps looking until it is asked for the peak.
    pub(crate) fn watch(&self) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let (gpu, ends) = (self.clone(), over.clone());
        let looker = thread::spawn(move || {
            let mut peak = 0;
            while !ends.load(Ordering::Relaxed) {
                peak = peak.max(gpu.used_bytes().unwrap_or(0));
                thread::sleep(INTERVAL);
            }
            peak
        });
        Watch { over, looker: Some(looker) }
    }
}

/// Somebody looks at a GPU's memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    looker: Option<JoinHandle<u64>>,
}

impl Watch {
    /// The most that was in use on the whole device, in bytes; what others use there included.
    pub(crate) fn peak_bytes(mut self) -> Option<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.looker.take()?.join().ok().filter(|peak| *peak > 0)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
