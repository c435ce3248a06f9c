//! title: const generics, an associated constant and a default method

use std::marker::PhantomData;

trait Rounding {
    const DTYPE: Option<Dtype>;

    fn enter(x: &Array) -> Result<Array> {
        match Self::DTYPE {
            Some(dtype) => x.astype(dtype),
            None => Ok(x.clone()),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Single;

impl Rounding for Single {
    const DTYPE: Option<Dtype> = Some(Dtype::Float32);
}

struct Parts<R: Rounding, const COUNT: usize> {
    transposed: Vec<Array>,
    rounding: PhantomData<fn() -> R>,
}

impl<R: Rounding, const COUNT: usize> Parts<R, COUNT> {
    fn of(weight: &QuantizedWeight) -> Result<Self> {
        let whole = R::enter(&weight.dequantize()?)?;
        let transposed = whole.split(COUNT as i32, 0)?.iter().map(Array::t).collect::<Result<Vec<_>>>()?;
        Ok(Self { transposed, rounding: PhantomData })
    }

    fn product(&self, x: &Array) -> Result<Array> {
        let x = R::enter(x)?;
        let products = self.transposed.iter().map(|part| x.matmul(part)).collect::<Result<Vec<_>>>()?;
        ops::concatenate(&products.iter().collect::<Vec<&Array>>(), -1)
    }
}

struct QuantizedLora {
    parts: Parts<Single, 2>,
    bias: Option<Array>,
    scale: f32,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        Ok(Self { parts: Parts::of(weight)?, bias: layer.bias.clone(), scale: layer.scale })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut y = self.parts.product(x)?;
        if let Some(bias) = self.bias.as_ref() {
            y = y + bias;
        }
        let z = Single::enter(x)?.matmul(&adapter.lora_a)?.matmul(&adapter.lora_b)?;
        (y + z * self.scale).astype(x.dtype())
    }
}
