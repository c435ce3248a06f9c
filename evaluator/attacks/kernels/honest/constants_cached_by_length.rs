//! title: a table of constant arrays, by length

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    /// The bias repeated for as many rows; depends on nothing but their number.
    repeated: RefCell<HashMap<i32, Rc<Array>>>,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        Ok(Self { weight: weight.clone(), bias, scale, repeated: RefCell::default() })
    }

    fn bias(&self, bias: &Array, rows: i32) -> Result<Rc<Array>> {
        if let Some(known) = self.repeated.borrow().get(&rows) {
            return Ok(Rc::clone(known));
        }
        let made = Rc::new(bias.broadcast_to(&[rows, bias.dim(0)?])?);
        self.repeated.borrow_mut().insert(rows, Rc::clone(&made));
        Ok(made)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.weight.matmul(x)?;
        if let Some(bias) = &self.bias {
            y = y.add(&*self.bias(bias, x.dim(-2)?)?)?;
        }
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
