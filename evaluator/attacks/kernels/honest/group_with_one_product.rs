//! title: layers that share x: one product with all their lora_a, side by side

#[derive(Clone)]
struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { weight: weight.clone(), bias: layer.bias.clone(), scale: layer.scale })
    }

    /// All but the product of x and `lora_a`.
    fn result(&self, x: &Array, inner: &Array, lora_b: &Array) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(bias)?;
        }
        y.add(&(inner.matmul(lora_b)? * self.scale).astype(x.dtype())?)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.result(x, &x.matmul(&adapter.lora_a)?, &adapter.lora_b)
    }

    fn group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>> {
        let mut members = Vec::new();
        for layer in layers {
            let Weight::Quantized(weight) = &layer.weight else { return Ok(None) };
            members.push(QuantizedLora::new(layer, weight)?);
        }
        Ok(Some(Box::new(Members { members })))
    }
}

struct Members {
    members: Vec<QuantizedLora>,
}

impl KernelGroup for Members {
    fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
        let all: Vec<&Array> = adapters.iter().map(|adapter| &adapter.lora_a).collect();
        let inner = x.matmul(&ops::concatenate(&all, 1)?)?.split(adapters.len() as i32, -1)?;
        let members = self.members.iter().zip(&inner).zip(adapters);
        members.map(|((member, inner), adapter)| member.result(x, inner, &adapter.lora_b)).collect()
    }
}
