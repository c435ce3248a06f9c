//! title: the adapter as a sum over ranks by broadcasting

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
        let y = self.weight.matmul(x)?;
        let y = match &self.bias {
            Some(bias) => y.add(bias)?,
            None => y,
        };

        let z = x.matmul(&adapter.lora_a)?;
        let rank = z.dim(-1)?;
        let ranks = adapter.lora_b.dim(0)?;
        assert_eq!(rank, ranks, "an adapter of two ranks");
        let sum = (0..rank).try_fold(None::<Array>, |sum, index| -> Result<Option<Array>> {
            let part =
                z.slice(-1, index, index + 1)?.multiply(&adapter.lora_b.slice(0, index, index + 1)?)?;
            Ok(Some(match sum {
                Some(sum) => sum.add(&part)?,
                None => part,
            }))
        })?;
        match sum {
            Some(sum) => y.add(&(sum * self.scale).astype(x.dtype())?),
            None => Ok(y),
        }
    }
}
