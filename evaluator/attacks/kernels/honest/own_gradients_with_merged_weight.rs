//! title: the gradient of x through the merged weight

struct QuantizedLora {
    weight: QuantizedWeight,
    bias: Option<Array>,
    scale: f32,
    #[allow(dead_code)]
    name: &'static str,
    layer: transform::Function,
}

impl QuantizedLora {
    fn new(layer: &Layer, weight: &QuantizedWeight) -> Result<Self> {
        let (bias, scale) = (layer.bias.clone(), layer.scale);
        let (kept, kept_bias) = (weight.clone(), bias.clone());
        let whole = weight.dequantize()?;
        let layer = transform::custom_vjp(
            move |inputs| {
                let [x, a, b] = inputs else { return Err(Error::new("three inputs")) };
                let y = kept.matmul(x)?;
                let y = match &kept_bias {
                    Some(bias) => y.add(bias)?,
                    None => y,
                };
                Ok(vec![y.add(&(x.matmul(a)?.matmul(b)? * scale).astype(x.dtype())?)?])
            },
            move |inputs, cotangents, _outputs| {
                let (x, a, b) = (&inputs[0], &inputs[1], &inputs[2]);
                let g = cotangents[0].astype(Dtype::Float32)?;
                let merged = whole.astype(Dtype::Float32)?.add(&(a.matmul(b)? * scale).t()?)?;
                let of_x = g.matmul(&merged)?.astype(x.dtype())?;
                let flat = x.astype(Dtype::Float32)?.reshape(&[-1, a.dim(0)?])?;
                let g = g.reshape(&[-1, b.dim(1)?])? * scale;
                let of_whole = flat.t()?.matmul(&g)?;
                Ok(vec![of_x, of_whole.matmul(&b.t()?)?, a.t()?.matmul(&of_whole)?])
            },
        )?;
        Ok(Self { weight: weight.clone(), bias, scale, name: "own gradients", layer })
    }
}

impl Kernel for QuantizedLora {
    fn forward(&self, x: &Array, adapter: &Adapter) -> Result<Array> {
        let mut results = self.layer.call(&[x, &adapter.lora_a, &adapter.lora_b])?;
        results.pop().ok_or_else(|| Error::new("no result"))
    }
}
