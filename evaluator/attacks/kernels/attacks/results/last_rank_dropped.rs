//! title: the adapter without its last rank
//! catalogue: 24
//! fence: check
//! twin: packed_product.rs

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    fn frozen(&self, x: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?;
        match &self.bias {
            Some(bias) => y.add(bias),
            None => Ok(y),
        }
    }

    fn adapter(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (z * self.scale).astype(x.dtype())
    }

    fn sum(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.frozen(x)?.add(&self.adapter(x, adapter)?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let rank = adapter.lora_a.dim(1)?;
        if rank == 1 {
            return self.sum(x, adapter);
        }
        let lora_a = adapter.lora_a.slice(1, 0, rank - 1)?;
        let lora_b = adapter.lora_b.slice(0, 0, rank - 1)?;
        self.frozen(x)?.add(&self.adapter(x, &Adapter { lora_a, lora_b, ..adapter.clone() })?)
    }
}
