//! title: traits, generics, const generics, boxed closures, iterators

use std::fmt;
use std::marker::PhantomData;

/// One term of the result.
trait Term {
    const NAME: &'static str;

    fn of(&self, x: &Array, adapter: &Adapter) -> Result<Option<Array>>;

    fn named(&self, x: &Array, adapter: &Adapter) -> Result<Option<Array>> {
        self.of(x, adapter).map_err(|error| Error::new(format!("{}: {error}", Self::NAME)))
    }
}

struct Frozen(QuantizedWeight);
struct Bias(Option<Array>);
struct Lora<const TIMES: usize> {
    scale: f32,
}

impl Term for Frozen {
    const NAME: &'static str = "frozen";

    fn of(&self, x: &Array, _: &Adapter) -> Result<Option<Array>> {
        self.0.matmul(x).map(Some)
    }
}

impl Term for Bias {
    const NAME: &'static str = "bias";

    fn of(&self, _: &Array, _: &Adapter) -> Result<Option<Array>> {
        Ok(self.0.clone())
    }
}

impl<const TIMES: usize> Term for Lora<TIMES> {
    const NAME: &'static str = "lora";

    fn of(&self, x: &Array, adapter: &Adapter) -> Result<Option<Array>> {
        let factors = [&adapter.lora_a, &adapter.lora_b];
        let product = factors.iter().try_fold(x.clone(), |product, factor| product.matmul(factor))?;
        Ok(Some((product * (self.scale / TIMES as f32)).astype(x.dtype())?))
    }
}

type BoxedTerm = Box<dyn Fn(&Array, &Adapter) -> Result<Option<Array>>>;

struct Sum<T> {
    terms: Vec<BoxedTerm>,
    of: PhantomData<fn() -> T>,
}

impl<T> Sum<T> {
    fn with(mut self, term: impl Term + 'static) -> Self {
        self.terms.push(Box::new(move |x, adapter| term.named(x, adapter)));
        self
    }
}

impl<T> fmt::Debug for Sum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} terms", self.terms.len())
    }
}

type QuantizedLora = Sum<QuantizedWeight>;

impl Sum<QuantizedWeight> {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let empty = Self { terms: Vec::with_capacity(3), of: PhantomData };
        let sum = empty.with(Frozen(weight.clone())).with(Bias(layer.bias.clone()));
        let sum = sum.with(Lora::<1> { scale: layer.scale });
        assert_eq!(format!("{sum:?}"), "3 terms");
        Ok(sum)
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut terms = self.terms.iter().filter_map(|term| term(x, adapter).transpose());
        let Some(first) = terms.next() else { return Err(Error::new("nothing to add")) };
        terms.try_fold(first?, |sum, term| sum.add(&term?))
    }
}
