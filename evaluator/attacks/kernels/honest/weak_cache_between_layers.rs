//! title: shares small constants between layers in a thread's map

use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static ONES: RefCell<HashMap<(i32, Dtype), Array>> = RefCell::default();
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
        let ones = ONES.with(|ones| -> Result<Array> {
            let mut ones = ones.borrow_mut();
            let key = (x.dim(-2)?, x.dtype());
            match ones.get(&key) {
                Some(array) => Ok(array.clone()),
                None => {
                    let array = ops::ones(&[x.dim(-2)?, 1], x.dtype())?;
                    ones.insert(key, array.clone());
                    Ok(array)
                }
            }
        })?;
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(&ones.matmul(&bias.expand_dims(0)?)?)?,
            None => y,
        };
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)? * self.scale;
        y.add(&z.astype(x.dtype())?)
    }
}
