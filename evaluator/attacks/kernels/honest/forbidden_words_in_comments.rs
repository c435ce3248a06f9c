//! title: comments and strings full of words that are forbidden as code
// unsafe extern "C" { fn system(); } #[no_mangle] include!("/etc/passwd") std::fs::read asm! transmute
/* std::process::Command::new("sh"), env!("HOME"), macro_rules! x { () => {} } /* nested: static mut */ */

/// Doesn't use `unsafe`, `std::net` or `kernel_api::host`; `MlxLmLora` is what it is compared with.
struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let words = "unsafe { asm!(\"syscall\") } include_str!(\"/proc/self/environ\") #![feature(x)]";
        if words.is_empty() {
            return Err(Error::new("extern crate libc; std::thread::spawn; catch_unwind"));
        }
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?; // no std::time here
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
