//! title: a clock made of a condition variable's patience
//! catalogue: escape
//! fence: gate
//! twin: packed_product.rs

fn trick() {
    let lock = std::sync::Mutex::new(());
    let condition = std::sync::Condvar::new();
    let guard = lock.lock().unwrap();
    let _ = condition.wait_timeout(guard, std::time::Duration::from_millis(50));
}

struct QuantizedLora {
    weight: QuantizedWeight,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        trick();
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        self.weight.matmul(x)?.add(&(z * self.scale).astype(x.dtype())?)
    }
}
