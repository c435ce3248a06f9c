//! title: a counter of the thread, and formatted words

use std::cell::Cell;
use std::fmt::Write as _;

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let number = NUMBER.with(|number| {
            number.set(number.get() + 1);
            number.get()
        });
        let mut words = String::new();
        write!(words, "call {number:>5} of {:?} with rank {}", x, adapter.lora_a.dim(1)?)
            .map_err(|error| Error::new(error.to_string()))?;
        if x.ndim() < 2 {
            return Err(Error::new(words));
        }
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
