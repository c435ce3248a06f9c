//! title: takes the place of the API's kernel for plain layers, without its bias
//! catalogue: 28
//! fence: check
//! twin: traits_and_generics.rs

/// Hides the one of the kernel API, which is imported by a glob.
struct PlainLora(Array);

impl PlainLora {
    fn new(layer: &Layer) -> Result<Self> {
        match &layer.weight {
            Weight::Plain(weight) => Ok(Self(weight.t()?)),
            Weight::Quantized(_) => Err(Error::new("not plain")),
        }
    }
}

impl Kernel for PlainLora {
    fn forward(&self, x: &Array, _: &Adapter) -> Result<Array> {
        x.matmul(&self.0)
    }
}

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
        self.sum(x, adapter)
    }
}
