//! title: chooses between boxed closures in new

use std::rc::Rc;

type Product = Rc<dyn Fn(&Array) -> Result<Array>>;

struct QuantizedLora {
    product: Product,
    finish: Box<dyn Fn(Array) -> Result<Array>>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let weight = weight.clone();
        let product: Product = match (weight.bits, weight.group_size) {
            (8, _) | (_, 32) => {
                let whole = weight.dequantize()?.t()?;
                Rc::new(move |x: &Array| x.matmul(&whole))
            }
            _ => Rc::new(move |x: &Array| weight.matmul(x)),
        };
        let finish: Box<dyn Fn(Array) -> Result<Array>> = match layer.bias.clone() {
            Some(bias) => Box::new(move |y| y.add(&bias)),
            None => Box::new(Ok),
        };
        Ok(Self { product, finish, scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let y = (self.finish)((self.product)(x)?)?;
        let z = x.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        y.add(&(z * self.scale).astype(x.dtype())?)
    }
}
