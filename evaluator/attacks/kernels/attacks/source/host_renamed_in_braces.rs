//! title: the harness's inner side, renamed in braces
//! catalogue: escape
//! fence: gate
//! twin: packed_product.rs

use kernel_api::{Array as A, host as machine};

fn trick() {
    let _ = machine::take_failure();
    let _: Option<A> = None;
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
