//! A kernel that computes layers that share x together, right or wrong in some way. `FORM` is replaced by the test.

use kernel_api::*;

struct Lone {
    layer: Layer,
    weight: QuantizedWeight,
}

impl Lone {
    /// All but the product with `lora_a`.
    fn result(&self, x: &Array, inner: &Array, lora_b: &Array) -> Result<Array> {
        let y = self.weight.matmul(x)?.add(&(inner.matmul(lora_b)? * self.layer.scale).astype(x.dtype())?)?;
        self.layer.bias.as_ref().map_or(Ok(y.clone()), |bias| y.add(bias))
    }
}

impl Kernel for Lone {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        self.result(x, &x.matmul(&adapter.lora_a)?, &adapter.lora_b)
    }

    fn group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>> {
        match "FORM" {
            "none" => return Ok(None),
            "refuses" => return Err(Error::new("no groups today")),
            "panics in group" => panic!("row 7 is missing"),
            _ => {}
        }
        let mut members = Vec::new();
        for layer in layers {
            let Weight::Quantized(weight) = &layer.weight else { return Ok(None) };
            members.push(Lone { layer: layer.clone(), weight: weight.clone() });
        }
        Ok(Some(Box::new(Group(members))))
    }
}

struct Group(Vec<Lone>);

impl KernelGroup for Group {
    fn forward(&self, x: &Array, adapters: &[Adapter]) -> Result<Vec<Array>> {
        let mut adapters = adapters.to_vec();
        let last = adapters.len() - 1;
        match "FORM" {
            "adapters swapped" => adapters.swap(0, last),
            "adapter ignored" => adapters[last].lora_b = &adapters[last].lora_b * 0.0,
            "one lora_a for all" => adapters[last].lora_a = adapters[0].lora_a.clone(),
            "gradient of one stopped" => adapters[last].lora_b = adapters[last].lora_b.stop_gradient()?,
            "panics" => panic!("row 7 is missing"),
            _ => {}
        }
        let all: Vec<&Array> = adapters.iter().map(|adapter| &adapter.lora_a).collect();
        let inner = x.matmul(&ops::concatenate(&all, 1)?)?.split(adapters.len() as i32, -1)?;
        let members = self.0.iter().zip(&inner).zip(&adapters);
        let mut results =
            members.map(|((lone, inner), adapter)| lone.result(x, inner, &adapter.lora_b)).collect::<Result<Vec<_>>>()?;
        match "FORM" {
            "results swapped" => results.swap(0, last),
            "one too few" => {
                results.pop();
            }
            // Only for the gradients of the other: x has the right one.
            "gradients leak" => {
                let other = &results[0];
                let nothing = other.subtract(&other.stop_gradient()?)?.sum(&[], false)?;
                results[last] = results[last].add(&nothing)?;
            }
            _ => {}
        }
        Ok(results)
    }
}

pub fn build(layer: &Layer) -> Result<Box<dyn Kernel>> {
    match &layer.weight {
        Weight::Quantized(weight) => Ok(Box::new(Lone { layer: layer.clone(), weight: weight.clone() })),
        Weight::Plain(_) => Ok(Box::new(PlainLora::new(layer)?)),
    }
}
