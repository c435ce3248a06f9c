//! title: the unpacked weight behind an Arc and a Mutex

use std::sync::{Arc, Mutex};

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    kept: Arc<Mutex<Option<Array>>>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, kept: Arc::default() })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let kept = Arc::clone(&self.kept);
        let mut kept = kept.lock().map_err(|_| Error::new("a call before panicked"))?;
        let weight = match kept.as_ref() {
            Some(weight) => weight.clone(),
            None => {
                let weight = self.weight.dequantize()?.t()?;
                *kept = Some(weight.clone());
                weight
            }
        };
        drop(kept);
        let y = x.matmul(&weight)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
