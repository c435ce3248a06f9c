//! title: unpacks at the first call and keeps it in a OnceCell

use std::cell::OnceCell;

struct QuantizedLora {
    packed: QuantizedWeight,
    unpacked: OnceCell<Array>,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { packed: weight.clone(), unpacked: OnceCell::new(), bias, scale })
    }

    fn weight(&self) -> Result<&Array> {
        if self.unpacked.get().is_none() {
            let transposed = self.packed.dequantize()?.t()?;
            // Nobody else can have been quicker: a kernel has one thread.
            let _ = self.unpacked.set(transposed);
        }
        self.unpacked.get().ok_or_else(|| Error::new("no weight"))
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = x.matmul(self.weight()?)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
