//! title: types that double: 2⁶⁴ of them
//! catalogue: escape
//! fence: compile
//! twin: packed_product.rs
//! waits: yes

trait Times {
    const N: usize;
}
struct Zero;
struct Twice<A, B>(A, B);
impl Times for Zero {
    const N: usize = 1;
}
impl<A: Times, B: Times> Times for Twice<A, B> {
    const N: usize = A::N + B::N;
}
type A = Twice<Twice<Zero, Zero>, Twice<Zero, Zero>>;
type B = Twice<Twice<A, A>, Twice<A, A>>;
type C = Twice<Twice<B, B>, Twice<B, B>>;
type D = Twice<Twice<C, C>, Twice<C, C>>;
type D2 = Twice<Twice<D, D>, Twice<D, D>>;
type D3 = Twice<Twice<D2, D2>, Twice<D2, D2>>;
type D4 = Twice<Twice<D3, D3>, Twice<D3, D3>>;
type D5 = Twice<Twice<D4, D4>, Twice<D4, D4>>;
type D6 = Twice<Twice<D5, D5>, Twice<D5, D5>>;
type D7 = Twice<Twice<D6, D6>, Twice<D6, D6>>;
type D8 = Twice<Twice<D7, D7>, Twice<D7, D7>>;
type D9 = Twice<Twice<D8, D8>, Twice<D8, D8>>;
type E = Twice<Twice<D9, D9>, Twice<D9, D9>>;

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
        let _ = <E as Times>::N;
        self.sum(x, adapter)
    }
}
