//! title: holds memory where MLX's allocator doesn't see it
//! catalogue: 40
//! fence: judge
//! twin: dequantized_in_new.rs
//! expect: the operating system's figure beside the allocator's

use std::cell::RefCell;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    kept: RefCell<Vec<Vec<u8>>>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, kept: RefCell::default() })
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
        let mut kept = self.kept.borrow_mut();
        let calls = kept.len();
        if calls > 4 && calls < 8 {
            // Touched, so that it is really there.
            kept.push(vec![std::hint::black_box(1); 40 << 20]);
        } else {
            kept.push(Vec::new());
        }
        self.sum(x, adapter)
    }
}
